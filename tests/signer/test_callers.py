"""Who may ask for a signature."""

from pathlib import Path

import pytest

from signer import processes
from signer.callers import other_signer, refusal
from signer.processes import Service, as_nobody
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import (
    RunCredentials,
    SignerClient,
    SignerRefused,
)


def test_the_task_s_own_credentials_are_not_enough(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    """Through its proxy a task has its own scopes and create-artifact for its run, nothing else."""
    credentials = taskcluster.credentials_with(
        [f"queue:create-artifact:{task.task_id}/0", "secrets:get:*", "queue:resolve-task:other/0"]
    )
    assert refusal(client, task, credentials) == "scope-missing"


def test_credentials_of_another_run_of_the_same_task_are_not_enough(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    assert refusal(client, task, taskcluster.run_credentials(task, run_id=1)) == "scope-missing"


def test_a_scope_that_only_begins_like_the_run_s_is_not_enough(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.credentials_with([f"queue:resolve-task:{task.task_id}"])
    assert refusal(client, task, credentials) == "scope-missing"


def test_a_scope_with_a_star_satisfies(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    credentials = taskcluster.credentials_with(["queue:resolve-task:*"])
    assert client.certify(task.task_id, 0, credentials, [])


def test_a_stranger_s_token_is_refused(
    client: SignerClient, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    known = taskcluster.run_credentials(task)
    forged = RunCredentials(known.client_id, "guess", None)
    assert refusal(client, task, forged) == "authentication-failed"


@pytest.mark.root
def test_another_user_of_the_host_is_refused_and_recorded(signer: Service, directory: Path) -> None:
    signer.directory.chmod(0o755)
    path = signer.directory / "signer.sock"
    path.chmod(0o666)
    try:
        done = as_nobody(KEYS_OVER_HTTP, str(path))
    finally:
        path.chmod(0o660)
        signer.directory.chmod(0o700)
    assert b"403" in done.stdout
    assert b"caller-not-allowed" in done.stdout


@pytest.mark.root
def test_the_socket_s_mode_keeps_other_users_out_already(signer: Service) -> None:
    signer.directory.chmod(0o755)
    try:
        done = as_nobody(KEYS_OVER_HTTP, str(signer.directory / "signer.sock"))
    finally:
        signer.directory.chmod(0o700)
    assert b"PermissionError" in done.stderr


KEYS_OVER_HTTP = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
    "s.sendall(b'GET /v1/keys HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
)


def test_an_empty_list_of_users_refuses_everybody(
    keyholder: Service, taskcluster: SimulatedTaskcluster, directory: Path, task: SimulatedTask
) -> None:
    config = other_signer(keyholder, directory, taskcluster, allowed_users=[])
    with processes.signer(config):
        client = SignerClient(directory / "signer.sock")
        assert refusal(client, task, taskcluster.run_credentials(task)) == "caller-not-allowed"
        with pytest.raises(SignerRefused):
            client.keys()
