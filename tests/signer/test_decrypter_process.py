"""The decrypter as a process: what it holds, gives up, writes down and survives, and what keeps it down."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from signer import processes
from signer.processes import Service, as_nobody, gpg_processes
from signer.sealing import Author, asking, violation
from signer.simulated_queue import SimulatedTaskcluster
from simulators.patience import until
from taskward.signer.audit import check
from taskward.signer.decrypter.client import (
    Decrypter,
    DecrypterUnavailable,
)
from taskward.signer.decrypter.server import in_a_process


def test_log_and_audit_log_name_runs_and_incidents_and_never_a_value(
    decrypter_service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    audit = decrypter_service.directory / "decrypter" / "audit.jsonl"
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
    everything = audit.read_text() + decrypter_service.log.read_text()
    assert "v4lue" not in everything
    assert "s3cret" not in everything
    assert "SECRET" not in everything


def test_the_process_that_stays_has_never_held_a_value(
    decrypter_service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    value = "v" + os.urandom(8).hex()
    task = asking(taskcluster, lambda me: [author.variable(me, value=value)])
    assert decrypter.values(task.task_id, 0) == {"SECRET": value}
    pid = decrypter_service.process.pid
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
    decrypter_service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    decrypter.values(task.task_id, 0)
    until(lambda: not gpg_processes(decrypter_service.directory / "decrypter"))


def test_it_has_no_core_dumps_and_no_way_to_more_rights(decrypter_service: Service) -> None:
    status = Path(f"/proc/{decrypter_service.process.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert (
        "Max core file size        0                    0"
        in Path(f"/proc/{decrypter_service.process.pid}/limits").read_text()
    )


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
    decrypter_service: Service, taskcluster: SimulatedTaskcluster, author: Author
) -> None:
    task = asking(taskcluster, lambda me: [author.variable(me)])
    argv = [processes.PYTHON, "-c", "from taskward.signer.confine import drop_privileges as d; d()" + WITHOUT_NETWORK]
    done = subprocess.run(
        [*argv, str(decrypter_service.directory / "worker.toml"), task.task_id], capture_output=True, timeout=60
    )
    assert b"Seccomp:\t2" in done.stdout, done.stderr


@pytest.mark.root
def test_another_user_gets_no_byte_even_where_the_socket_s_mode_lets_him_in(decrypter_service: Service) -> None:
    path = decrypter_service.directory / "decrypter.sock"
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(len(s.recv(100)))"
    decrypter_service.directory.chmod(0o755)
    path.chmod(0o666)
    try:
        assert as_nobody(code, str(path)).stdout.strip() == b"0"
    finally:
        path.chmod(0o660)
        decrypter_service.directory.chmod(0o700)
    assert "refused a connection of uid 65534" in decrypter_service.log.read_text()


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
        until(lambda: children(service.process.pid))
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


def test_a_wrong_setting_is_refused_by_name(directory: Path) -> None:
    config = processes.write_config(directory, decrypter={"keys_dri": "/x"})
    code, error = processes.failed_start("taskward.signer.decrypter", config)
    assert (code, "did you mean 'keys_dir'?" in error) == (78, True)
