"""SHA-256 of open files."""

import hashlib
import os
from typing import Final

_PIECE_BYTES: Final = 1 << 20


def sha256_of(file: int) -> tuple[str, int]:
    """The hash, in hexadecimal, and the size in bytes; where the descriptor stands does not matter and stays."""
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(file, _PIECE_BYTES, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest(), at
