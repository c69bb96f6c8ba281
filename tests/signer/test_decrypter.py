"""The decrypter behind its socket: whose messages it opens, what it says of bad ones, what it never tells."""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from signer import processes
from signer.processes import Service, as_nobody, gpg_processes
from signer.sealing import Author, message
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer import wire
from taskward.signer.audit import check
from taskward.signer.decrypter import protocol
from taskward.signer.decrypter.client import (
    Decrypter,
    DecrypterRefused,
    DecrypterUnavailable,
    SecretDataViolation,
)
from taskward.signer.decrypter.server import in_a_process

INCIDENT = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
OTHER_TASK = "fN1SbArXTPSVFNUvaOlinQ"


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tw"))
    yield path
    processes.remove(path)


@pytest.fixture(scope="module")
def service(place: Path, shared_taskcluster: SimulatedTaskcluster) -> Iterator[Service]:
    with processes.decrypter(processes.write_config(place, shared_taskcluster.root_url)) as service:
        yield service


@pytest.fixture(scope="module")
def author(service: Service) -> Iterator[Author]:
    author = Author(service.directory / "author", service.directory / "public-encryption" / "encryption.asc")
    yield author
    author.close()


@pytest.fixture
def decrypter(service: Service) -> Decrypter:
    return Decrypter(service.directory / "decrypter.sock")


def asking(taskcluster: SimulatedTaskcluster, seal: Callable[[str], Any], **payload: Any) -> SimulatedTask:
    """A running task whose encryptedEnv is what `seal` makes of its id."""
    task = taskcluster.create_task(**payload)
    task.definition["payload"]["encryptedEnv"] = seal(task.task_id)
    return task


def violation(decrypter: Decrypter, task: SimulatedTask) -> str:
    """The text without frame and incident id, whose forms are checked."""
    with pytest.raises(SecretDataViolation) as caught:
        decrypter.values(task.task_id, 0)
    found = re.fullmatch(rf"secret data violation -- (.*); incidentId: {INCIDENT}", str(caught.value))
    assert found is not None, caught.value
    return found[1]


def test_what_gpg_encrypted_to_the_published_key_is_opened(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me), author.variable(me, "OTHER", "ü ☃\nlines\r\n")])
    assert decrypter.values(task.task_id, 0) == {"SECRET": "s3cret", "OTHER": "ü ☃\nlines\r\n"}


def test_it_is_opened_again_for_whoever_asks_again(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    assert decrypter.values(task.task_id, 0) == decrypter.values(task.task_id, 0) == {"SECRET": "s3cret"}


@pytest.mark.parametrize(
    "change",
    [
        {"messageVersion": "1"},
        {"value": ""},
        {"name": "TASKCLUSTER_ROOT_URL"},
        {"startTime": 0.5},
        {"endTime": 1e300},
        {"further": [1, {"a": 2}]},
    ],
)
def test_odd_but_valid_messages_are_opened(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author, change: dict[str, Any]
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me, **change)])
    assert len(decrypter.values(task.task_id, 0)) == 1


