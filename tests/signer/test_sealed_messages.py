"""Messages of task authors that are at fault: what the decrypter says of each, and what it never tells."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from signer.sealing import Author, asking, message, violation
from signer.simulated_queue import SimulatedTaskcluster
from taskward.signer.decrypter.client import (
    Decrypter,
)

OTHER_TASK = "fN1SbArXTPSVFNUvaOlinQ"


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
