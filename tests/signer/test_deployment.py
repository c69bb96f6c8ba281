"""Keyholder, signer and caller as three users, and each of them dying at a bad moment."""

import json
import os
import select
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from signer import processes
from signer.callers import other_signer, refusal
from signer.processes import Service, as_nobody
from signer.simulated_queue import SimulatedTaskcluster
from simulators.patience import until
from taskward.signer.client import SignerClient, SignerUnavailable, UploadedArtifact

KEYHOLDER_UID, SIGNER_UID = 54321, 54322


@pytest.mark.root
def test_three_users_that_cannot_read_each_other_s_files(taskcluster: SimulatedTaskcluster, directory: Path) -> None:
    directory.chmod(0o755)
    for name, uid in (("k", KEYHOLDER_UID), ("s", SIGNER_UID)):
        (directory / name).mkdir(mode=0o755)
        os.chown(directory / name, uid, uid)
    kept = {"socket": f"{directory}/k/keyholder.sock", "socket_mode": "0666", "keys_dir": f"{directory}/k/keys"}
    signed = {"socket": f"{directory}/s/signer.sock", "socket_mode": "0666", "state_dir": f"{directory}/s/state"}
    config = processes.write_config(
        directory,
        taskcluster.root_url,
        keyholder={**kept, "public_keys_dir": f"{directory}/k/public", "allowed_users": [SIGNER_UID]},
        signer={
            **signed,
            "keyholder_socket": f"{directory}/k/keyholder.sock",
            "public_keys_dir": f"{directory}/k/public",
            "allowed_users": [os.getuid()],
        },
    )
    task = taskcluster.create_task()
    with (
        processes.keyholder(config, uid=KEYHOLDER_UID, socket_name="k/keyholder.sock") as keyholder,
        processes.signer(config, uid=SIGNER_UID, socket_name="s/signer.sock") as signer,
    ):
        client = SignerClient(directory / "s" / "signer.sock")
        assert len(client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])) == 4
        for secret in ("k/keys/ed25519.key", "k/keys/openpgp/pubring.kbx", "s/state/audit.jsonl"):
            assert b"PermissionError" in as_nobody(f"open('{directory}/{secret}')").stderr
        for service in (keyholder, signer):
            memory = f"open('/proc/{service.process.pid}/mem', 'rb')"
            assert b"PermissionError" in as_nobody(memory).stderr


@pytest.fixture
def own_keyholder(taskcluster: SimulatedTaskcluster, directory: Path) -> Iterator[Service]:
    with processes.keyholder(processes.write_config(directory, taskcluster.root_url)) as service:
        yield service


