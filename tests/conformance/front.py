"""A development cluster behind somebody who knows Taskcluster's rules and notes every breach, by callers and by it."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import mohawk.util
import taskcluster
from werkzeug.serving import WSGIRequestHandler, make_server

from conformance.facts import ERROR, Call, call_of, faults
from taskward.devcluster.app import create_app
from taskward.devcluster.clients import ROOT_CLIENT_ID
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.settings import Settings

_LONGEST_HEADER = 4096
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Observer:
    """WSGI middleware; `breaches` are sentences, `names` the calls that were made.

    Of each call in `to_lose` the next answer gets lost: done, but the caller hears a gateway's words instead.
    """

    breaches: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    to_lose: set[str] = field(default_factory=set)
    app: Callable[..., Iterable[bytes]] | None = None

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert self.app is not None
        path = environ["PATH_INFO"]
        if not path.startswith("/api/"):
            return self.app(environ, start_response)
        where = f"{environ['REQUEST_METHOD']} {path}"
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(content)
        call = call_of(environ["REQUEST_METHOD"], path.removeprefix("/api/"))
        if call is None:
            self.breaches.append(f"{where}: a worker has no such call")
        else:
            self.names.add(call.name)
            self.breaches += [f"{where}: {fault}" for fault in _of_request(call, environ, content)]
        heard: list[str] = []
        passed: list[list[tuple[str, str]]] = []

        def start(status: str, fields: list[tuple[str, str]], *_more: Any) -> None:
            heard.append(status)
            passed.append(fields)

        answer = b"".join(self.app(environ, start))
        if call is not None:
            self.breaches += [f"{where}: {heard[0]}: {fault}" for fault in _of_answer(call, int(heard[0][:3]), answer)]
        if call is not None and call.name in self.to_lose:
            self.to_lose.remove(call.name)
            start_response("502 Bad Gateway", [("Content-Type", "text/html")])
            return [b"<html>502</html>"]
        start_response(heard[0], passed[0])
        return [answer]


def _of_request(call: Call, environ: dict[str, Any], content: bytes) -> Iterator[str]:
    for pair in filter(None, environ["QUERY_STRING"].split("&")):
        name, _, value = pair.partition("=")
        if name != "bewit" and not re.fullmatch(call.query.get(name, "(?!)"), value):
            yield f"the query {pair!r} is not allowed"
    kind = environ.get("CONTENT_TYPE", "")
    if call.body is None:
        if content:
            yield f"a body where none is taken: {content[:200]!r}"
    elif kind.partition(";")[0] != "application/json":
        yield f"content-type {kind!r}"
    else:
        yield from faults(call.body, json.loads(content))
    yield from _of_signature(environ.get("HTTP_AUTHORIZATION", ""), content, kind)


def _of_signature(header: str, content: bytes, kind: str) -> Iterator[str]:
    """As the hawk library checks it, and libraries/api/src/middleware/auth.js the hash of the body."""
    if not header:
        return
    attributes = dict(_ATTRIBUTE.findall(header))
    if not header.startswith("Hawk ") or not attributes.keys() >= {"id", "ts", "nonce", "mac"}:
        yield f"not a Hawk header: {header[:80]!r}"
    elif len(header) > _LONGEST_HEADER or abs(int(attributes["ts"]) - time.time()) > 60:
        yield "the Hawk header is too long or too old"
    if "hash" in attributes:
        digest = mohawk.util.calculate_payload_hash(content, "sha256", kind)
        if digest.decode() != attributes["hash"]:
            yield "the hash is not that of the body"


def _of_answer(call: Call, status: int, content: bytes) -> Iterator[str]:
    schema = ERROR if status >= 400 and status != 424 else call.answer
    if schema is None or status == 204:
        return
    try:
        yield from faults(schema, json.loads(content))
    except ValueError:
        yield f"no JSON: {content[:200]!r}"


@dataclass
class Front:
    """A running cluster and what was noted."""

    cluster: Cluster
    url: str
    observer: Observer

    def client(self, service: Any, credentials: dict[str, str] | None = None) -> Any:
        """A client of the `taskcluster` package, the root's unless told otherwise."""
        own = {"clientId": ROOT_CLIENT_ID, "accessToken": self.cluster.clients.load(ROOT_CLIENT_ID).access_token}
        return service({"rootUrl": self.url, "credentials": credentials or own, "maxRetries": 0})

    @property
    def queue(self) -> Any:
        return self.client(taskcluster.Queue)


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


@contextmanager
def observed(state_dir: Path) -> Iterator[Front]:
    observer = Observer()

    def between(app: Callable[..., Iterable[bytes]]) -> Observer:
        observer.app = app
        return observer

    server = make_server("127.0.0.1", 0, observer, threaded=True, request_handler=_Quiet)
    url = f"http://127.0.0.1:{server.server_port}"
    cluster = Cluster(Settings(state_dir, claim_wait_s=0.2, purge_cache_s=0), url)
    create_app(cluster, between)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield Front(cluster, url, observer)
    finally:
        server.shutdown()
        server.server_close()
        cluster.close()
