"""A small Taskcluster of auth and queue, just what a signer reads, on a loopback port in a thread."""

import base64
import hashlib
import hmac
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from simulators import listener
from taskward.signer.client import RunCredentials, UploadedArtifact

TASK_QUEUE_ID = "proj-test/linux"
WORKER_GROUP = "dc1"
WORKER_ID = "w-1"


@dataclass
class SimulatedTask:
    """One task with one run, and what its artifacts contain."""

    task_id: str
    definition: dict[str, Any]
    runs: list[dict[str, Any]]
    artifacts: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """name -> (storage type, content)"""

    def upload(self, name: str, content: bytes, storage_type: str = "s3") -> UploadedArtifact:
        """Store an artifact and describe it as an uploader would."""
        self.artifacts[name] = (storage_type, content)
        return UploadedArtifact(name, hashlib.sha256(content).hexdigest(), len(content), "text/plain")


class SimulatedTaskcluster:
    """Tasks, credentials, and switches for misbehaviour. `root_url` is where it listens."""

    def __init__(self) -> None:
        self.root_url = ""
        self.tasks: dict[str, SimulatedTask] = {}
        self.credentials: dict[str, tuple[str, list[str]]] = {}
        self.failures_to_come: list[int] = []
        self.page_entries = 1000
        self.redirect_artifacts_to: str | None = None
        self.anonymous_reads = True
        self.calls: list[str] = []

    def create_task(self, features: dict[str, Any] | None = None, **payload: Any) -> SimulatedTask:
        """A claimed, running task of this worker."""
        task_id = base64.urlsafe_b64encode(bytes([os.urandom(1)[0] & 0x7F]) + os.urandom(15)).decode()[:22]
        now = datetime.now(UTC)
        definition = {
            "provisionerId": "proj-test",
            "workerType": "linux",
            "taskQueueId": TASK_QUEUE_ID,
            "schedulerId": "-",
            "projectId": "none",
            "taskGroupId": task_id,
            "dependencies": ["fN1SbArXTPSVFNUvaOlinQ"],
            "requires": "all-completed",
            "routes": [],
            "priority": "lowest",
            "retries": 5,
            "created": _time(now),
            "deadline": _time(now + timedelta(hours=1)),
            "expires": _time(now + timedelta(days=1)),
            "scopes": [],
            "payload": {
                "maxRunTime": 60,
                "command": [["/bin/true"]],
                "features": {"chainOfTrust": True} if features is None else features,
                **payload,
            },
            "metadata": {
                "name": "a <task> & more",
                "owner": "me@example.com",
                "source": "https://example.com",
                "description": "täsk ☃",
            },
            "tags": {},
            "extra": {},
        }
        run = {
            "runId": 0,
            "state": "running",
            "reasonCreated": "scheduled",
            "workerGroup": WORKER_GROUP,
            "workerId": WORKER_ID,
            "takenUntil": _time(now + timedelta(minutes=20)),
            "scheduled": _time(now),
            "started": _time(now),
        }
        task = SimulatedTask(task_id, definition, [run])
        self.tasks[task_id] = task
        return task

    def run_credentials(self, task: SimulatedTask, run_id: int = 0) -> RunCredentials:
        """What the worker got with its claim."""
        key = f"{task.task_id}/{run_id}"
        scopes = [f"queue:{verb}:{key}" for verb in ("reclaim-task", "resolve-task", "create-artifact")]
        return self.credentials_with(scopes)

    def credentials_with(self, scopes: list[str]) -> RunCredentials:
        """A client that has just these scopes."""
        client_id, token = (base64.urlsafe_b64encode(os.urandom(18)).decode() for _ in range(2))
        self.credentials[client_id] = (token, scopes)
        return RunCredentials(client_id, token, None)

    def authenticate(self, call: dict[str, Any]) -> dict[str, Any]:
        """The auth service: checks the mac, and neither payload nor nonce nor (much) the age."""
        given = dict(re.findall(r'(\w+)="([^"]*)"', call["authorization"]))
        client_id = given.get("id", "")
        token, scopes = self.credentials.get(client_id, ("", []))
        mac = _mac(token, given, call)
        if not token or given.get("mac") != mac or abs(int(given["ts"]) - time.time()) > 900:
            return {"status": "auth-failed", "message": "Unauthorized: Bad mac"}
        return {
            "status": "auth-success",
            "scheme": "hawk",
            "clientId": client_id,
            "scopes": scopes,
            "expires": _time(datetime.now(UTC) + timedelta(minutes=20)),
        }


