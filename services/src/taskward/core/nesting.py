"""JSON that is nested so deeply that reading it would end the process: a task's author can write such a definition."""

import re
from typing import Final

DEEPEST: Final = 100
_MARK: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_OPENING: Final = (b"[", b"{")


def shallow(text: bytes, deepest: int = DEEPEST) -> bytes:
    """The same JSON, with ``null`` for whatever lies deeper than `deepest` levels.

    What is no JSON is given back as it is, or as something else that is none.
    """
    if sum(map(text.count, _OPENING)) <= deepest:
        return text
    kept: list[bytes] = []
    level, begin = 0, 0
    for mark in _MARK.finditer(text):
        if mark[0] in _OPENING:
            level += 1
            if level == deepest + 1:
                kept += [text[begin : mark.start()], b"null"]
        elif mark[0][:1] != b'"':
            if level == deepest + 1:
                begin = mark.end()
            level -= 1
    return b"".join((*kept, text[begin:])) if level <= deepest else text
