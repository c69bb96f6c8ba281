"""Whom the signer lets in, and what it remembers of those whom it does not."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.signer.admission import Admission
from taskward.signer.answers import ForbiddenError, InvalidRequestError, TooManyError
from taskward.signer.audit import AuditLog
from taskward.signer.door import SocketDoor
from taskward.signer.sockets import peer_uid


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def admission(directory: Path, uids: set[int], now_s: list[float] | None = None) -> Admission:
    door = SocketDoor(directory / "s", 0o600, None, frozenset(uids))
    clock = now_s if now_s is not None else [0.0]
    return Admission(door, 2, AuditLog(directory / "audit.jsonl"), lambda: clock[0])


def test_each_caller_has_a_rate_of_its_own(tmp_path: Path) -> None:
    door = admission(tmp_path, set())
    for caller in ({"client": "a"}, {"client": "b"}, {"uid": 7}):
        door.count(caller)
        door.count(caller)
        with pytest.raises(TooManyError, match="more than 2 requests in a minute"):
            door.count(caller)


def test_of_a_flood_of_strangers_a_few_are_recorded_and_the_others_counted(
    tmp_path: Path, connection: socket.socket
) -> None:
    now_s = [0.0]
    door = admission(tmp_path, set(), now_s)
    for now_s[0] in [0.0] * 100 + [10.0] * 100:
        with pytest.raises(ForbiddenError, match="is not one of allowed_users"):
            door.caller(connection)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["unrecorded"] for line in lines] == [0] * 6 + [94]
    assert {line["event"] for line in lines} == {"refused"}


def test_whom_the_configuration_names_is_let_in_without_a_record(tmp_path: Path, connection: socket.socket) -> None:
    uid = peer_uid(connection)
    assert admission(tmp_path, {uid}).caller(connection) == {"uid": uid}
    assert (tmp_path / "audit.jsonl").read_bytes() == b""


def test_a_stranger_is_refused_also_where_the_audit_log_cannot_be_written(
    tmp_path: Path, connection: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(tmp_path / "audit.jsonl")
    audit.close()
    door = Admission(SocketDoor(tmp_path / "s", 0o600, None, frozenset()), 2, audit)
    with pytest.raises(ForbiddenError):
        door.caller(connection)
    assert "the audit log cannot be written" in caplog.text


def test_what_a_refusal_quotes_is_printable() -> None:
    error = InvalidRequestError("invalid-request", "unknown keys: a\nFORGED \x1b[31m\x7f\u202e\ud800 ü☃")
    assert error.message == str(error) == "unknown keys: a\\nFORGED \\x1b[31m\\x7f\\u202e\\ud800 ü☃"
