"""One request of a task, to where it belongs and back."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from taskward.proxy import headers
from taskward.proxy.answer import Answer, AnswerParser
from taskward.proxy.body import BUFFER_BYTES, RequestBody
from taskward.proxy.connection import TaskSocket
from taskward.proxy.errors import ClientGone, RequestError, UpstreamError, UpstreamTimeout
from taskward.proxy.metrics import Metrics
from taskward.proxy.origin import Origin
from taskward.proxy.patience import Patience
from taskward.proxy.upstream import Link

log = logging.getLogger(__name__)

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_MAX_DISCARD_BYTES: Final = 64 * 1024

StartResponse = Callable[[str, headers.Fields], Callable[[bytes], object]]


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    head_fields: headers.Fields
    body: RequestBody
    sock: TaskSocket

    @property
    def repeatable(self) -> bool:
        """Sending it twice does no more than sending it once."""
        return self.method in _IDEMPOTENT and self.body.replayable


class Forwarder:
    """Sends requests on to one origin, and streams the answers back.

    Memory does not grow with a body in either direction. A request is tried again, within `retry_for_s`, when that is
    safe: while nothing went out yet; when it is idempotent and its body is in memory; or when a reused connection
    turned out to be dead before a byte of the answer (then at once). Nothing is tried again after a byte went to
    the task.
    """

    def __init__(self, origin: Origin, metrics: Metrics, retry_for_s: float) -> None:
        self._origin = origin
        self._pool = origin.pool
        self._metrics = metrics
        self._retry_for_s = retry_for_s

    def forward(self, environ: dict[str, Any], target: str, start_response: StartResponse) -> list[bytes]:
        """Serve one request; `target` comes from `routes.resolve`.

        Returns what is left to send (WSGI). Raises RequestError or ClientGone while nothing was sent to the task;
        later trouble cuts the connection.
        """
        request = _read(environ, target, self._origin.passed_on(environ))
        link, answer, parser = self._ask(request)
        self._metrics.answered(answer.status)
        ours = self._origin.answer_fields(request.sock, target) + _declared_length(answer)
        write = start_response(answer.status_line, headers.to_task(answer.fields, ours))
        early = link.take_received(answer.length) if answer.length is not None else b""
        if answer.length == len(early):
            return self._whole(request.sock, link, answer, early)
        return self._pass_on(request, link, answer, parser, early, write)

    def _whole(self, sock: TaskSocket, link: Link, answer: Answer, body: bytes) -> list[bytes]:
        """The body came together with the head: it leaves so, too."""
        self._done(link, answer, len(body))
        if body:
            sock.hold_next()
        return [body]

    def _ask(self, request: _Request) -> tuple[Link, Answer, AnswerParser]:
        patience = Patience(self._retry_for_s, request.sock)
        fresh = not request.body.replayable
        while True:
            try:
                link, answer, parser = self._once(request, fresh=fresh)
            except UpstreamTimeout as error:
                raise self._failed(504, "UpstreamTimeout", error) from error
            except UpstreamError as error:
                if error.stale and request.body.replayable and not fresh:
                    fresh = True
                elif not (request.repeatable or not error.sent) or not patience.pause():
                    raise self._failed(502, "UpstreamUnavailable", error) from error
            else:
                worth_it = request.repeatable and (answer.status >= 500 or answer.status == 429)
                retry_after = next((v for n, v in answer.fields if n.lower() == "retry-after"), None)
                if not worth_it or not patience.pause(retry_after):
                    return link, answer, parser
                self._discard(link, answer)
            self._metrics.count("retries")

    def _once(self, request: _Request, *, fresh: bool) -> tuple[Link, Answer, AnswerParser]:
        own_fields = self._origin.own_fields(request.sock, request.method, request.target)
        link = self._pool.take(fresh=fresh)
        try:
            link.serve(request.sock)
            if not request.body.send_to(link, _head(request, own_fields)):
                request.sock.close_after = request.sock.close_after or not request.body.replayable
                log.debug("run=%s: answered before the end of the upload", request.sock.run_key)
                answer, parser = link.read_head(request.method)
                answer.keep_alive = False
                return link, answer, parser
            return link, *link.read_head(request.method)
        except BaseException:
            link.close()
            raise

    def _failed(self, status: int, code: str, error: UpstreamError) -> RequestError:
        self._metrics.count("upstream_errors")
        log.warning("%s: %s", self._origin.title, error)
        return RequestError(status, code, f"{self._origin.title} did not answer: {error}.")

    def _discard(self, link: Link, answer: Answer) -> None:
        """Make way for another try: keep the connection if the rest of this answer has come already."""
        complete = answer.length is not None and answer.length <= _MAX_DISCARD_BYTES
        if complete and answer.keep_alive and len(link.take_received(answer.length or 0)) == answer.length:
            self._pool.give_back(link)
        else:
            link.close()

    def _pass_on(
        self,
        request: _Request,
        link: Link,
        answer: Answer,
        parser: AnswerParser,
        early: bytes,
        write: Callable[[bytes], object],
    ) -> list[bytes]:
        if self._stream(request.sock, link, answer, parser, early, write):
            self._done(link, answer, answer.length or 0)
        else:
            request.sock.abort()
            link.close()
        return []

    def _stream(
        self,
        sock: TaskSocket,
        link: Link,
        answer: Answer,
        parser: AnswerParser,
        early: bytes,
        write: Callable[[bytes], object],
    ) -> bool:
        """Pass the body on as it arrives; False when either side failed before its end."""
        try:
            write(early)
            if answer.length is not None:
                return self._copy(link, sock, answer.length - len(early))
            return self._copy_chunks(link, parser, write) if answer.chunked else self._copy_rest(link, write)
        except UpstreamError as error:
            log.warning("%s: the answer broke off: %s", self._origin.title, error)
        except (ClientGone, OSError) as gone:
            self._metrics.count("clients_gone")
            log.debug("run=%s: the task left its answer: %s", sock.run_key, gone)
        return False

    def _copy(self, link: Link, sock: TaskSocket, left: int) -> bool:
        """From socket to socket: the head has gone out, the body's length stands in it."""
        buffer = memoryview(bytearray(min(BUFFER_BYTES, left)))
        while left:
            size = _some(link.recv_into(buffer[:left]))
            sock.send_all(buffer[:size])
            left -= size
        return True

    def _copy_chunks(self, link: Link, parser: AnswerParser, write: Callable[[bytes], object]) -> bool:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        data: bytes | memoryview = link.take_received(BUFFER_BYTES)
        while True:
            for piece in parser.feed_chunks(data) if data else []:
                self._metrics.count("answer_bytes", len(piece))
                write(piece)
            if parser.complete:
                return True
            data = buffer[: _some(link.recv_into(buffer))]

    def _copy_rest(self, link: Link, write: Callable[[bytes], object]) -> bool:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        data = link.take_received(BUFFER_BYTES)
        while True:
            if data:
                self._metrics.count("answer_bytes", len(data))
                write(data)
            data = bytes(buffer[: link.recv_into(buffer)])
            if not data:
                return True

    def _done(self, link: Link, answer: Answer, size: int) -> None:
        self._metrics.count("answer_bytes", size)
        if answer.keep_alive:
            self._pool.give_back(link)
        else:
            link.close()


def _head(request: _Request, own_fields: headers.Fields) -> bytes:
    lines = [f"{request.method} {request.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in own_fields + request.head_fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _read(environ: dict[str, Any], target: str, passed_on: headers.Fields) -> _Request:
    method = environ["REQUEST_METHOD"]
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.lower() != "chunked":
        raise RequestError(501, "NotImplemented", "Transfer-Encoding must be chunked, and nothing else.")
    length = int(environ["CONTENT_LENGTH"]) if environ.get("CONTENT_LENGTH") else None
    sock = environ["gunicorn.socket"]
    body = RequestBody(sock, environ["wsgi.input"], length, chunked=coding is not None)
    return _Request(method, target, passed_on + body.framing, body, sock)


def _some(size: int) -> int:
    if size == 0:
        raise UpstreamError("the connection ended")
    return size


def _declared_length(answer: Answer) -> headers.Fields:
    """Content-Length as it was declared; for HEAD it tells the length that GET would have."""
    return [field for field in answer.fields if field[0].lower() == "content-length"][:1]
