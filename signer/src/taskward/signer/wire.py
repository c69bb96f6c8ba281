"""The keyholder's protocol: frames of bytes, each behind its length as four big-endian bytes. The decrypter has the
same frames and other words, see `decrypter.protocol`.

One connection carries one signature. The caller sends two frames: the form (``openpgp``, ``ed25519`` or
``dsse``) and the body. The keyholder answers with two: ``signed`` and the result; or, and the reason as UTF-8,
``refused`` (this body never will be) or ``unable`` (no signature now, whatever the body).
"""

import socket
import struct
from typing import Final

FORMS: Final = ("openpgp", "ed25519", "dsse")
"""What the keyholder can make; see `keyholder.keyring.Keyring.sign`."""

MAX_WORD_BYTES: Final = 16
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
SIGNED: Final = b"signed"
REFUSED: Final = b"refused"
UNABLE: Final = b"unable"

_LENGTH = struct.Struct(">I")


class BrokenFrameError(Exception):
    """The other side closed within a frame or announced too long a one; drop the connection."""


def send_frames(connection: socket.socket, *frames: bytes) -> None:
    """Send frames one after the other; raises OSError when the other side is gone."""
    for frame in frames:
        connection.sendall(_LENGTH.pack(len(frame)))
        if frame:  # the other side, which has all of an empty one, may have answered and left
            connection.sendall(frame)


def receive_frame(connection: socket.socket, max_bytes: int) -> bytes:
    """The next frame; raises `BrokenFrameError`, or OSError (TimeoutError included) from the socket."""
    (length,) = _LENGTH.unpack(_receive_exactly(connection, _LENGTH.size))
    if length > max_bytes:
        raise BrokenFrameError(f"a frame of {length} bytes was announced, at most {max_bytes} are allowed")
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(min(count - len(received), 1024 * 1024))
        if not piece:
            raise BrokenFrameError(f"the connection ended after {len(received)} of {count} bytes")
        received += piece
    return bytes(received)