def test_a_keyholder_killed_while_signing_means_try_later_and_then_it_works(
    own_keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    config = directory / "worker.toml"
    task = taskcluster.create_task()
    credentials = taskcluster.run_credentials(task)
    client = SignerClient(directory / "signer.sock")
    with processes.signer(config):
        own_keyholder.process.send_signal(signal.SIGSTOP)  # it accepts the request and never gets to answer
        killer = threading.Timer(0.5, own_keyholder.process.kill)
        killer.start()
        with pytest.raises(SignerUnavailable, match="keyholder-unavailable"):
            client.certify(task.task_id, 0, credentials, [])
        killer.join()
        with pytest.raises(SignerUnavailable, match="keyholder-unavailable"):
            client.certify(task.task_id, 0, credentials, [])
        with processes.keyholder(config):
            assert len(client.certify(task.task_id, 0, credentials, [])) == 4
    assert events_in(directory / "state" / "audit.jsonl") == ["sign", "not-signed"] + ["sign", "signed"] * 3


def test_a_run_reserved_before_a_crash_is_signed_for_the_same_manifest_only(
    own_keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    config = directory / "worker.toml"
    task = taskcluster.create_task()
    credentials = taskcluster.run_credentials(task)
    client = SignerClient(directory / "signer.sock")
    artifacts = [task.upload("public/a", b"a")]
    with processes.signer(config) as signer:
        own_keyholder.process.send_signal(signal.SIGSTOP)
        asking = threading.Thread(target=ask_in_vain, args=(client, task.task_id, credentials, artifacts))
        asking.start()
        log = directory / "state" / "audit.jsonl"
        until(lambda: '"event":"sign"' in log.read_text())
        kill([*children_of(signer.process.pid), signer.process.pid])
        asking.join()
        own_keyholder.process.send_signal(signal.SIGCONT)
    with processes.signer(config):
        other = [UploadedArtifact("public/a", "0" * 64, 1)]
        assert refusal(client, task, credentials, other) == "signed-otherwise"
        first = client.certify(task.task_id, 0, credentials, artifacts)
    with processes.signer(config):
        assert client.certify(task.task_id, 0, credentials, artifacts) == first


def ask_in_vain(client: SignerClient, task_id: str, credentials: object, artifacts: object) -> None:
    with pytest.raises(SignerUnavailable):
        client.certify(task_id, 0, credentials, artifacts)  # type: ignore[arg-type]  # passed through a thread


def events_in(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill(pids: list[int]) -> None:
    """They are gone, and their listening sockets with them, when this returns."""
    ends = [os.pidfd_open(pid) for pid in pids]
    for end in ends:
        signal.pidfd_send_signal(end, signal.SIGKILL)
    for end in ends:
        assert select.select([end], [], [], 20)[0]
        os.close(end)


def test_two_requests_for_one_run_at_once_are_signed_once(
    own_keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    task = taskcluster.create_task()
    client = SignerClient(directory / "signer.sock")
    answers: list[object] = []
    sent_away: list[str] = []

    def ask() -> None:
        try:
            answers.append(client.certify(task.task_id, 0, taskcluster.run_credentials(task), []))
        except SignerUnavailable as error:
            sent_away.append(str(error))

    with processes.signer(directory / "worker.toml"):
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers
    assert all(answer == answers[0] for answer in answers)
    assert all("in-progress" in message for message in sent_away)
    assert events_in(directory / "state" / "audit.jsonl") == ["sign", "signed"] * 3


def test_a_signature_that_the_published_key_did_not_make_is_kept_back(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    (directory / "public").mkdir()
    keys = json.loads((keyholder.directory / "public" / "keys.json").read_text())
    keys["ed25519"], keys["dsse"] = keys["dsse"], keys["ed25519"]
    (directory / "public" / "keys.json").write_text(json.dumps(keys))
    task = taskcluster.create_task()
    public = str(directory / "public")
    with processes.signer(other_signer(keyholder, directory, taskcluster, public_keys_dir=public)):
        client = SignerClient(directory / "signer.sock")
        with pytest.raises(SignerUnavailable, match="keys-differ"):
            client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])


def test_a_second_signer_with_the_same_records_does_not_start(signer: Service) -> None:
    code, error = processes.failed_start("taskward.signer", signer.directory / "worker.toml")
    assert code == 78
    assert "in use by another signer" in error


def test_a_log_that_was_tampered_with_keeps_the_signer_down(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    config = other_signer(keyholder, directory, taskcluster)
    task = taskcluster.create_task()
    with processes.signer(config):
        client = SignerClient(directory / "signer.sock")
        client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    log = directory / "state" / "audit.jsonl"
    whole = log.read_text()
    log.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    code, error = processes.failed_start("taskward.signer", config)
    assert (code, "cut short or rewritten" in error) == (78, True)
    log.write_text(whole.replace('"event":"sign"', '"event":"none"', 1))
    code, error = processes.failed_start("taskward.signer", config)
    assert (code, "line 1: the line was changed" in error) == (78, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sokcet": "/x"}, ["sokcet", "did you mean 'socket'?"]),
        ({"verify_artifacts": "sometimes"}, ["verify_artifacts", "never, always"]),
        ({"rate_per_minute": 0}, ["rate_per_minute", "above zero"]),
        ({"client_id": "x"}, ["client_id and access_token_file", "go together"]),
        ({"client_id": "x", "access_token_file": "/nowhere"}, ["/nowhere"]),
        ({"environment": {"planet": "earth"}}, ["planet", "region"]),
    ],
)
def test_a_wrong_setting_of_the_signer_is_refused_by_name(
    directory: Path, changes: dict[str, object], words: list[str]
) -> None:
    code, error = processes.failed_start("taskward.signer", processes.write_config(directory, signer=changes))
    assert code == 78
    assert all(word in error for word in words), error


def test_keys_of_other_processes_in_shared_sections_are_none_of_the_signer_s_business(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    config = other_signer(keyholder, directory, taskcluster)
    config.write_text(config.read_text().replace("[worker]", "[proxy]\nanything = 1\n[worker]\ncapacity = 2"))
    with processes.signer(config):
        assert SignerClient(directory / "signer.sock").keys()


def test_a_stopped_signer_ends_with_0_and_takes_its_socket_along(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path
) -> None:
    with processes.signer(other_signer(keyholder, directory, taskcluster)) as service:
        assert service.stop() == 0
    assert not (directory / "signer.sock").exists()


def test_records_that_are_no_records_keep_the_signer_down_with_the_place_named(directory: Path) -> None:
    config = processes.write_config(directory)
    (directory / "state").mkdir(mode=0o700)
    (directory / "state" / "signer.sqlite").write_bytes(b"garbage" * 1000)
    code, error = processes.failed_start("taskward.signer", config)
    assert (code, f"cannot open the records in state_dir {directory}/state" in error) == (78, True)
    shutil.rmtree(directory / "state")
    (directory / "state").write_text("a file")
    code, error = processes.failed_start("taskward.signer", config)
    assert (code, f"cannot use state_dir {directory}/state" in error) == (78, True)
