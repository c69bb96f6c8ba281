"""The decrypter behind its socket: what it opens, whose runs' messages, and what it answers to anybody else."""

import base64
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from signer import processes
from signer.processes import Service
from signer.sealing import Author, asking, message
from signer.simulated_queue import SimulatedTaskcluster
from taskward.signer import wire
from taskward.signer.decrypter import protocol
from taskward.signer.decrypter.client import (
    Decrypter,
    DecrypterRefused,
    DecrypterUnavailable,
)

OTHER_TASK = "fN1SbArXTPSVFNUvaOlinQ"


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
    decrypter_service: Service, decrypter: Decrypter, taskcluster: SimulatedTaskcluster, sent: bytes
) -> None:
    with connected(decrypter_service) as connection:
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
    decrypter_service: Service, taskcluster: SimulatedTaskcluster, frame: bytes
) -> None:
    before = len(taskcluster.calls)
    with connected(decrypter_service) as connection:
        wire.send_frames(connection, frame)
        assert wire.receive_frame(connection, wire.MAX_WORD_BYTES) == protocol.REFUSED
    assert len(taskcluster.calls) == before


def connected(decrypter_service: Service) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(15)
    connection.connect(str(decrypter_service.directory / "decrypter.sock"))
    return connection


def test_an_rsa_key_of_docker_worker_s_kind_works_too(directory: Path, taskcluster: SimulatedTaskcluster) -> None:
    config = processes.write_config(directory, taskcluster.root_url, decrypter={"openpgp_algorithm": "rsa2048"})
    with processes.decrypter(config):
        author = Author(directory / "author", directory / "public-encryption" / "encryption.asc")
        task = asking(taskcluster, lambda me: [author.variable(me)])
        assert Decrypter(directory / "decrypter.sock").values(task.task_id, 0) == {"SECRET": "s3cret"}
        author.close()
