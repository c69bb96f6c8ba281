"""Which artifact names the queue can bear.

The queue stores some names that break it: with one above 1024 characters the run's artifacts can never be listed again.
"""

import re
from typing import Final

LONGEST_NAME: Final = 1024
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]+")


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


def shown(name: str) -> str:
    """A name for people, on one line and not too long."""
    plain = name.encode("ascii", "backslashreplace").decode()
    plain = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in plain)
    return plain if len(plain) <= 200 else f"{plain[:200]}…"
