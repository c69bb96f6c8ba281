"""Which artifact names the queue can bear, and which names the index has.

The queue stores some names that break it: with one above 1024 characters the run's artifacts can never be listed again.
"""

import re
from typing import Final

LONGEST_NAME: Final = 1024
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
_BYTES: Final = range(0xDC80, 0xDD00)  # as which Python decodes what is no UTF-8 in the name of a file
_NAMESPACE: Final = re.compile(r"(?:[A-Za-z0-9_!~*'()%-]+\.)*[A-Za-z0-9_!~*'()%-]+")


def refusal(name: str) -> str:
    """Why no artifact can have that name; empty when it can."""
    if not name:
        return "it is empty"
    if len(name) > LONGEST_NAME:
        return f"it has {len(name)} characters, the most are {LONGEST_NAME}"
    if not _PRINTABLE.fullmatch(name):
        return "it has characters other than printable ASCII"
    if {".", ".."} & set(name.split("/")):
        return "it has '.' or '..' as a part"
    return ""


def obstacle(name: str) -> str:
    """Why readers may fail to fetch an artifact of that name, though the queue bears it; empty if none does.

    The queue has not escaped the name in the URL in S3 that it tells readers of public artifacts: ``%41`` and ``//``
    lead elsewhere (404), and a lone ``%``, which redirects bear, is no URL to readers that were told it in JSON.
    """
    found = next((part for part in ("%", "//") if part in name), "")
    told = f"the queue does not escape '{found}' in its links to public names"
    return told if found and name.startswith("public/") else ""


def namespace_refusal(name: str) -> str:
    """Why the index has nothing of that name, which could lead a call to another place of its API; empty if it may."""
    return "" if _NAMESPACE.fullmatch(name) else f"must be words joined by dots (given: {shown(name)!r})"


def shown(name: str) -> str:
    """A name for people, in ASCII, on one line and not too long; bytes that are no UTF-8 as ``\\xff``."""
    plain = "".join(each if _PRINTABLE.fullmatch(each) else _escaped(each) for each in name)
    return plain if len(plain) <= 200 else f"{plain[:200]}…"


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _BYTES:
        return f"\\x{code - _BYTES[0] + 0x80:02x}"
    return character.encode("unicode_escape").decode()
