"""The decrypter's only door: one request after the other, each answered by a process of its own.

The values are in that process and in the answer. This one, which lives on, never has them.
"""

import json
import logging
import os
import signal
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

from taskward.signer.audit import AuditLog
from taskward.signer.confine import die_with
from taskward.signer.decrypter import protocol
from taskward.signer.decrypter.settings import DecrypterSettings
from taskward.signer.sockets import callers
from taskward.signer.wire import BrokenFrameError, receive_frame, send_frames

_log = logging.getLogger(__name__)
_MAX_REPORT_BYTES: Final = 64 * 1024


def serve(listener: socket.socket, settings: DecrypterSettings, audit: AuditLog, answer_within_s: int = 120) -> None:
    """Answer one connection after the other, for ever. Users outside of `allowed_uids` get no byte.

    Nothing is opened before its line is in the audit log, and no answer leaves before its own is.
    """
    for connection, uid in callers(listener, settings.door.allowed_uids):
        try:
            _serve_one(connection, uid, settings, audit, answer_within_s)
        except (OSError, BrokenFrameError) as error:
            _log.warning("could not answer: %s", error)


def _serve_one(
    connection: socket.socket, uid: int, settings: DecrypterSettings, audit: AuditLog, answer_within_s: int
) -> None:
    if not connection.recv(1, socket.MSG_PEEK):
        return  # somebody looks whether we listen
    try:
        request = protocol.Request.parse(receive_frame(connection, protocol.MAX_REQUEST_BYTES))
    except protocol.MalformedRequestError as error:
        send_frames(connection, protocol.REFUSED, str(error).encode())
        return
    about = {"taskId": request.task_id, "runId": request.run_id}
    audit.append("open", uid=uid, **about)

    def answer(parent: socket.socket) -> None:
        signal.alarm(answer_within_s)
        _answer(connection, settings, request, parent)

    def record(report: str) -> None:
        ended: dict[str, Any] = json.loads(report) if report else {"event": "died"}
        _log.info("%s/%d: %s", request.task_id, request.run_id, ended["event"])
        audit.append(ended.pop("event"), **about, **ended)

    in_a_process(answer, record)


def in_a_process(function: Callable[[socket.socket], None], hear: Callable[[str], None]) -> None:
    """Calls `function` in a fork, with a socket to us; `hear` gets its report, empty when it died without one.

    The fork is killed when `hear` raises, told so with one byte when it does not, and has ended when this returns.
    Nothing that it started outlives it, save gpg's agent when it was killed; the next one ends that.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _call(function, theirs, parent)
    theirs.close()
    try:
        with ours:
            hear(ours.recv(_MAX_REPORT_BYTES).decode())
            with suppress(OSError):
                ours.send(b"+")
                ours.recv(1)
    finally:
        _end(pid)


def _call(function: Callable[[socket.socket], None], theirs: socket.socket, parent: int) -> NoReturn:
    """In the fork, which never returns into its parent's code."""
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(parent)
        function(theirs)
    except Exception as error:  # noqa: BLE001 - a message could quote a secret: only where and of what kind
        _log.error("%s in\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    finally:
        os._exit(0)


def _end(pid: int) -> None:
    """What has told all that it had to; what it started ends with it."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # not in a group of its own yet, when we are told to end so early
    os.waitpid(pid, 0)


def _answer(
    connection: socket.socket, settings: DecrypterSettings, request: protocol.Request, parent: socket.socket
) -> None:
    """In a process of its own, which alone loads what it takes to ask and to decrypt."""
    from taskward.signer.answers import AnswerError, ForbiddenError
    from taskward.signer.decrypter.opening import RefusedMessagesError, open_messages

    ended: dict[str, Any]
    try:
        values = open_messages(settings, request)
    except RefusedMessagesError as error:
        verdict, content = protocol.VIOLATION, str(error)
        ended = {"event": "violation", "index": error.index, "incidentId": error.incident_id}
    except AnswerError as error:
        verdict = protocol.REFUSED if isinstance(error, ForbiddenError) else protocol.LATER
        content = f"{error.code}: {error.message}"
        ended = {"event": "not-opened", "code": error.code, "message": error.message[:500]}
    else:
        verdict, content = protocol.VALUES, json.dumps(values)
        ended = {"event": "opened", "variables": len(values)}
    parent.send(json.dumps(ended).encode())
    if parent.recv(1):  # it is in the audit log
        send_frames(connection, verdict, content.encode())
