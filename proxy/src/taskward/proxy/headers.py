"""Which header fields travel on, in both directions (RFC 9110 §7.6.1), and which stop at the proxy."""

from collections.abc import Iterable, Mapping
from typing import Final

Fields = list[tuple[str, str]]

_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}
    | {"proxy-connection", "proxy-authenticate", "proxy-authorization"}
)
_NEVER_ON: Final = frozenset(
    # The framing is ours; 100-continue has been answered; whom a request was forwarded for is nothing a task may claim
    # to a server that trusts this host.
    {"host", "content-length", "expect", "forwarded", "via", "x-real-ip"}
)
_SIGNED: Final = frozenset({"authorization"})
_NEVER_TO_TASK: Final = frozenset(
    # gunicorn writes its own Server and Date; the framing is ours.
    {"server", "date", "content-length"}
)


def to_taskcluster(environ: Mapping[str, object]) -> Fields:
    """As `sent_on`, without the task's own signature."""
    return sent_on(environ, _SIGNED)


def sent_on(environ: Mapping[str, object], replaced: frozenset[str]) -> Fields:
    """The fields of a task's request (a WSGI environ) that are sent on; all of latin-1, none with a line break.

    `replaced` are names in lower case of those that the proxy sets itself.
    """
    stopped = _HOP_BY_HOP | _NEVER_ON | replaced | _named_by(str(environ.get("HTTP_CONNECTION", "")))
    fields: Fields = []
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").title()
        elif key == "CONTENT_TYPE" and value:
            name = "Content-Type"
        else:
            continue
        lower = name.lower()
        if lower not in stopped and not lower.startswith(("x-forwarded-", "proxy-")):
            fields.append((name, str(value)))
    return fields


def to_task(fields: Iterable[tuple[str, str]], ours: Iterable[tuple[str, str]]) -> Fields:
    """The fields of Taskcluster's answer that are passed on, repeated ones as often as they came, and `ours`."""
    received = list(fields)
    added = list(ours)
    stopped = _HOP_BY_HOP | _NEVER_TO_TASK | {name.lower() for name, _ in added}
    for name, value in received:
        if name.lower() == "connection":
            stopped |= _named_by(value)
    return [field for field in received if field[0].lower() not in stopped] + added


def _named_by(connection: str) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in connection.split(",")) if connection else frozenset()
