"""One question of the proxy's own to a server: bounded in time and size, whatever the server does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from taskward.proxy import headers
from taskward.proxy.answer import Answer, AnswerParser
from taskward.proxy.errors import UpstreamError
from taskward.proxy.upstream import Link, Pool

MAX_BODY_BYTES: Final = 4 << 20
_READ_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    body: bytes


def ask(
    pool: Pool, method: str, target: str, fields: headers.Fields, within_s: float, body: bytes = b""
) -> Reply:  # fmt: skip
    """Ask once, on a connection of its own; `fields` begin with Host.

    Raises UpstreamError when there is no valid answer of at most `MAX_BODY_BYTES` within `within_s` after connecting.
    """
    link = pool.take(fresh=True)
    try:
        link.finish_within(within_s)
        length = [("Content-Length", str(len(body)))] if body or method == "POST" else []
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields + length)]
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        link.send(head.encode("latin-1") + body)
        answer, parser = link.read_head(method)
        return Reply(answer.status, _body(link, answer, parser))
    finally:
        link.close()


def _body(link: Link, answer: Answer, parser: AnswerParser) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for piece in _pieces(link, answer, parser):
        size += len(piece)
        if size > MAX_BODY_BYTES:
            raise UpstreamError(f"the answer is larger than {MAX_BODY_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _pieces(link: Link, answer: Answer, parser: AnswerParser) -> Iterator[bytes]:
    buffer = memoryview(bytearray(_READ_BYTES))
    left = answer.length
    data = link.take_received(_READ_BYTES if left is None else left)
    while left is None or left:
        if answer.chunked:
            yield from parser.feed_chunks(data) if data else []
            if parser.complete:
                return
        elif data:
            yield data
            left = None if left is None else left - len(data)
        if left == 0:
            return
        data = link.take_received(_READ_BYTES) or bytes(buffer[: link.recv_into(buffer[: left or _READ_BYTES])])
        if not data:
            if left is not None or answer.chunked:
                raise UpstreamError("the answer broke off")
            return
