"""What a person logs in with, and the secrets between the servers of one desktop."""

import json
import secrets
import string
import struct
from dataclasses import dataclass, field
from typing import Final

PASSWORD_CHARACTERS: Final = 8  # all that the RFB protocol knows; 62 to the 8th is 47 bits
_ALPHABET: Final = string.ascii_letters + string.digits
_FILE_KEY: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in (23, 82, 107, 6, 35, 78, 88, 7))
_COOKIE_NAME: Final = b"MIT-MAGIC-COOKIE-1"
_ANY_HOST: Final = 0xFFFF
_COOKIE_BYTES: Final = 16


@dataclass(frozen=True)
class Access:
    """How to log in; `certificate_sha256` tells a careful client that it has reached the right server."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    certificate_sha256: str

    def document(self) -> bytes:
        """The artifact."""
        document = {
            "host": self.host,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "certificateSha256": self.certificate_sha256,
        }
        return json.dumps(document, indent=2).encode()


def new_password() -> str:
    """One that nobody has had."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_CHARACTERS))


def password_file(password: str) -> bytes:
    """The form that VNC servers read: DES with a key that everybody knows, hence as secret as the password itself."""
    # imported late: executors of workers without desktops never need them
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    encryptor = Cipher(TripleDES(_FILE_KEY * 3), modes.ECB()).encryptor()  # noqa: S305 - the format wants it
    return encryptor.update(password.encode().ljust(PASSWORD_CHARACTERS, b"\0"))


def authority_file() -> bytes:
    """A new cookie for X clients, in the form of ``Xauthority``, for whichever display will be ours."""
    fields = (b"", b"", _COOKIE_NAME, secrets.token_bytes(_COOKIE_BYTES))
    return struct.pack(">H", _ANY_HOST) + b"".join(struct.pack(">H", len(each)) + each for each in fields)
