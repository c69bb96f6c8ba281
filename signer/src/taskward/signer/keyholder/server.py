"""The keyholder's only door."""

import hashlib
import logging
import signal
import socket

from taskward.signer.keyholder.errors import RefusedBodyError, SigningError
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.sockets import callers
from taskward.signer.wire import (
    MAX_BODY_BYTES,
    MAX_WORD_BYTES,
    REFUSED,
    SIGNED,
    BrokenFrameError,
    receive_frame,
    send_frames,
)

_log = logging.getLogger(__name__)


def serve(listener: socket.socket, keyring: Keyring, allowed_uids: frozenset[int], answer_within_s: int = 120) -> None:
    """Answer one connection after the other, for ever. Users outside of `allowed_uids` get no byte.

    When gpg hangs for `answer_within_s`, SIGALRM ends this process; started again it gets a new agent.
    """
    for connection, _uid in callers(listener, allowed_uids):
        signal.alarm(answer_within_s)
        try:
            _answer(connection, keyring)
        except (OSError, BrokenFrameError) as error:
            _log.warning("lost a connection: %s", error)
        finally:
            signal.alarm(0)


def _answer(connection: socket.socket, keyring: Keyring) -> None:
    form = receive_frame(connection, MAX_WORD_BYTES).decode("ascii", "replace")
    body = receive_frame(connection, MAX_BODY_BYTES)
    try:
        signature = keyring.sign(form, body)
    except RefusedBodyError as error:
        _log.warning("refused to sign: %s", error)
        send_frames(connection, REFUSED, str(error).encode())
    except SigningError:
        _log.exception("could not sign")  # the caller sees the connection end, and may try again
    else:
        _log.info("signed %s sha256:%s", form, hashlib.sha256(body).hexdigest())
        send_frames(connection, SIGNED, signature)
