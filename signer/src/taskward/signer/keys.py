"""The signer's view of the keys: public halves from files, signatures from the keyholder."""

import base64
import json
import math
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskward.signer import wire
from taskward.signer.answers import InvalidRequestError, TryLaterError

_TIMEOUT_S = 60.0


class Keyholder:
    """The keyholder process behind its socket; safe for use by several threads."""

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> "KeyholderConnection":
        """A connection for one signature, to be closed; raises `TryLaterError` when the keyholder is away."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise _silent(error) from error
        return KeyholderConnection(connection)

    def reachable(self) -> bool:
        """Whether somebody listens at the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            return connection.connect_ex(str(self._path)) == 0


class KeyholderConnection:
    """An open connection, of `Keyholder.connect`; a context manager that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def sign(self, form: str, body: bytes) -> bytes:
        """The signature, or the clear-signed text for ``openpgp``; once.

        Raises `TryLaterError` when the keyholder cannot sign now, `InvalidRequestError` when it refuses the body.
        """
        try:
            wire.send_frames(self._connection, form.encode(), body)
            verdict = wire.receive_frame(self._connection, wire.MAX_WORD_BYTES)
            answer = wire.receive_frame(self._connection, 2 * wire.MAX_BODY_BYTES)
        except (OSError, wire.BrokenFrameError) as error:
            raise _silent(error) from error
        if verdict == wire.SIGNED:
            return answer
        reason = answer.decode("utf-8", "replace")
        if verdict == wire.UNABLE:
            raise TryLaterError("keyholder-unable", reason)
        raise InvalidRequestError("unsignable", reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def _silent(error: Exception) -> TryLaterError:
    return TryLaterError("keyholder-unavailable", f"the keyholder does not answer: {error}; see its log")


class PublicKeys:
    """What the keyholder published in its ``public_keys_dir``; read anew each time, it may restart with others."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "keys.json"
        self._openpgp_seen: dict[str, Any] | None = None

    def all(self) -> dict[str, Any]:
        """The content of ``keys.json``; raises `TryLaterError` while there is none."""
        try:
            keys: dict[str, Any] = json.loads(self._file.read_bytes())
        except (OSError, ValueError) as error:
            message = f"{self._file} cannot be read: {error}; the keyholder writes it when it starts, see its log"
            raise TryLaterError("keys-unknown", message) from error
        return keys

    def openpgp_expires_s(self) -> float:
        """When the OpenPGP key expires, in seconds since the epoch; infinite for never, NaN while unknown."""
        try:
            return _expires_s(self._openpgp())
        except TryLaterError:
            return math.nan

    def check_expiry(self, now_s: float) -> None:
        """Raises `TryLaterError` when the OpenPGP key has expired: the keyholder then signs nothing, or has ended."""
        key = self._openpgp()
        if _expires_s(key) <= now_s:
            message = f"the OpenPGP key {key['fingerprint']} expired at {key['expires']}; the keyholder needs a new one"
            raise TryLaterError("key-expired", message)

    def _openpgp(self) -> dict[str, Any]:
        """The last that was seen where there is none: systemd removes the directory once the keyholder has ended."""
        try:
            key: dict[str, Any] = self.all()["openpgp"]
        except TryLaterError:
            if self._openpgp_seen is None:
                raise
            return self._openpgp_seen
        self._openpgp_seen = key
        return key

    def check(self, form: str, signed: bytes, signature: bytes) -> str:
        """The id of the published key of `form`; raises `TryLaterError` when `signature` is not by it."""
        # with the first signature, a twentieth of a second: a signer that waits is a tenth smaller (ADR 8)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        key = self.all()[form]
        try:
            public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["publicKey"]))
            public.verify(signature, signed)
        except (ValueError, InvalidSignature) as error:
            message = f"the keyholder's {form} signature does not verify with the published key"
            raise TryLaterError("keys-differ", message) from error
        return str(key["keyId"])


def _expires_s(key: dict[str, Any]) -> float:
    return math.inf if key["expires"] is None else datetime.fromisoformat(key["expires"]).timestamp()