@contextmanager
def running_taskcluster() -> Iterator[SimulatedTaskcluster]:
    """A simulated Taskcluster that answers until the block ends."""
    taskcluster = SimulatedTaskcluster()
    with listener.Listener(_Request, simulated=taskcluster) as listening:
        taskcluster.root_url = f"http://127.0.0.1:{listening.port}"
        yield taskcluster


class _Request(listener.Request):
    simulated: SimulatedTaskcluster
    timeout = 2
    wbufsize = -1  # header and body in one packet

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.simulated.calls.append(self.path)
        if self.simulated.failures_to_come:
            self.reply(b"<html>trouble</html>", self.simulated.failures_to_come.pop())
        else:
            self._json(self.simulated.authenticate(body))

    def do_GET(self) -> None:
        self.simulated.calls.append(self.path)
        if self.simulated.failures_to_come:
            self.reply(b"<html>trouble</html>", self.simulated.failures_to_come.pop())
            return
        parts = urlsplit(self.path)
        match = re.fullmatch(r"/api/queue/v1/task/([^/]+)(/status|/runs/(\d+)/artifacts(?:/(.+))?)?", parts.path)
        if parts.path.startswith("/storage/"):
            self._content(parts.path.removeprefix("/storage/"))
        elif not self.simulated.anonymous_reads and "Authorization" not in self.headers:
            self._json({"code": "InsufficientScopes"}, 403)
        elif match is None or match[1] not in self.simulated.tasks:
            self._json({"code": "ResourceNotFound", "message": "no such task"}, 404)
        else:
            self._queue(self.simulated.tasks[match[1]], match, parse_qs(parts.query))

    def _queue(self, task: SimulatedTask, match: re.Match[str], query: dict[str, list[str]]) -> None:
        if match[2] is None:
            self._json(task.definition)
        elif match[2] == "/status":
            status = {"taskId": task.task_id, "taskQueueId": TASK_QUEUE_ID, "runs": task.runs}
            self._json({"status": status})
        elif match[4] is None:
            self._list(task, int(query.get("continuationToken", ["0"])[0]))
        else:
            base = self.simulated.redirect_artifacts_to or f"{self.simulated.root_url}/storage/{task.task_id}"
            self.reply(b"", 303, Location=f"{base}/{match[4]}")

    def _list(self, task: SimulatedTask, start: int) -> None:
        end = start + self.simulated.page_entries
        names = list(task.artifacts)
        page: dict[str, Any] = {
            "artifacts": [
                {"name": name, "storageType": task.artifacts[name][0], "contentType": "text/plain"}
                for name in names[start:end]
            ]
        }
        if end < len(names):
            page["continuationToken"] = str(end)
        self._json(page)

    def _content(self, path: str) -> None:
        task_id, _, name = path.partition("/")
        self.reply(self.simulated.tasks[task_id].artifacts[unquote(name)][1])

    def _json(self, value: dict[str, Any], status: int = 200) -> None:
        self.reply(json.dumps(value).encode(), status)


def _mac(token: str, given: dict[str, str], call: dict[str, Any]) -> str:
    """Hawk's header mac, over what the header says."""
    lines = ["hawk.1.header", given["ts"], given["nonce"], call["method"].upper(), call["resource"]]
    lines += [call["host"], str(call["port"]), given.get("hash", ""), given.get("ext", ""), ""]
    return base64.b64encode(hmac.digest(token.encode(), "\n".join(lines).encode(), "sha256")).decode()


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
