"""Servers that containers reach by name: who may, what they are told, and what happens when they do not behave."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.containers import Pair, status
from proxy.rig import free_port, running_proxy
from proxy.upstream import Peer, Received, Script, SimulatedTaskcluster, raw, simulated_taskcluster
from simulators.balrog import LOGIN, Balrog
from simulators.device_cloud import DeviceCloud, Phone
from simulators.releng import ISSUING_TOKEN, RelengApi, TokenService
from simulators.service import serving

pytestmark = pytest.mark.root

BALROG_SCOPE = "docker-worker:feature:balrogVPNProxy"
STAGE_SCOPE = "docker-worker:feature:balrogStageVPNProxy"
RELENG_SCOPE = "docker-worker:relengapi-proxy:tooltool.download.internal"
EVERYTHING = "taskcluster balrogVPNProxy relengAPIProxy testdroidProxy"
BUILD = "/api/queue/v1/task/x/artifacts/public/build.zip"


@dataclass
class Named:
    """The two containers before a proxy that has all upstreams; `stage` misbehaves by script."""

    pair: Pair
    balrog: Balrog
    stage: SimulatedTaskcluster
    tokens: TokenService
    tooltool: RelengApi
    cloud: DeviceCloud
    run: str = "alice/0"

    def ask(self, url: str, method: str = "GET", body: bytes = b"", fields: Sequence[str] = ()) -> bytes:
        """What container A gets for ``host/path``."""
        host, _, path = url.partition("/")
        head = [f"{method} /{path} HTTP/1.1", f"Host: {host}", "Connection: close", *fields]
        head += [f"Content-Length: {len(body)}"] if body else []
        request = "\r\n".join([*head, "", ""]).encode() + body
        return self.pair.ask(self.pair.a, self.pair.network_a.gateway, request)

    def allow(self, upstreams: str, *scopes: str) -> None:
        """Container A is another run from now on, so that nothing of the one before is remembered."""
        self.run = f"alice{secrets.token_hex(4)}/0"
        self.pair.give(self.pair.network_a, self.run, upstreams)
        self.pair.rig.store_credentials(self.run, "task-client/alice", scopes)

    def devices(self) -> dict[str, object]:
        with self.pair.rig.redis.client as client:
            held: dict[Any, Any] = client.hgetall("tw:devices")
        return {key.decode(): json.loads(text) for key, text in held.items()}


def content(answer: bytes) -> dict[str, object]:
    parsed = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert isinstance(parsed, dict)
    return parsed


@pytest.fixture(scope="module")
def simulators() -> Iterator[tuple[Balrog, SimulatedTaskcluster, TokenService, RelengApi, DeviceCloud]]:
    with (
        serving(Balrog()) as balrog,
        simulated_taskcluster() as stage,
        serving(TokenService()) as tokens,
        serving(RelengApi()) as tooltool,
        serving(DeviceCloud()) as cloud,
    ):
        yield balrog, stage, tokens, tooltool, cloud


@pytest.fixture(scope="module")
def made_named(
    made: Pair,
    simulators: tuple[Balrog, SimulatedTaskcluster, TokenService, RelengApi, DeviceCloud],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Named]:
    balrog, stage, tokens, tooltool, cloud = simulators
    folder = tmp_path_factory.mktemp("secrets")
    token_file, login_file = folder / "token", folder / "login"
    token_file.write_text(f"{ISSUING_TOKEN}\n")
    login_file.write_text('{"username": "u", "password": "p"}')
    for file in (token_file, login_file):
        file.chmod(0o400)
    settings = f"""
