"""Which texts OpenPGP clear-signing carries unchanged.

A clear signature does not cover blanks at line ends, and gpg silently cuts long lines while reporting success.
A text that passes `check_clear` comes out of gpg as it went in.
"""

import re
from typing import Final

MAX_LINE_BYTES: Final = 19_993
"""gpg cuts longer lines of a clear-signed text (seen with 2.2.40)."""

_NOT_PLAIN = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
_TRAILING_BLANK = re.compile(rb"[ ](?:\n|$)")


class UnclearTextError(ValueError):
    """This text cannot be clear-signed; the message says why."""


def check_clear(text: bytes) -> None:
    """Raises `UnclearTextError` when `text` is not plain UTF-8 lines that survive clear-signing unchanged."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise UnclearTextError(f"the text is not UTF-8: {error}") from error
    if _NOT_PLAIN.search(text):
        raise UnclearTextError("the text has control characters")
    if _TRAILING_BLANK.search(text):
        raise UnclearTextError("the text has blanks at the end of a line, which no signature would cover")
    longest = max(map(len, text.split(b"\n")))
    if longest > MAX_LINE_BYTES:
        raise UnclearTextError(f"the text has a line of {longest} bytes; gpg cuts lines above {MAX_LINE_BYTES}")