def test_base64_in_lines_and_without_compression_is_read(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    def in_lines(me: str) -> list[str]:
        text = json.dumps(message(me)).encode()
        sealed = base64.b64decode(author.sealed(text, "--compress-algo", "none"))
        return [base64.encodebytes(sealed).decode()]

    assert decrypter.values(asking(taskcluster, in_lines).task_id, 0) == {"SECRET": "s3cret"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "TASK_ID"}, "an environment variable conflicts with an existing environment variable"),
        ({"name": "RUN_ID"}, "an environment variable conflicts with an existing environment variable"),
        ({"name": "GIVEN"}, "an environment variable has been duplicated in the task payload"),
        ({"messageVersion": 2}, "the version of the message is not supported"),
        ({"taskId": OTHER_TASK}, "the taskId of the env payload does not match the taskId of the task"),
        ({"startTime": 1e15}, "the start time in the env payload is in the future"),
        ({"endTime": 1}, "the end time in the env payload is in the past"),
        # of several the first in this order
        ({"name": "RUN_ID", "taskId": "x"}, "an environment variable conflicts with an existing environment variable"),
        ({"name": "GIVEN", "taskId": "x"}, "an environment variable has been duplicated in the task payload"),
        ({"messageVersion": [], "taskId": {}}, "the version of the message is not supported"),
        ({"taskId": None, "endTime": 1}, "the message of the env payload has no taskId"),
        ({"taskId": 7, "endTime": 1}, "the taskId of the env payload does not match the taskId of the task"),
        ({"startTime": 1e15, "endTime": 1}, "the start time in the env payload is in the future"),
        # what docker-worker would have stumbled over
        ({"value": None}, "the message of the env payload has no value"),
        ({"value": 7}, "the value of the env payload is not a string"),
        ({"startTime": "0"}, "the startTime of the env payload is not a number of milliseconds"),
        ({"endTime": True}, "the endTime of the env payload is not a number of milliseconds"),
        ({"name": ""}, "the name in the env payload is not a name for an environment variable"),
        ({"name": "A=B"}, "the name in the env payload is not a name for an environment variable"),
        ({"value": "a\0b"}, "the value in the env payload has a NUL character, which no variable can have"),
        ({"value": "\ud800"}, "the env payload has half a surrogate pair, which is no text"),
        ({"value": "x" * 131_071}, "the environment variable is longer than 131071 bytes"),
    ],
)  # fmt: skip
def test_a_message_at_fault_is_refused_in_docker_worker_s_words(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author, change: dict[str, Any], text: str
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me, **change)], env={"GIVEN": "x"})
    assert violation(decrypter, task) == text


def test_two_messages_with_one_name_are_refused(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me, value="a"), author.variable(me, value="b")])
    assert violation(decrypter, task) == "an environment variable has been duplicated in the task payload"


