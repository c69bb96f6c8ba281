"""A small HTTP service on loopback, for simulators that decide on whole requests; also a hostile one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from simulators import listener


@dataclass(frozen=True)
class Call:
    """One request; `fields` has names in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    fields: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


@dataclass
class Service:
    """Answers by `answer`; records what it was asked."""

    calls: list[Call] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, call: Call) -> tuple[int, Any]:
        """Status, and what becomes JSON (bytes stay as they are)."""
        raise NotImplementedError


S = TypeVar("S", bound=Service)


@contextmanager
def serving(service: S) -> Iterator[S]:
    with listener.Listener(_Request, service=service) as listening:
        service.port = listening.port
        yield service


class _Request(listener.Request):
    service: Service

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fields = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, parts.path, parse_qsl(parts.query), fields, body)
        self.service.calls.append(call)
        status, content = self.service.answer(call)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.reply(data, status)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:  # noqa: N802 - http.server calls it so
        self.do_GET()
