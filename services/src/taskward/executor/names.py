"""Which artifact names the queue can bear, and which names the index has.

The queue stores some names that break it: with one above 1024 characters the run's artifacts can never be listed again.
"""

import re
from typing import Final

LONGEST_NAME: Final = 1024
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")
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


def namespace_refusal(name: str) -> str:
    """Why the index has nothing of that name, which could lead a call to another place of its API; empty if it may."""
    return "" if _NAMESPACE.fullmatch(name) else f"must be words joined by dots (given: {shown(name)!r})"


def shown(name: str) -> str:
    """A name for people, on one line and not too long."""
    plain = name.encode("ascii", "backslashreplace").decode()
    plain = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in plain)
    return plain if len(plain) <= 200 else f"{plain[:200]}…"