def test_a_message_of_another_task_opens_in_none_but_its_own(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    victim = asking(taskcluster, lambda me: [author.variable(me)])
    thief = asking(taskcluster, lambda _: victim.definition["payload"]["encryptedEnv"])
    assert violation(decrypter, thief) == "the taskId of the env payload does not match the taskId of the task"


BAD: list[tuple[str, Callable[[Author, str], str], str]] = [
    ("no base64", lambda *_: "%%%", "not base64"),
    ("url-safe base64", lambda *_: "_-_-", "not base64"),
    ("empty", lambda *_: "", "not a binary OpenPGP message"),
    ("noise", lambda *_: base64.b64encode(b"\xff" * 100).decode(), "cannot be decrypted"),
    ("not ASCII", lambda *_: "äöü", "not base64"),
    ("armored", lambda author, me: author.sealed(json.dumps(message(me)).encode(), "--armor"), "without --armor"),
    ("not JSON", lambda author, _: author.sealed(b"{"), "is not JSON"),
    ("not UTF-8", lambda author, _: author.sealed(b"\xff\xfe"), "is not JSON"),
    ("no object", lambda author, _: author.sealed(b"[]"), "is not a JSON object"),
    ("a key twice", lambda author, _: author.sealed(b'{"s3cret": 1, "s3cret": 2}'), "is not JSON"),
    ("deep", lambda author, _: author.sealed(b"[" * 100_000), "is not JSON"),
    ("nothing inside", lambda author, _: author.sealed(b""), "is not JSON"),
    ("a bomb", lambda author, _: author.sealed(bytes(50_000_000), "--compress-algo", "bzip2"), "cannot be decrypted"),
    ("too long", lambda *_: base64.b64encode(b"\xc0" * 1_048_577).decode(), "longer than 1048576 bytes"),
]


@pytest.mark.parametrize(("make", "text"), [each[1:] for each in BAD], ids=[each[0] for each in BAD])
def test_what_is_no_message_is_refused(
    decrypter: Decrypter,
    taskcluster: SimulatedTaskcluster,
    author: Author,
    make: Callable[[Author, str], str],
    text: str,
) -> None:
    said = violation(decrypter, asking(taskcluster, lambda me: [make(author, me)]))
    assert text in said
    assert "s3cret" not in said


@pytest.mark.parametrize("position", [0.1, 0.5, 0.8, 0.999])
def test_a_tampered_message_is_refused_and_says_no_more_than_any_other(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author, position: float
) -> None:
    def tampered(me: str) -> list[str]:
        sealed = bytearray(base64.b64decode(author.variable(me)))
        sealed[int(position * len(sealed))] ^= 1
        return [base64.b64encode(sealed).decode()]

    assert violation(decrypter, asking(taskcluster, tampered)).endswith("not encrypted for the key of this worker")


def test_what_is_only_packed_signed_or_locked_with_a_passphrase_is_no_message(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    author.gpg("--passphrase", "", "--quick-gen-key", "me", "ed25519")
    with_passphrase = ("--pinentry-mode", "loopback", "--passphrase", "p", "--symmetric")
    for options in (("--store",), with_passphrase, ("--sign",)):
        task = taskcluster.create_task()
        plain = author.gpg(*options, text=json.dumps(message(task.task_id)).encode())
        task.definition["payload"]["encryptedEnv"] = [base64.b64encode(plain).decode()]
        assert "cannot be decrypted" in violation(decrypter, task)


def test_more_values_than_a_program_can_be_given_are_refused(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    large = "x" * 130_000
    task = asking(taskcluster, lambda me: [author.variable(me, f"V{i}", large) for i in range(9)])
    assert "more than 1048576 characters" in violation(decrypter, task)


@pytest.mark.parametrize("messages", ["x", {"a": 1}, [1], [["x"]], ["x"] * 201])
def test_a_list_that_is_none_is_refused(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, messages: object
) -> None:
    assert "encrypted" in violation(decrypter, asking(taskcluster, lambda _: messages))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"state": "completed"}, "run-not-running"),
        ({"workerId": "w-2"}, "other-worker"),
        ({"workerGroup": "dc2"}, "other-worker"),
        ({"takenUntil": "2020-01-01T00:00:00.000Z"}, "claim-expired"),
    ],
)
def test_a_run_that_this_worker_does_not_hold_is_not_opened(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author, changes: dict[str, str], code: str
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    task.runs[0].update(changes)
    with pytest.raises(DecrypterRefused, match=code):
        decrypter.values(task.task_id, 0)


def test_runs_and_tasks_that_the_queue_does_not_know_are_not_opened(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    for task_id, run_id in ((task.task_id, 1), (OTHER_TASK, 0)):
        with pytest.raises(DecrypterRefused, match="run-unknown"):
            decrypter.values(task_id, run_id)
    with pytest.raises(DecrypterRefused, match="not-asked-for"):
        decrypter.values(taskcluster.create_task().task_id, 0)


def test_a_queue_in_trouble_is_asked_again_and_then_no_answer_is_given(
    decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    taskcluster.failures_to_come[:] = [502, 503]
    assert decrypter.values(task.task_id, 0) == {"SECRET": "s3cret"}
    taskcluster.failures_to_come[:] = [500] * 4
    with pytest.raises(DecrypterUnavailable, match="taskcluster-unavailable"):
        decrypter.values(task.task_id, 0)


@pytest.mark.parametrize("sent", [b"", b"\0\0\0\2{", b"\xff\xff\xff\xff", b"GET / HTTP/1.0\r\n\r\n"])
def test_a_broken_request_costs_its_sender_the_connection_and_nobody_else(
    service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, sent: bytes
) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    with pytest.raises(DecrypterRefused):
        decrypter.values(taskcluster.create_task().task_id, 0)


@pytest.mark.parametrize(
    "frame",
    [b"", b"[]", b"[" * 200, b'{"taskId": "x", "runId": 0}', b'{"taskId": "fN1SbArXTPSVFNUvaOlinQ", "runId": true}',
     b'{"taskId": "fN1SbArXTPSVFNUvaOlinQ", "runId": 0, "messages": ["x"]}',
     b'{"taskId": "../../../../../../../x", "runId": 0}'],
)  # fmt: skip
def test_a_malformed_request_is_refused_and_no_queue_is_asked(
    service: Service, taskcluster: SimulatedTaskcluster, frame: bytes
) -> None:
    before = len(taskcluster.calls)
    with connected(service) as connection:
        wire.send_frames(connection, frame)
        assert wire.receive_frame(connection, wire.MAX_WORD_BYTES) == protocol.REFUSED
    assert len(taskcluster.calls) == before


def connected(service: Service) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(str(service.directory / "decrypter.sock"))
    return connection


def test_log_and_audit_log_name_runs_and_incidents_and_never_a_value(
    service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    audit = service.directory / "decrypter" / "audit.jsonl"
    good = asking(taskcluster, lambda me: [author.variable(me, value="v4lue")])
    bad = asking(taskcluster, lambda me: [author.variable(me), author.variable(me, "X", "v4lue", endTime=1)])
    odd = asking(taskcluster, lambda _: [author.sealed(b'{"v4lue": 1, "v4lue": 1}')])
    decrypter.values(good.task_id, 0)
    for task in (bad, odd):
        violation(decrypter, task)
    decrypter.values(good.task_id, 0)

    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    events = {task.task_id: [line["event"] for line in lines if line["taskId"] == task.task_id] for task in (good, bad)}
    assert events == {good.task_id: ["open", "opened"] * 2, bad.task_id: ["open", "violation"]}
    (incident,) = [line for line in lines if line["taskId"] == bad.task_id and "incidentId" in line]
    assert incident["index"] == 1
    check(audit)
    everything = audit.read_text() + service.log.read_text()
    assert "v4lue" not in everything
    assert "s3cret" not in everything
    assert "SECRET" not in everything


def test_the_process_that_stays_has_never_held_a_value(
    service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    value = "v" + os.urandom(8).hex()
    task = asking(taskcluster, lambda me: [author.variable(me, value=value)])
    assert decrypter.values(task.task_id, 0) == {"SECRET": value}
    pid = service.process.pid
    assert value.encode() not in memory_of(pid)
    environment = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
    assert value.encode() not in environment


def memory_of(pid: int) -> bytes:
    """Everything writable that the process has; it may not be read by its own user, only by root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    found = bytearray()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights = line.split()[:2]
            if rights.startswith("rw") and "[v" not in line:
                start, end = (int(number, 16) for number in area.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    assert len(found) > 1_000_000
    return bytes(found)


def test_no_gpg_and_no_agent_is_there_between_requests(
    service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    decrypter.values(task.task_id, 0)
    deadline = time.monotonic() + 10
    while gpg_processes(service.directory / "decrypter"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_has_no_core_dumps_and_no_way_to_more_rights(service: Service) -> None:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Max core file size        0                    0" in Path(f"/proc/{service.process.pid}/limits").read_text()


WITHOUT_NETWORK = """
import sys
from pathlib import Path
from taskward.signer.confine import drop_privileges
from taskward.signer.decrypter import key, opening, settings, protocol
drop_privileges()
def seen(self, message):
    print(Path("/proc/self/status").read_text())
    raise SystemExit(0)
key.EncryptionKey._decrypted = seen
opening.open_messages(settings.DecrypterSettings.read(Path(sys.argv[1])), protocol.Request(sys.argv[2], 0))
"""


def test_gpg_sees_a_message_only_in_a_process_without_network(
    service: Service, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    argv = [processes.PYTHON, "-c", "from taskward.signer.confine import drop_privileges as d; d()" + WITHOUT_NETWORK]
    done = subprocess.run(
        [*argv, str(service.directory / "worker.toml"), task.task_id], capture_output=True, timeout=60
    )
    assert b"Seccomp:\t2" in done.stdout, done.stderr


@pytest.mark.root
def test_another_user_gets_no_byte_even_where_the_socket_s_mode_lets_him_in(service: Service) -> None:
    path = service.directory / "decrypter.sock"
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(100)))"
    service.directory.chmod(0o755)
    path.chmod(0o666)
    try:
        assert as_nobody(code, str(path)).stdout.strip() == b"0"
    finally:
        path.chmod(0o660)
        service.directory.chmod(0o700)
    assert "refused a connection of uid 65534" in service.log.read_text()


def test_killed_in_the_middle_it_comes_back_with_its_key(directory: Path, taskcluster: SimulatedTaskcluster) -> None:
    config = processes.write_config(directory, taskcluster.root_url)
    published = directory / "public-encryption" / "encryption.asc"
    with processes.decrypter(config) as service:
        before = published.read_text()
        taskcluster.failures_to_come[:] = [500] * 3  # the queue is asked for a second or so
        task = taskcluster.create_task(encryptedEnv=["x"])
        client = Decrypter(directory / "decrypter.sock")
        failures: list[Exception] = []

        def ask() -> None:
            try:
                client.values(task.task_id, 0)
            except DecrypterUnavailable as error:
                failures.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while children(service.process.pid) == "":
            time.sleep(0.005)
        service.stop(signal.SIGKILL)
        asking.join()
        assert failures
        with pytest.raises(DecrypterUnavailable):
            client.values(task.task_id, 0)
    taskcluster.failures_to_come.clear()
    with processes.decrypter(config) as service:
        assert published.read_text() == before
        assert "not base64" in violation(client, task)
        assert service.stop() == 0
    assert not (directory / "decrypter.sock").exists()
    events = [json.loads(line)["event"] for line in (directory / "decrypter" / "audit.jsonl").read_text().splitlines()]
    assert events == ["open", "open", "violation"]


def test_no_answer_leaves_before_the_audit_log_has_its_line(directory: Path) -> None:
    """A full disk, say."""
    told = directory / "told"

    def answer(parent: socket.socket) -> None:
        parent.send(b"opened")
        if parent.recv(1):
            told.touch()

    def fail(report: str) -> None:
        raise OSError(report)

    with pytest.raises(OSError, match="opened"):
        in_a_process(answer, fail)
    assert not told.exists()
    in_a_process(answer, lambda _: None)
    assert told.exists()


def children(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


def test_a_key_that_others_can_read_a_second_decrypter_and_a_tampered_log_keep_it_down(directory: Path) -> None:
    config = processes.write_config(directory)
    with processes.decrypter(config):
        code, error = processes.failed_start("taskward.signer.decrypter", config)
        assert (code, "in use by another process" in error) == (78, True)
    (directory / "decrypter").chmod(0o755)
    code, error = processes.failed_start("taskward.signer.decrypter", config)
    assert (code, "others can reach it" in error) == (78, True)
    (directory / "decrypter").chmod(0o700)
    (directory / "decrypter" / "audit.jsonl").write_text('{"seq": 7}\n')
    code, error = processes.failed_start("taskward.signer.decrypter", config)
    assert (code, "audit.jsonl, line 1" in error) == (78, True)


def test_a_home_without_a_key_keeps_it_down_with_the_place_named(directory: Path) -> None:
    config = processes.write_config(directory)
    (directory / "decrypter" / "openpgp").mkdir(mode=0o700, parents=True)
    (directory / "decrypter").chmod(0o700)
    code, error = processes.failed_start("taskward.signer.decrypter", config)
    assert (code, f"{directory}/decrypter/openpgp holds 0 secret keys" in error) == (78, True)


def test_an_rsa_key_of_docker_worker_s_kind_works_too(directory: Path, taskcluster: SimulatedTaskcluster) -> None:
    config = processes.write_config(directory, taskcluster.root_url, decrypter={"openpgp_algorithm": "rsa2048"})
    with processes.decrypter(config):
        author = Author(directory / "author", directory / "public-encryption" / "encryption.asc")
        task = asking(taskcluster, lambda me: [author.variable(me)])
        assert Decrypter(directory / "decrypter.sock").values(task.task_id, 0) == {"SECRET": "s3cret"}
        author.close()


def test_a_wrong_setting_is_refused_by_name(directory: Path) -> None:
    config = processes.write_config(directory, decrypter={"keys_dri": "/x"})
    code, error = processes.failed_start("taskward.signer.decrypter", config)
    assert (code, "did you mean 'keys_dir'?" in error) == (78, True)
