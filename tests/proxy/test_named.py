"""Servers that containers reach by name: who may, what they are told, and what happens when they do not behave."""

import subprocess
import sys
import time

import pytest

from proxy.containers import status
from proxy.named import BALROG_SCOPE, EVERYTHING, STAGE_SCOPE, Named, content, hang
from proxy.upstream import Script, raw
from simulators.balrog import LOGIN

pytestmark = pytest.mark.root


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
    assert b"X-Taskcluster" not in named.ask("balrog/").replace(b"X-Taskcluster-Proxy-Version", b"").replace(
        b"X-Taskcluster-Proxy-Revision", b""
    )


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
