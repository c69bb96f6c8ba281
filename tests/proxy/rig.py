"""A real proxy process and a real Redis in front of a simulated Taskcluster."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from proxy.upstream import SimulatedTaskcluster
from simulators.patience import until
from taskward.core.acl import write_acl
from taskward.proxy import keys
from taskward.proxy.redislink import Address, Links

TOKEN = "not-a-secret-token"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class RedisServer:
    """A redis-server of its own on a Unix socket, which can be stopped and started again."""

    folder: Path
    arguments: Sequence[str] = ()
    username: str | None = None
    password: str | None = None
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        return self.folder / "r.sock"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), username=self.username, password=self.password)

    @property
    def links(self) -> Links:
        """The proxy's own client, as nobody in particular."""
        return Links(Address(self.socket, timeout_s=1))

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        command += ["--unixsocketperm", "777", "--dir", str(self.folder), *self.arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def _answers(self) -> bool:
        try:
            with self.client as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@dataclass
class Answer:
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def one(self, name: str) -> str | None:
        return next((value for field_name, value in self.fields if field_name.lower() == name.lower()), None)

    @property
    def json(self) -> dict[str, str]:
        decoded = json.loads(self.body)
        assert isinstance(decoded, dict)
        return decoded


@dataclass
class Rig:
    """The proxy under test. `address` is task T's own local address, owned by the user who runs the tests."""

    redis: RedisServer
    taskcluster: SimulatedTaskcluster
    port: int
    folder: Path
    process: "subprocess.Popen[bytes]"
    address: str = "127.77.0.1"
    container_port: int | None = None
    connections: list[socket.socket] = field(default_factory=list)

    def give_address(self, address: str, run: str, uid: int) -> None:
        task_id, run_id = run.split("/")
        with self.redis.client as client:
            client.hset(keys.peer(address), mapping={"taskId": task_id, "runId": run_id, "uid": uid})

    def take_address(self, address: str) -> None:
        with self.redis.client as client:
            client.delete(keys.peer(address))

    def store_credentials(
        self,
        run: str,
        client_id: str,
        scopes: Sequence[str] = ("queue:create-artifact:T/0",),
        certificate: str | None = None,
        publish: bool = True,
    ) -> None:
        stored = {
            "clientId": client_id,
            "accessToken": TOKEN,
            "certificate": certificate,
            "takenUntil": "2100-01-01T00:00:00.000Z",
            "authorizedScopes": scopes,
        }
        with self.redis.client as client:
            client.set(keys.credentials(run), json.dumps(stored))
            if publish:
                client.publish(keys.CREDENTIALS_CHANNEL, run)

    def connect(self, address: str | None = None) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(address or self.address, self.port, timeout=20)

    def request(
        self,
        path: str,
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
        address: str | None = None,
        chunked: bool = False,
    ) -> Answer:
        connection = self.connect(address)
        try:
            connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def dial(self, address: str | None = None) -> socket.socket:
        sock = socket.create_connection((address or self.address, self.port), timeout=20)
        self.connections.append(sock)
        return sock

    def raw(self, data: bytes, address: str | None = None) -> bytes:
        """Send bytes as they are; everything that comes back until the proxy closes."""
        answer = b""
        with self.dial(address) as sock:
            try:
                sock.sendall(data)
                while piece := sock.recv(65536):
                    answer += piece
            except (ConnectionResetError, BrokenPipeError):
                return answer
        return answer

    def status(self, path: str) -> Answer:
        return self.control("GET", path)

    def control(self, method: str, path: str) -> Answer:
        connection = http.client.HTTPConnection("status")
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.folder / "status.sock"))
            connection.request(method, path)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.status("/healthz").status == 200
        except OSError:
            return False

    @property
    def worker(self) -> Path:
        """The /proc folder of the worker process (the child of gunicorn's arbiter)."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return Path("/proc") / children[0]

    def rss_bytes(self, peak: bool = False) -> int:
        """Memory of the worker process."""
        line = "VmHWM" if peak else "VmRSS"
        status = (self.worker / "status").read_text()
        return next(int(text.split()[1]) * 1024 for text in status.splitlines() if text.startswith(line))


@contextmanager
def running_redis(acl_roles: Sequence[str] = ()) -> Iterator[RedisServer]:
    """A Redis open to all; with `acl_roles`, one that knows only these and ``admin``, as whom the tests write."""
    folder = Path(tempfile.mkdtemp(prefix="tw"))
    folder.chmod(0o755)
    server = RedisServer(folder)
    if acl_roles:
        write_acl(folder / "users.acl", {role: folder / role for role in (*acl_roles, "admin")})
        server = RedisServer(folder, ["--aclfile", str(folder / "users.acl")], "admin", (folder / "admin").read_text())
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def running_proxy(
    server: RedisServer,
    taskcluster: SimulatedTaskcluster,
    extra: str = "",
    container_port: int | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Rig]:
    """A proxy process with task T/0 at 127.77.0.1 and its credentials ``task-client/T``.

    `container_port` 0 is the port of native tasks.
    """
    folder = Path(tempfile.mkdtemp(prefix="tw"))
    port = free_port()
    config = folder / "taskward.toml"
    if container_port is not None:
        container_port = container_port or port
        extra = f"container_port = {container_port}\n{extra}"
    config.write_text(
        f'[taskcluster]\nroot_url = "{taskcluster.root_url}"\n[proxy]\nport = {port}\n'
        f'redis_socket = "{server.socket}"\nstatus_socket = "{folder}/status.sock"\n{extra}'
    )
    with (folder / "log").open("wb") as log:
        command = [*prefix, sys.executable, "-m", "taskward.proxy", "--config", str(config)]
        process = subprocess.Popen(command, stderr=log)
    rig = Rig(server, taskcluster, port, folder, process, container_port=container_port)
    try:
        rig.give_address(rig.address, "T/0", os.getuid())
        rig.store_credentials("T/0", "task-client/T")
        until(lambda: process.poll() is not None or (rig.answers() if prefix else _accepts(port)))
        assert process.poll() is None, (folder / "log").read_text()
        yield rig
    finally:
        for sock in rig.connections:
            sock.close()
        process.terminate()
        process.wait(40)
        shutil.rmtree(folder)


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
            probe.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return probe.recv(100).startswith(b"HTTP/1.1 403")
    except OSError:
        return False
