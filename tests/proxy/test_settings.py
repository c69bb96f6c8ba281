"""The settings file: unknown and wrong values are refused by name."""

import re
from pathlib import Path
from typing import Any

import pytest

from proxy.rig import free_port
from taskward.proxy import settings
from taskward.proxy.__main__ import main
from taskward.proxy.errors import StartError

GOOD: dict[str, Any] = {
    "taskcluster": {"root_url": "https://tc.example.com", "client_id": "not ours to read"},
    "worker": {"capacity": 2},
    "proxy": {"port": 8090, "redis_socket": "/run/redis.sock"},
}


def with_proxy(**values: Any) -> dict[str, Any]:
    return {**GOOD, "proxy": {**GOOD["proxy"], **values}}


def test_a_short_file_is_enough() -> None:
    parsed = settings.parse(GOOD)
    assert (parsed.port, parsed.redis_user, parsed.interface) == (8090, "proxy", "lo")
    assert str(parsed.root_url) == "https://tc.example.com"


def test_values_are_taken_over() -> None:
    parsed = settings.parse(with_proxy(threads=32, ca_file="/ca.pem", retry_for_s=2.5))
    assert (parsed.threads, parsed.ca_file, parsed.retry_for_s) == (32, Path("/ca.pem"), 2.5)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (with_proxy(redis_sokcet="x"), "redis_sokcet is not a setting; did you mean 'redis_socket'"),
        (with_proxy(root_url="x"), "root_url is not a setting"),
        (with_proxy(port="80"), "port must be a number from 1 to 65535, not '80'"),
        (with_proxy(port=True), "port must be a number"),
        (with_proxy(port=0), "port must be a number"),
        (with_proxy(port=70000), "port must be a number"),
        (with_proxy(threads=1.5), "threads must be a number"),
        (with_proxy(upstream_timeout_s=float("nan")), "upstream_timeout_s must be a number"),
        (with_proxy(redis_socket=5), "redis_socket must be a string"),
        (with_proxy(threads=4, requests_per_task=5), "requests_per_task must not exceed threads"),
        ({**GOOD, "proxy": {"port": 1}}, "redis_socket is missing"),
        ({**GOOD, "proxy": 5}, r"\[proxy\] must be a table"),
        ({"proxy": GOOD["proxy"]}, "root_url is missing"),
        ({**GOOD, "taskcluster": {"root_url": "tc.example.com"}}, "root_url: 'tc.example.com' is not an http"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.parse(document)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "taskward.toml"
    path.write_text("[proxy")
    with pytest.raises(StartError, match=r"taskward\.toml"):
        settings.load(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('redis_password_file = "/nonexistent/password"', "redis_password_file: .*No such file"),
        ('ca_file = "/nonexistent/ca.pem"', "ca_file: /nonexistent/ca.pem"),
        ('ca_file = "/dev/null"', "ca_file: /dev/null"),
        ('status_socket = "/nonexistent/status.sock"', "status_socket: cannot listen on /nonexistent"),
        ('interface = "nosuchdev0"', "device 'nosuchdev0'"),
    ],
)
def test_settings_that_cannot_work_end_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    path = tmp_path / "taskward.toml"
    path.write_text(
        f'[taskcluster]\nroot_url = "https://tc"\n[proxy]\nport = {free_port()}\nredis_socket = "r.sock"\n{line}\n'
    )
    assert main(["--config", str(path)]) == 78
    assert re.search(message, capsys.readouterr().err)


def test_the_program_says_what_is_wrong_and_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "missing.toml")]) == 78
    assert "missing.toml" in capsys.readouterr().err


def with_upstream(name: str, **table: Any) -> dict[str, Any]:
    return with_proxy(upstreams={name: table})


def test_known_upstreams_need_no_more_than_where_they_are() -> None:
    upstream = settings.parse(with_upstream("balrogVPNProxy", url="https://balrog.example.com/")).upstreams
    balrog = upstream["balrogVPNProxy"]
    assert (balrog.alias, balrog.scope) == ("balrog", "docker-worker:feature:balrogVPNProxy")
    assert (balrog.ready_status, balrog.timeout_s) == ((401,), 120.0)
    assert [str(root) for root in balrog.routes.values()] == ["https://balrog.example.com"]


def test_releng_has_the_routes_of_old() -> None:
    upstream = settings.parse(with_upstream("relengAPIProxy", token={"issuing_token_file": "/t"})).upstreams
    assert sorted(upstream["relengAPIProxy"].routes) == ["/mapper", "/tooltool", "/treestatus"]


def test_other_upstreams_may_be_named() -> None:
    parsed = settings.parse(with_upstream("mirror", alias="mirror", url="http://mirror:8080", via="socks5://x:1"))
    via = parsed.upstreams["mirror"].via
    assert via is not None
    assert (via.scheme, via.host, via.port) == ("socks5", "x", 1)


URL = "http://x.example.com"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (with_proxy(upstreams=5), "upstreams] must hold one table for each upstream"),
        (with_proxy(upstreams={"x": 5}), r"\[proxy.upstreams.x\] must be a table"),
        (with_upstream("taskcluster", alias="x", url=URL), "the name must be letters and digits, and not taskcluster"),
        (with_upstream("a b", alias="x", url=URL), "the name must be letters and digits"),
        (with_upstream("x", alias="taskcluster", url=URL), "alias must be a short host name"),
        (with_upstream("x", alias="X_", url=URL), "alias must be a short host name"),
        (with_upstream("x", url=URL), "alias is missing"),
        (with_upstream("x", alias="x"), "must have either url or routes"),
        (with_upstream("x", alias="x", url=URL, routes={"/a": URL}), "must have either url or routes"),
        (with_upstream("x", alias="x", routes={"a": URL}), "routes 'a': a prefix is / or /name"),
        (with_upstream("x", alias="x", routes={"/a/": URL}), "a prefix is / or /name"),
        (with_upstream("x", alias="x", routes={"/a": "ftp://x"}), "is not an http"),
        (with_upstream("x", alias="x", url="https://u:p@x"), "must be a bare root URL"),
        (with_upstream("x", alias="x", url=URL, headers={"Host": "y"}), "headers Host: this field cannot be set"),
        (with_upstream("x", alias="x", url=URL, headers={"A": "b\r\nC: d"}), "printable ASCII"),
        (with_upstream("x", alias="x", url=URL, headers={"A": "$hose"}), r"only \$host and \$peer"),
        (with_upstream("x", alias="x", url=URL, ready_status=[99]), "ready_status must be a list of HTTP statuses"),
        (with_upstream("x", alias="x", url=URL, via="x:1"), "via: 'x:1' is not of the form"),
        (with_upstream("x", alias="x", url=URL, tiemout_s=1), "did you mean 'timeout_s'"),
        (with_upstream("x", alias="x", url=URL, token={"file": "/x"}), r"token file is not a setting"),
        (with_upstream("relengAPIProxy"), "token is missing"),
        (with_upstream("testdroidProxy", url=URL), "device_cloud is missing"),
        (with_upstream("testdroidProxy", device_cloud={"login_file": "/x"}), "must have either url or routes"),
        (
            with_upstream(
                "x", alias="x", url=URL, token={"issuing_token_file": "/x"}, headers={"authorization": "Basic x"}
            ),
            "that is where the token goes",
        ),
    ],
)
def test_what_is_wrong_with_an_upstream_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.parse(document)
