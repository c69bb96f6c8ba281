"""Containers reach the proxy, and through it what their payload asks for; everybody else reaches nothing there."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Result
from executor.docker.yard import Yard, task_output
from proxy.rig import free_port
from proxy.upstream import SimulatedTaskcluster, simulated_taskcluster
from simulators.balrog import Balrog
from simulators.device_cloud import DeviceCloud, Phone
from simulators.releng import ISSUING_TOKEN, RelengApi, TokenService
from simulators.service import serving
from taskward.cli.toml import document
from taskward.core.ids import RunId

pytestmark = pytest.mark.root

BALROG = "docker-worker:feature:balrogVPNProxy"
PHONE = "docker-worker:capability:device:phone"
ASK = "wget -q -O - http://{} 2>&1; true"
GATEWAY = "gateway=$(ip route | awk '/^default/ {print $3}'); "


@dataclass
class Town:
    """A worker with containers, a proxy, and what lies behind it."""

    yard: Yard
    taskcluster: SimulatedTaskcluster
    balrog: Balrog
    cloud: DeviceCloud

    def claim(self, command: str, features: Sequence[str], scopes: Sequence[str], **more: Any) -> RunId:
        """A run that is claimed, with credentials."""
        payload = self.yard.payload(command, features=dict.fromkeys(features, True), **more)
        run = self.yard.bench.claim(payload, scopes=list(scopes))
        claim = {"clientId": f"task-client/{run.task_id}", "accessToken": "t", "takenUntil": "2100-01-01T00:00:00Z"}
        allowed = [*scopes, f"queue:create-artifact:{run.key}"]
        self.yard.bench.redis.set(f"tw:creds:{run.key}", json.dumps(claim | {"authorizedScopes": allowed}))
        return run

    def run(self, command: str, features: Sequence[str] = (), scopes: Sequence[str] = (), **more: Any) -> Result:
        """A task, until it is handed over."""
        run = self.claim(command, features, scopes, **more)
        assert self.yard.bench.start(run).wait() == 0
        return self.yard.bench.result(run)

    def peers(self) -> list[bytes]:
        return list(self.yard.bench.redis.scan_iter("tw:peer:*"))


@contextmanager
def running_proxy(yard: Yard, root_url: str, proxy: dict[str, Any], folder: Path) -> Iterator[None]:
    address = yard.bench.server.address("proxy")
    own = {"port": free_port(), "redis_socket": address.socket, "redis_password_file": address.password_file}
    config = folder / "taskward.toml"
    config.write_text(document({"taskcluster": {"root_url": root_url}, "proxy": {**own, "retry_for_s": 0.5, **proxy}}))
    process = subprocess.Popen([sys.executable, "-m", "taskward.proxy", "--config", str(config)])
    try:
        yard.bench.wait_until(lambda: process.poll() is not None or _answers(proxy["status_socket"]))
        yield
    finally:
        process.terminate()
        process.wait(20)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def secret(folder: Path, name: str, text: str) -> str:
    file = folder / name
    file.write_text(text)
    file.chmod(0o400)
    return str(file)


@pytest.fixture(scope="module")
def made(yard: Yard) -> Iterator[Town]:
    folder = Path(tempfile.mkdtemp(prefix="tw"))
    with (
        simulated_taskcluster() as taskcluster,
        serving(Balrog()) as balrog,
        serving(TokenService()) as tokens,
        serving(RelengApi()) as releng,
        serving(DeviceCloud()) as cloud,
    ):
        token = {"url": tokens.url, "issuing_token_file": secret(folder, "token", ISSUING_TOKEN)}
        login = secret(folder, "login", '{"username": "u", "password": "p"}')
        proxy = {
            "container_port": free_port(),
            "status_socket": str(folder / "status.sock"),
            "upstreams": {
                "balrogVPNProxy": {"url": balrog.url},
                "balrogStageVPNProxy": {"url": "http://127.0.0.1:9"},
                "relengAPIProxy": {"routes": {"/tooltool": releng.url}, "token": token},
                "testdroidProxy": {"url": cloud.url, "device_cloud": {"login_file": login, "poll_s": 0.01}},
            },
        }
        with running_proxy(yard, taskcluster.root_url, proxy, folder):
            yard.use(proxy=proxy)
            yield Town(yard, taskcluster, balrog, cloud)
    for run in yard.bench.records.active():
        yard.bench.records.resolved(run)


@pytest.fixture
def town(made: Town) -> Town:
    made.taskcluster.requests.clear()
    made.balrog.awake = True
    made.cloud.phones = [Phone(1, {"Codename": "flame", "Build Identifier": "319_b"})]
    return made


def test_taskcluster_answers_by_its_name_in_both_styles(town: Town) -> None:
    result = town.run(
        "echo $TASKCLUSTER_PROXY_URL; wget -q -O - $TASKCLUSTER_PROXY_URL/api/queue/v1/ping && "
        "wget -q -O - taskcluster/queue/v1/task/x; echo",
        ["taskclusterProxy"],
    )
    assert result.outcome.succeeded
    assert task_output(result) == ["http://taskcluster", "{}{}"]
    assert [request.target for request in town.taskcluster.requests] == ["/api/queue/v1/ping", "/api/queue/v1/task/x"]
    signature = town.taskcluster.requests[0].one("authorization") or ""
    assert f'id="task-client/{result.record.run.task_id}"' in signature
    assert town.peers() == []


def test_a_container_without_the_feature_reaches_nothing(town: Town) -> None:
    port = town.yard.bench.settings.others["proxy"]["container_port"]
    result = town.run(
        "wget -q -T 2 -O - http://taskcluster/api/queue/v1/ping; "
        + GATEWAY
        + f"for port in 80 {port}; do wget -q -T 2 -O - http://$gateway:$port/api/queue/v1/ping; done; echo over"
    )
    assert "over" in task_output(result)
    assert town.taskcluster.requests == []


def test_a_run_does_not_inherit_what_the_network_meant_for_a_run_that_was_killed(town: Town) -> None:
    killed = town.claim("sleep 60", ["taskclusterProxy"], [])
    job = town.yard.bench.start(killed)
    town.yard.bench.wait_until(lambda: bool(town.yard.containers()) and bool(town.peers()))
    job.kill()
    assert len(town.peers()) == 1, "nobody was there to take it away"
    for container in town.yard.containers():
        town.yard.daemon.remove_container(container["Id"], force=True)
    port = town.yard.bench.settings.others["proxy"]["container_port"]
    asks = GATEWAY + f"wget -q -T 2 -O - http://$gateway:{port}/api/queue/v1/ping; echo over"
    assert "over" in task_output(town.run(asks))
    assert town.taskcluster.requests == []
    assert town.yard.bench.start(killed).wait() == 0


def test_a_container_with_raw_sockets_gets_nothing_at_the_gateway_of_another(town: Town) -> None:
    victim = town.claim("sleep 60", ["taskclusterProxy"], [])
    job = town.yard.bench.start(victim)
    town.yard.bench.wait_until(lambda: bool(town.yard.containers()) and bool(town.peers()))
    gateway = town.peers()[0].decode().removeprefix("tw:peer:")
    address = f"{gateway.rpartition('.')[0]}.2"
    port = town.yard.bench.settings.others["proxy"]["container_port"]
    own = town.yard.daemon.create_host_config(cap_add=["NET_RAW", "NET_ADMIN"], network_mode="bridge")
    script = (
        f"for port in 80 {port}; do wget -T 2 -O - http://{gateway}:$port/api/queue/v1/ping; done; "
        f"ip addr add {address}/32 dev eth0; ip route add {gateway}/32 dev eth0 src {address}; "
        f"wget -T 2 -O - http://{gateway}:{port}/api/queue/v1/ping; echo over"
    )
    attacker = town.yard.daemon.create_container(town.yard.image, ["sh", "-c", script], host_config=own)
    try:
        town.yard.daemon.start(attacker)
        town.yard.daemon.wait(attacker, timeout=30)
        assert b"over" in town.yard.daemon.logs(attacker)
    finally:
        town.yard.daemon.remove_container(attacker, force=True)
        job.terminate()
        job.wait()
    assert town.taskcluster.requests == []


def test_balrog_is_there_when_it_asks_for_a_login(town: Town) -> None:
    result = town.run(ASK.format("balrog/"), ["balrogVPNProxy"], [BALROG])
    assert result.outcome.succeeded
    assert "401" in result.log


def test_a_balrog_that_does_not_answer_as_it_should_fails_the_task(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskward.executor.docker.features.upstream._PAUSE_S", 0.01)
    town.balrog.awake = False
    asked = len(town.balrog.calls)
    result = town.run("true", ["balrogVPNProxy"], [BALROG])
    assert result.outcome.state == "failed"
    assert "[taskcluster:error] Failed to initialize balrog vpn proxy service." in result.log
    assert [call.path for call in town.balrog.calls[asked:]] == ["/"] * 15


def test_balrog_without_its_scope_fails_the_task_in_the_old_words(town: Town) -> None:
    result = town.run("true", ["balrogVPNProxy"])
    assert result.outcome.state == "failed"
    assert (
        "Insufficient scopes to use 'balrogVPNProxy' feature. Try adding docker-worker:feature:balrogVPNProxy to the "
        ".scopes array."
    ) in result.log


def test_both_balrogs_at_once_are_refused(town: Town) -> None:
    both = ["balrogVPNProxy", "balrogStageVPNProxy"]
    result = town.run("true", both, [BALROG, BALROG.replace("VPN", "StageVPN")])
    assert "are both http://balrog; ask for one of them" in result.log


def test_releng_answers_with_the_tasks_permissions(town: Town) -> None:
    scope = "docker-worker:relengapi-proxy:tooltool.download.public"
    result = town.run(ASK.format("relengapi/tooltool/x"), ["relengAPIProxy"], [scope])
    assert '"path": "/x"' in result.log


def test_releng_without_permissions_fails_the_task(town: Town) -> None:
    result = town.run("true", ["relengAPIProxy"], ["docker-worker:relengapi-proxy"])
    assert result.outcome.state == "failed"
    assert "No RelengAPI permission scopes (matching 'docker-worker:relengapi-proxy:*') found on task" in result.log


def test_a_phone_is_released_at_the_end_though_the_task_does_not(town: Town) -> None:
    wish = '{"type":"flame","build":"b","memory":"319"}'
    phone = {**json.loads(wish), "sims": "1"}
    result = town.run(
        f"echo $DEVICE_CAPABILITIES; wget -q -O - --post-data='{wish}' http://testdroid/device; exit 3",
        ["testdroidProxy"],
        [PHONE],
        capabilities={"devices": {"phone": phone}},
    )
    assert json.loads(task_output(result)[0]) == phone
    assert '"device"' in result.log
    assert (town.cloud.sessions, len(town.cloud.released)) == ({}, 1)


def test_a_phone_that_is_not_described_is_told(town: Town) -> None:
    result = town.run("true", ["testdroidProxy"])
    assert "Device configuration must be supplied in task payload" in result.log


def test_nothing_is_left_of_the_way_when_the_network_goes(town: Town) -> None:
    town.run("true", ["taskclusterProxy"])
    bridges = town.yard.networks()
    assert any(bridge in rules("nat") for bridge in bridges)
    town.yard.use(docker={"networks_ready": 0}, proxy=dict(town.yard.bench.settings.others["proxy"]))
    for run in town.yard.bench.records.active():
        town.yard.bench.records.resolved(run)
    town.yard.bench.sweep()
    assert town.yard.networks() == []
    assert not any(bridge in rules(table) for bridge in bridges for table in ("nat", "filter"))


def rules(table: str) -> str:
    done = subprocess.run(["iptables", "-w", "-t", table, "-S"], capture_output=True, text=True, check=True)
    return done.stdout