retry_for_s = 0.1
[proxy.upstreams.balrogVPNProxy]
url = "{balrog.url}"
[proxy.upstreams.balrogStageVPNProxy]
url = "{stage.root_url}"
timeout_s = 0.3
ready_timeout_s = 0.3
retry_for_s = 0.1
[proxy.upstreams.relengAPIProxy]
routes = {{ "/tooltool" = "{tooltool.url}", "/mapper/v1" = "{balrog.url}" }}
token = {{ url = "{tokens.url}", issuing_token_file = "{token_file}", timeout_s = 0.3 }}
[proxy.upstreams.testdroidProxy]
url = "{cloud.url}"
[proxy.upstreams.testdroidProxy.device_cloud]
login_file = "{login_file}"
poll_s = 0.01
session_pause_s = 0.01
proxy_pause_s = 0.01
flash_timeout_s = 0.1
"""
    port = free_port()
    with running_proxy(made.rig.redis, made.rig.taskcluster, settings, port) as rig:
        pair = Pair(rig, port, made.networks, made.network_a, made.network_b, made.a, made.b)
        yield Named(pair, balrog, stage, tokens, tooltool, cloud)


@pytest.fixture
def named(made_named: Named) -> Named:
    """With nothing left of the test before; run alice/0 may use everything."""
    simulated = (made_named.balrog, made_named.tokens, made_named.tooltool, made_named.cloud)
    for each in simulated:
        each.calls.clear()
    made_named.pair.rig.taskcluster.requests.clear()
    made_named.balrog.awake = True
    made_named.stage.requests.clear()
    made_named.stage.scripts.clear()
    made_named.tokens.answers.clear()
    cloud = made_named.cloud
    cloud.phones = [Phone(1, {"Codename": "flame", "Build Identifier": "319_http://x/b.zip", "SIMs": "1"})]
    cloud.sessions, cloud.released, cloud.runs, cloud.flash_polls, cloud.faults = {}, [], {}, 1, {}
    with made_named.pair.rig.redis.client as client:
        client.delete("tw:devices")
    made_named.allow(EVERYTHING, BALROG_SCOPE, RELENG_SCOPE)
    return made_named


def test_balrog_gets_the_tasks_login_and_the_fields_of_the_old_tunnel(named: Named) -> None:
    fields = [f"Authorization: {LOGIN}", "X-Forwarded-For: 1.2.3.4", "X-Real-Ip: 1.2.3.4", "X-Csrf-Token: t"]
    answer = named.ask("balrog/api/rules?x=%2F", fields=fields)
    assert content(answer) == {"path": "/api/rules"}
    sent = named.balrog.calls[0].fields
    assert sent["host"] == f"127.0.0.1:{named.balrog.port}"
    assert (sent["x-forwarded-host"], sent["x-nginx-proxy"], sent["x-csrf-token"]) == ("balrog", "true", "t")
    assert sent["x-forwarded-for"] == sent["x-real-ip"] == named.pair.a.address
    assert named.balrog.calls[0].query == [("x", "/")]


def test_nothing_of_the_worker_goes_to_an_upstream(named: Named) -> None:
    assert status(named.ask("balrog/")) == 401
    assert "authorization" not in named.balrog.calls[0].fields
    assert b"X-Taskcluster" not in named.ask("balrog/").replace(b"X-Taskcluster-Proxy-Version", b"")


def test_an_upstream_that_the_run_has_not_asked_for_is_not_there(named: Named) -> None:
    named.allow("taskcluster", BALROG_SCOPE)
    answer = named.ask("balrog/")
    assert (status(answer), content(answer)["code"]) == (404, "UnknownHost")
    assert named.balrog.calls == []


def test_an_upstream_is_refused_without_its_scope_whatever_the_entry_says(named: Named) -> None:
    named.allow(EVERYTHING, STAGE_SCOPE)
    assert status(named.ask("balrog/")) == 403
    named.allow(EVERYTHING, "docker-worker:feature:*")
    assert status(named.ask("balrog/")) == 401
    assert len(named.balrog.calls) == 1


def test_one_name_leads_to_the_server_that_the_run_has(named: Named) -> None:
    named.allow("balrogStageVPNProxy", STAGE_SCOPE)
    assert status(named.ask("balrog/x")) == 200
    assert (named.stage.requests[0].target, named.balrog.calls) == ("/x", [])


@pytest.mark.parametrize("path", ["/credentials", "/bewit", "/api/queue/v1/ping", "/queue/v1/ping"])
def test_taskclusters_own_paths_mean_nothing_at_another_name(named: Named, path: str) -> None:
    assert status(named.ask(f"balrog{path}")) == 401
    assert [call.path for call in named.balrog.calls] == [path]
    assert named.pair.rig.taskcluster.requests == []


def hang(_peer: Peer, _request: Received) -> bool:
    time.sleep(0.6)
    return False


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (hang, 504),
        (raw(b"\x00\x01garbage\r\n\r\n"), 502),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * (300 << 10) + b"\r\n\r\n"), 502),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"), 502),
        (raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), 502),
        (raw(b""), 502),
    ],
)
def test_a_server_that_misbehaves_costs_one_clear_answer(named: Named, script: Script, code: int) -> None:
    named.allow("balrogStageVPNProxy", STAGE_SCOPE)
    named.stage.next(*[script] * 5)
    before_s = time.monotonic()
    answer = named.ask("balrog/", "POST", b"x")
    assert status(answer) == code
    assert str(content(answer)["message"]).startswith("balrogStageVPNProxy at http://127.0.0.1:")
    assert time.monotonic() - before_s < 3


def test_releng_requests_carry_a_token_for_the_permissions_in_the_scopes_word_for_word(named: Named) -> None:
    named.allow(EVERYTHING, RELENG_SCOPE, "docker-worker:relengapi-proxy:*", "docker-worker:relengapi-proxy:", "*")
    issued = len(named.tokens.issued)
    answers = [content(named.ask("relengapi/tooltool/sha512/x", fields=["Authorization: mine"])) for _ in range(2)]
    assert [answer["path"] for answer in answers] == ["/sha512/x"] * 2
    assert answers[0]["authorization"] == answers[1]["authorization"] == f"Bearer tmp-{issued + 1}"
    wanted = named.tokens.issued[-1]
    assert (wanted["typ"], wanted["permissions"]) == ("tmp", ["*", "tooltool.download.internal"])
    assert 590 < time.mktime(time.strptime(wanted["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.time() - _utc_s() <= 600


def _utc_s() -> float:
    now_s = time.time()
    return time.mktime(time.gmtime(now_s)) - time.mktime(time.localtime(now_s))


@pytest.mark.parametrize("scopes", [["*"], ["docker-worker:*"], ["docker-worker:relengapi-proxy:"], []])
def test_wide_scopes_give_no_permission(named: Named, scopes: list[str]) -> None:
    named.allow(EVERYTHING, *scopes)
    answer = named.ask("relengapi/tooltool/x")
    assert (status(answer), content(answer)["code"]) == (403, "NoPermissions")
    assert named.tooltool.calls == named.tokens.calls == []


@pytest.mark.parametrize(
    "path", ["/", "/tooltoolx", "/treestatus/x", "/mapper", "/mapper/v10/x", "/TOOLTOOL/x", "/%74ooltool"]
)
def test_unknown_routes_are_not_found_and_the_worker_goes_on(named: Named, path: str) -> None:
    answer = named.ask(f"relengapi{path}")
    assert (status(answer), content(answer)["code"]) == (404, "UnknownRoute")
    assert status(named.ask("relengapi/tooltool?a")) == 200


@pytest.mark.parametrize(
    "answer",
    [(500, {}), (403, {}), (200, b"garbage"), (200, {"result": {}}), (200, {"result": {"token": "a\r\nb"}}), (200, [])],
)
def test_a_token_service_that_misbehaves_costs_one_clear_answer(named: Named, answer: tuple[int, object]) -> None:
    named.allow(EVERYTHING, "docker-worker:relengapi-proxy:other" + secrets.token_hex(3))
    named.tokens.answers = [answer] * 3
    refused = named.ask("relengapi/tooltool/x")
    assert (status(refused), content(refused)["code"]) == (502, "NoToken")
    assert ISSUING_TOKEN.encode() not in refused
    named.tokens.answers.clear()
    assert status(named.ask("relengapi/tooltool/x")) == 200


def test_a_phone_is_reserved_and_released(named: Named) -> None:
    named.cloud.phones.append(Phone(2, {"Codename": "flame", "Build Identifier": "other"}))
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319", "sims": "1"}).encode()
    got = content(named.ask("testdroid/device", "POST", wish))
    assert (got["device"], got["proxyHost"]) == ({"id": 1, "displayName": "phone 1"}, "10.1.2.9")
    assert set(dict(got["proxies"])) == {"adb", "marionette"}  # type: ignore[call-overload]  # a dict
    assert named.run in named.devices()
    assert status(named.ask("testdroid/device", "POST", wish)) == 409
    assert content(named.ask("testdroid/device/properties"))["Codename"] == "flame"
    assert named.ask("testdroid/device/release", "POST").endswith(b"Device released")
    assert named.ask("testdroid/device/release", "POST").endswith(b"No device session to release")
    assert (named.cloud.sessions, len(named.cloud.released), named.devices()) == ({}, 1, {})
    assert named.ask("testdroid/").endswith(b"Server running")
    assert named.ask("testdroid/devices").endswith(b"]")


def test_a_phone_is_flashed_with_a_build_that_the_cloud_can_fetch(named: Named) -> None:
    wish = json.dumps({"type": "flame", "build": BUILD, "memory": "1024"}).encode()
    assert status(named.ask("testdroid/device", "POST", wish)) == 200
    parameters = named.cloud.runs[70]["parameters"]
    assert parameters["BUILD_LABEL"] == f"1024_{BUILD}"
    assert parameters["MEM_TOTAL"] == "1024"
    assert parameters["FLAME_ZIP_URL"].startswith(f"{named.pair.rig.taskcluster.root_url}{BUILD}?bewit=")


def test_a_flashing_that_does_not_begin_is_aborted_and_told(named: Named) -> None:
    named.cloud.flash_polls = 1000
    wish = json.dumps({"type": "flame", "build": "http://x/new", "memory": "1"}).encode()
    answer = named.ask("testdroid/device", "POST", wish)
    assert status(answer) == 500
    assert "could be flashed" in str(content(answer)["error"])
    assert [run["state"] for run in named.cloud.runs.values()] == ["ABORTED", "ABORTED"]


@pytest.mark.parametrize(
    "wish",
    [b"", b"[]", b"{}", b'{"type":"a","build":"b"}', b'{"type":"a","build":"b","memory":1}', b"[" * 60000,
     b'{"type":"a","build":"b","memory":"c","more":"d"}', b'{"type":"a","build":"b\\n","memory":"c"}'],
)  # fmt: skip
def test_a_strange_wish_is_refused(named: Named, wish: bytes) -> None:
    answer = named.ask("testdroid/device", "POST", wish, ["Content-Type: application/json"])
    assert status(answer) == 400
    assert named.cloud.calls == []


@pytest.mark.parametrize(
    "fault", [(500, {}), (200, b"garbage"), (200, []), (200, {"data": [1]}), (200, {"data": [{}]})]
)
@pytest.mark.parametrize("path", ["/api/v2/devices", "/api/v2/label-groups", "/api/v2/me/device-sessions"])
def test_a_cloud_that_misbehaves_costs_one_clear_answer_and_no_phone(
    named: Named, path: str, fault: tuple[int, object]
) -> None:
    named.cloud.faults = {path: fault}
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    answer = named.ask("testdroid/device", "POST", wish)
    assert status(answer) == 500
    assert "error" in content(answer)
    assert (named.devices(), named.cloud.sessions) == ({}, {})


def test_a_phone_whose_ports_do_not_open_goes_back(named: Named) -> None:
    named.cloud.faults = {"/api/v2/proxy-plugin/proxies": (200, {"data": []})}
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    assert status(named.ask("testdroid/device", "POST", wish)) == 500
    assert (named.devices(), named.cloud.sessions, len(named.cloud.released)) == ({}, {}, 1)


def test_the_executor_ends_what_a_run_has(named: Named) -> None:
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    named.ask("testdroid/device", "POST", wish)
    control = named.pair.rig.control
    assert control("POST", "/runs/bob/0/end").body == b'{"released":false}\n'
    named.cloud.faults = {f"/api/v2/me/device-sessions/{next(iter(named.cloud.sessions))}/release": (500, {})}
    assert control("POST", f"/runs/{named.run}/end").status == 503
    named.cloud.faults = {}
    assert control("POST", f"/runs/{named.run}/end").body == b'{"released":true}\n'
    assert (named.devices(), named.cloud.sessions) == ({}, {})


def test_readiness_is_told_to_the_executor_by_the_status_that_counts(named: Named) -> None:
    control = named.pair.rig.control
    assert control("POST", "/upstreams/balrogVPNProxy/ready").json == {"problem": ""}
    named.balrog.awake = False
    assert "answered status 502, not 401" in control("POST", "/upstreams/balrogVPNProxy/ready").json["problem"]
    named.stage.next(hang)
    assert control("POST", "/upstreams/balrogStageVPNProxy/ready").json["problem"]
    assert control("POST", "/upstreams/testdroidProxy/ready").json == {"problem": ""}
    assert control("POST", "/upstreams/relengAPIProxy/ready").json == {"problem": ""}
    assert control("POST", "/upstreams/nothing/ready").status == 404
    assert control("GET", "/upstreams/balrogVPNProxy/ready").status == 405


def test_only_root_and_the_proxys_own_user_may_ask_for_that(named: Named) -> None:
    rig = named.pair.rig
    rig.folder.chmod(0o711)
    (rig.folder / "status.sock").chmod(0o666)
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX); "
        "s.connect(sys.argv[1]); s.sendall(b'POST ' + sys.argv[2].encode() + b' HTTP/1.0\\r\\n\\r\\n'); "
        "print(s.recv(100).split()[1].decode())"
    )
    for path in ("/upstreams/balrogVPNProxy/ready", f"/runs/{named.run}/end"):
        command = [sys.executable, "-c", script, str(rig.folder / "status.sock"), path]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "403\n"
    assert named.balrog.calls == []


def test_secrets_stand_in_no_answer_and_no_log(named: Named) -> None:
    log = (named.pair.rig.folder / "log").read_text()
    assert ISSUING_TOKEN not in log
    assert "tmp-" not in log
    assert "access-" not in log


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    from taskward.proxy.errors import StartError
    from taskward.proxy.named import secretfile

    file = tmp_path / "token"
    file.write_text("x")
    file.chmod(0o440)
    with pytest.raises(StartError, match="chmod 400"):
        secretfile.read(file, "[x] y")
