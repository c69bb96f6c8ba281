"""The head of an HTTP/1 answer, read strictly (llhttp by httptools)."""

import http
from dataclasses import dataclass, field
from typing import Final

import httptools

from taskward.proxy.errors import UpstreamError

MAX_HEAD_BYTES: Final = 256 * 1024

_NO_BODY: Final = frozenset({204, 304})


@dataclass
class Answer:
    """An answer of Taskcluster: its head and how its body is framed.

    `length` is the number of body bytes, or None when it ends with the last chunk (`chunked`) or with the connection.
    """

    status: int = 0
    reason: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    length: int | None = None
    chunked: bool = False
    keep_alive: bool = False

    @property
    def status_line(self) -> str:
        """Status and reason as WSGI wants them."""
        reason = self.reason if self.reason.isascii() and self.reason.isprintable() else ""
        return f"{self.status} {reason or _standard_reason(self.status)}"


class AnswerParser:
    """Reads one answer: first its head, then, if it is chunked, its body."""

    def __init__(self, method: str) -> None:
        self.answer = Answer()
        self.pieces: list[bytes] = []
        self.complete = False
        self._method = method
        self._head_done = False
        self._parser = httptools.HttpResponseParser(self)

    def feed_head(self, head: bytes) -> Answer:
        """Parse a whole head (up to its empty line). UpstreamError when it is not valid HTTP."""
        self._feed(head)
        answer = self.answer
        answer.status = self._parser.get_status_code()
        if not self._head_done or answer.status == 101:
            raise UpstreamError("the answer is not an HTTP/1 answer that can be passed on")
        answer.keep_alive = self._parser.should_keep_alive()
        self._find_framing()
        return answer

    def feed_chunks(self, data: bytes | memoryview) -> list[bytes]:
        """Parse more of a chunked body; returns its bytes. `complete` is set after the last chunk."""
        self._feed(data)
        pieces, self.pieces = self.pieces, []
        return pieces

    def on_status(self, status: bytes) -> None:
        """Part of the reason phrase (called by httptools)."""
        self.answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field (called by httptools)."""
        self.answer.fields.append((name.decode("latin-1"), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        """The end of the head (called by httptools)."""
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        """A piece of a chunked body (called by httptools)."""
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        """The end of the body (called by httptools)."""
        self.complete = True

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise UpstreamError(f"the answer is not valid HTTP: {error}") from error

    def _find_framing(self) -> None:
        answer = self.answer
        lengths = [value for name, value in answer.fields if name.lower() == "content-length"]
        codings = [value for name, value in answer.fields if name.lower() == "transfer-encoding"]
        if self._method == "HEAD" or answer.status in _NO_BODY or answer.status < 200:
            answer.length = 0
        elif codings:
            if [coding.strip().lower() for coding in codings] != ["chunked"] or lengths:
                raise UpstreamError("the answer has a framing that cannot be passed on")
            answer.chunked = True
        elif lengths:
            answer.length = int(lengths[0])  # llhttp has refused a repeated or malformed one


def _standard_reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
