"""Queue, object service and storage as an uploader sees them, with their oddities, and faults on demand."""

import base64
import gzip
import hashlib
import json
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, SupportsIndex
from urllib.parse import parse_qs, unquote, urlsplit

KEPT_BYTES = 4 << 20
_PROPERTIES = {"storageType", "contentType", "contentLength", "expires", "reason", "message", "artifact", "url"}
_REASONS = {
    "file-missing-on-worker",
    "invalid-resource-on-worker",
    "too-large-file-on-worker",
    "file-not-readable-on-worker",
}


@dataclass
class Stored:
    """What a PUT left; `body` only when it is small."""

    headers: dict[str, str]
    sha256: str
    length: int
    body: bytes

    @property
    def content(self) -> bytes:
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


@dataclass
class Cloud:
    """Start it as a context manager.

    `faults[name]` are answered first, one a PUT: a status, ``cut``, ``stall``, ``early``, ``redirect``,
    ``lost-answer``, ``slow``, or a code of S3 that comes with a 400; `create_faults[name]` alike for createArtifact,
    where ``lost-504`` is a gateway that waited for the answer in vain.
    What is in `unknown` (properties, reasons) it refuses, as an older queue does; `no_inline` is a backend without
    dataInline.
    """

    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    puts: Counter[str] = field(default_factory=Counter)
    creates: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    faults: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    create_faults: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    client_ids: list[str] = field(default_factory=list)
    resolved: bool = False
    put_pause_s: float = 0.0
    create_pause_s: float = 0.0
    put_pauses_s: dict[str, float] = field(default_factory=dict)
    put_url: str = ""
    connections: int = 0
    tokens: dict[str, str] = field(default_factory=dict)
    object_answer: dict[str, Any] | None = None
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    no_inline: bool = False
    unknown: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        cloud = self

        class Bound(_Handler):
            pass

        Bound.cloud = cloud
        self._server = _Server(("127.0.0.1", 0), Bound)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expire_urls(self) -> None:
        """Every URL handed out so far is too old."""
        self.tokens.clear()

    def signed_url(self, name: str) -> str:
        with self._lock:
            token = f"t{len(self.tokens)}-{time.monotonic_ns()}"
            self.tokens[token] = name
        return self.put_url or f"{self.url}/bucket/file?X-Amz-Expires=2710&X-Amz-Signature={token}"

    def create(self, name: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        kind = body.get("storageType")
        if set(body) - _PROPERTIES or not re.fullmatch(r"[\x20-\x7e]+", name) or len(name) > 1024:
            return 400, {"code": "InputValidationError", "message": "bad properties or name"}
        if self.unknown & {*body, body.get("reason")}:
            return 400, {"code": "InputValidationError", "message": "not in the schema of this older queue"}
        if kind == "error" and (body["reason"] not in _REASONS or len(body["message"]) > 4096):
            return 400, {"code": "InputValidationError", "message": "bad reason or message"}
        if self.resolved:
            return 409, {"code": "RequestConflict", "message": "run is resolved"}
        with self._lock:
            old = self.artifacts.get(name)
            if old and kind == "object":
                return 500, {"code": "InternalServerError", "message": "Object already exists"}
            if old and not (old["storageType"] == "reference" and kind in ("reference", "link")):
                same = all(old.get(key) == body.get(key) for key in ("contentType", "storageType"))
                if not same or body["expires"] < old["expires"]:
                    return 409, {"code": "RequestConflict", "message": "Artifact already exists, with other properties"}
            self.artifacts[name] = body
        if kind == "s3":
            return 200, {"storageType": "s3", "contentType": body["contentType"], "putUrl": self.signed_url(name)}
        if kind == "object":
            answer = {"storageType": "object", "name": f"t/{name}", "projectId": "p", "uploadId": f"u-{name}"}
            self.objects[answer["name"]] = {"uploadId": answer["uploadId"], "finished": False, "artifact": name}
            return 200, {**answer, "credentials": {"clientId": "object", "accessToken": "t"}}
        return 200, {"storageType": kind}


class Faults(list[int | str]):
    """Faults that make something else happen with them."""

    def __init__(self, faults: list[int | str], happens: Callable[[], None]) -> None:
        super().__init__(faults)
        self._happens = happens

    def pop(self, index: SupportsIndex = -1) -> int | str:
        self._happens()
        return super().pop(index)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Cut connections are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    cloud: Cloud

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        self.cloud.connections += 1

    def do_POST(self) -> None:
        body = self._json()
        service, path = self._route()
        if service == "queue":
            self._create(_name(path), body)
        else:
            upload = self.cloud.objects[path.removeprefix("finish-upload/")]
            right = body["uploadId"] == upload["uploadId"] and set(body["hashes"]) == {"sha256", "sha512"}
            upload["finished"] = right
            upload["hashes"] = body["hashes"]
            self._answer(200 if right else 400, {})

    def do_PUT(self) -> None:
        if self.path.startswith("/bucket/"):
            with self.cloud._lock:
                self.cloud.under_way += 1
                self.cloud.most_under_way = max(self.cloud.most_under_way, self.cloud.under_way)
            try:
                self._store()
            finally:
                self.cloud.under_way -= 1
            return
        body = self._json()
        service, path = self._route()
        if service == "queue":
            wanted = [o for o in self.cloud.objects.values() if o["uploadId"] == body["uploadId"]]
            done = bool(wanted) and wanted[0]["finished"]
            self.cloud.order.append(f"finish {_name(path)}")
            self._answer(200 if done else 400, {} if done else {"code": "InputError", "message": "not finished"})
        else:
            self._upload_object(path.removeprefix("upload/"), body)

    def _create(self, name: str, body: dict[str, Any]) -> None:
        client_id = re.search(r'id="([^"]*)"', self.headers.get("authorization", ""))
        self.cloud.client_ids.append(client_id.group(1) if client_id else "")
        self.cloud.creates[name] += 1
        time.sleep(self.cloud.create_pause_s)
        fault = self.cloud.create_faults[name].pop(0) if self.cloud.create_faults[name] else None
        if isinstance(fault, int):
            self._answer(fault, {"code": "Fault", "message": "on demand"})
        else:
            status, answer = self.cloud.create(name, body)
            self.cloud.order.append(f"create {name} {body.get('storageType')}")
            if fault == "lost-answer":
                self._cut()
            elif fault == "lost-504":
                self._xml(504)
            else:
                self._answer(status, answer)

    def _upload_object(self, name: str, body: dict[str, Any]) -> None:
        upload = self.cloud.objects[name]
        if self.cloud.object_answer is not None:
            self._answer(200, self.cloud.object_answer)
            return
        if body["uploadId"] != upload["uploadId"]:
            self._answer(400, {"code": "InputError", "message": "wrong uploadId"})
            return
        proposed = body["proposedUploadMethods"]
        if "dataInline" in proposed and not self.cloud.no_inline:
            data = base64.b64decode(proposed["dataInline"]["objectData"])
            headers = {"content-type": proposed["dataInline"]["contentType"]}
            self.cloud.stored[upload["artifact"]] = Stored(headers, hashlib.sha256(data).hexdigest(), len(data), data)
            self._answer(200, {"uploadMethod": {"dataInline": True}})
            return
        put = proposed["putUrl"]
        headers = {"content-type": put["contentType"], "content-length": str(put["contentLength"])}
        url = self.cloud.signed_url(upload["artifact"])
        self._answer(200, {"uploadMethod": {"putUrl": {"url": url, "expires": "", "headers": headers}}})

    def _store(self) -> None:
        name = self.cloud.tokens.get(parse_qs(urlsplit(self.path).query).get("X-Amz-Signature", [""])[0], "")
        fault = self.cloud.faults[name].pop(0) if self.cloud.faults[name] else None
        if fault == "early":
            self._xml(503)
            self.close_connection = True
            return
        if not name or "content-length" not in self.headers or "chunked" in self.headers.get("transfer-encoding", ""):
            self._xml(403 if not name else 411)
            self.close_connection = True
            return
        self._receive(name, fault)

    def _receive(self, name: str, fault: int | str | None) -> None:
        length = int(self.headers["content-length"])
        digest, kept, left = hashlib.sha256(), bytearray(), length
        while left:
            if fault == "cut" and left <= length // 2:
                self._cut()
                return
            piece = self.rfile.read(min(left, 1 << 20 if fault != "cut" else max(1, length // 4)))
            if not piece:
                self.close_connection = True
                return
            digest.update(piece)
            left -= len(piece)
            if length <= KEPT_BYTES:
                kept += piece
            if fault == "slow":
                time.sleep(0.05)
        self.cloud.puts[name] += 1
        time.sleep(self.cloud.put_pauses_s.pop(name, self.cloud.put_pause_s))
        if isinstance(fault, int):
            self._xml(fault)
        elif fault in ("ExpiredToken", "EntityTooLarge"):
            self._send(400, f"<Error><Code>{fault}</Code></Error>".encode(), {})
        elif fault == "redirect":
            self._xml(307, {"Location": f"{self.cloud.url}/bucket/elsewhere"})
        else:
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.cloud.stored[name] = Stored(headers, digest.hexdigest(), length, bytes(kept))
            self.cloud.order.append(f"put {name}")
            if fault == "lost-answer":
                self._cut()
            else:
                self._xml(200)

    def _route(self) -> tuple[str, str]:
        match = re.fullmatch(r"/api/(queue|object)/v1/(.*)", self.path)
        assert match, self.path
        return match.group(1), match.group(2) if match.group(1) == "queue" else unquote(match.group(2))

    def _json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        return value

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _xml(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"<Error><Code>on demand</Code></Error>" if status >= 300 else b"", headers or {})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _name(path: str) -> str:
    match = re.fullmatch(r"task/[^/]+/runs/\d+/artifacts/([^/]*)", path)
    assert match, path
    return unquote(match.group(1))
