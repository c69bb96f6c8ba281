"""The signer's view of the keys: public halves from files, signatures from the keyholder."""

import base64
import json
import math
import socket
from datetime import datetime
from pathlib import Path
from typing import Any

from taskward.signer import wire
from taskward.signer.answers import InvalidRequestError, TryLaterError

_TIMEOUT_S = 60.0


class Keyholder:
    """The keyholder process behind its socket; safe for use by several threads, one connection a signature."""

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def sign(self, form: str, body: bytes) -> bytes:
        """The signature, or the clear-signed text for ``openpgp``.

        Raises `TryLaterError` when the keyholder is away, `InvalidRequestError` when it refuses the body.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout_s)
                connection.connect(str(self._path))
                wire.send_frames(connection, form.encode(), body)
                verdict = wire.receive_frame(connection, wire.MAX_WORD_BYTES)
                answer = wire.receive_frame(connection, 2 * wire.MAX_BODY_BYTES)
        except (OSError, wire.BrokenFrameError) as error:
            raise TryLaterError("keyholder-unavailable", f"the keyholder does not answer: {error}") from error
        if verdict != wire.SIGNED:
            raise InvalidRequestError("unsignable", answer.decode("utf-8", "replace"))
        return answer

    def reachable(self) -> bool:
        """Whether somebody listens at the socket."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            return connection.connect_ex(str(self._path)) == 0


class PublicKeys:
    """What the keyholder published in its ``public_keys_dir``; read anew each time, it may restart with others."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "keys.json"

    def all(self) -> dict[str, Any]:
        """The content of ``keys.json``; raises `TryLaterError` while there is none."""
        try:
            keys: dict[str, Any] = json.loads(self._file.read_bytes())
        except (OSError, ValueError) as error:
            raise TryLaterError("keys-unknown", f"{self._file} cannot be read: {error}") from error
        return keys

    def openpgp_expires_s(self) -> float:
        """When the OpenPGP key expires, in seconds since the epoch; infinite for never, NaN while unknown."""
        try:
            expires = self.all()["openpgp"]["expires"]
        except TryLaterError:
            return math.nan
        return math.inf if expires is None else datetime.fromisoformat(expires).timestamp()

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
