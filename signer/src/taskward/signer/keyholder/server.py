"""The keyholder's only door."""

import hashlib
import logging
import signal
import socket
from typing import Final

from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder.errors import RefusedBodyError, SigningError
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.sockets import callers
from taskward.signer.wire import (
    MAX_BODY_BYTES,
    MAX_WORD_BYTES,
    REFUSED,
    SIGNED,
    UNABLE,
    BrokenFrameError,
    receive_frame,
    send_frames,
)

_log = logging.getLogger(__name__)
_LOOK_EVERY_S: Final = 60.0


def serve(
    listener: socket.socket,
    keyring: Keyring,
    allowed_uids: frozenset[int],
    answer_within_s: int = 120,
    look_every_s: float = _LOOK_EVERY_S,
) -> None:
    """Answer one connection after the other, for as long as the keys are good. Users outside of `allowed_uids` get no
    byte.

    Raises `UnusableKeyError` when a key has expired, which is looked for every `look_every_s`, or signs no more.
    When gpg hangs for `answer_within_s`, SIGALRM ends this process; started again it gets a new agent.
    """
    listener.settimeout(look_every_s)
    for connection, _uid in callers(listener, allowed_uids, keyring.check):
        signal.alarm(answer_within_s)
        try:
            _answer(connection, keyring)
        except (OSError, BrokenFrameError) as error:
            _log.warning("lost a connection: %s", error)
        finally:
            signal.alarm(0)


def _answer(connection: socket.socket, keyring: Keyring) -> None:
    if not connection.recv(1, socket.MSG_PEEK):
        return  # somebody looks whether we listen
    form = receive_frame(connection, MAX_WORD_BYTES).decode("ascii", "replace")
    body = receive_frame(connection, MAX_BODY_BYTES)
    try:
        signature = keyring.sign(form, body)
    except RefusedBodyError as error:
        _log.warning("refused to sign: %s", error)
        send_frames(connection, REFUSED, str(error).encode("utf-8", "replace"))
    except UnusableKeyError as error:
        send_frames(connection, UNABLE, str(error).encode("utf-8", "replace"))
        raise
    except SigningError as error:
        _log.warning("could not sign: %s", error)
        send_frames(connection, UNABLE, str(error).encode("utf-8", "replace"))
        keyring.prove()
    else:
        _log.info("signed %s sha256:%s", form, hashlib.sha256(body).hexdigest())
        send_frames(connection, SIGNED, signature)
