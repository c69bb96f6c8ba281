"""Which URL at Taskcluster a task's URL means."""

import pytest

from taskward.proxy.errors import RequestError
from taskward.proxy.routes import RootUrl, resolve, resolve_url

ROOT = RootUrl.parse("https://tc.example.com")


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/api/queue/v1/ping", "/api/queue/v1/ping"),
        ("/api/queue/v1/", "/api/queue/v1/"),
        ("/queue/v1/ping", "/api/queue/v1/ping"),
        ("/queue/v1/task/x?a=1&b=%20", "/api/queue/v1/task/x?a=1&b=%20"),
        ("/purge-cache/v1/ping", "/api/purge-cache/v1/ping"),
        ("/tc.example.com/api/queue/v1/ping", "/api/queue/v1/ping"),
        ("/TC.example.com/api/queue/v1/ping", "/api/queue/v1/ping"),
        ("http://taskcluster/queue/v1/ping", "/api/queue/v1/ping"),
        ("/credentials-service/v1/z", "/api/credentials-service/v1/z"),
        ("/apix/v1/z", "/api/apix/v1/z"),
        ("/api/index/v1/task/a%2Fb//c%252F", "/api/index/v1/task/a%2Fb//c%252F"),
        ("/api/queue/v1/task/x/artifacts/a/../b", "/api/queue/v1/task/x/artifacts/a/../b"),
        ("/api/queue/v1/x?path=../../../../etc", "/api/queue/v1/x?path=../../../../etc"),
        ("/api/queue/v1/a...b/..c", "/api/queue/v1/a...b/..c"),
    ],
)
def test_paths_are_mapped_and_otherwise_left_as_they_are(asked: str, target: str) -> None:
    assert resolve(asked, ROOT) == target


@pytest.mark.parametrize(
    "asked",
    [
        "/",
        "*",
        "",
        "//",
        "/queue",
        "/queue/",
        "/queue/v1",
        "/api",
        "/api/",
        "/api/queue",
        "/api/queue/v1",
        "/api//v1/x",
        "/que_ue/v1/x",
        "/-queue/v1/x",
        "/queue-/v1/x",
        "/queue:80/v1/x",
        "/qu%65ue/v1/x",
        "/127.0.0.1:80/x",
        "/user@tc.example.com/api/queue/v1/x",
        "//tc.example.com/api/queue/v1/x",
        "/tc.example.com/login",
        "/tc.example.com/",
        "/tc.example.com",
        "/api/queue/v1/x#fragment",
        "/api/queue/v1/x y",
        "/api/queue/v1/\u00e9",
        "/api/queue/v1/x\r\nHost: evil",
        "ftp://taskcluster/queue/v1/x",
    ],
)
def test_what_is_no_api_is_not_found(asked: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(asked, ROOT)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "asked",
    [
        "/api/queue/v1/../../../login",
        "/api/queue/v1/%2e%2e/%2E%2E/../login",
        "/api/queue/v1/x/..%2f..%2f..%2f..%2flogin",
        "/api/queue/v1/..\\..\\..\\login",
        "/api/queue/v1/%252e%252e/%252e%252e/%252e%252e/login",
        "/api/queue/v1/..;/..;a=b/..;/login",
        "/queue/v1/../../../login",
        "/api/queue/v1//..//..//..//login",
        "/api/queue/v1/./../.././../login",
        "/tc.example.com/api/../x/y/z",
        "/api/../x/y/z",
    ],
)
def test_dots_do_not_lead_out_of_the_api(asked: str) -> None:
    with pytest.raises(RequestError) as caught:
        resolve(asked, ROOT)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "asked",
    [
        "/169.254.169.254/latest/meta-data",
        "/queue.taskcluster.net/v1/ping",
        "/evil.example.com/api/queue/v1/ping",
        "/evil.tc.example.com/api/queue/v1/ping",
        "/tc.example.com.evil.org/api/queue/v1/ping",
    ],
)
def test_other_hosts_are_refused_and_the_reason_is_told(asked: str) -> None:
    with pytest.raises(RequestError, match="signs requests for its own Taskcluster only") as caught:
        resolve(asked, ROOT)
    assert caught.value.status == 403


@pytest.mark.parametrize(
    "url",
    ["https://tc.example.com/api/queue/v1/x?a=b", "https://tc.example.com:443/api/queue/v1/x?a=b", "queue/v1/x?a=b"],
)
def test_a_bewit_may_be_asked_for_urls_of_the_root_host(url: str) -> None:
    assert resolve_url(url, ROOT) == "/api/queue/v1/x?a=b"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://tc.example.com/api/queue/v1/x", 403),
        ("https://tc.example.com:444/api/queue/v1/x", 403),
        ("https://evil.example.com/api/queue/v1/x", 403),
        ("https://tc.example.com@evil.example.com/api/queue/v1/x", 404),
        ("https://user@tc.example.com/api/queue/v1/x", 404),
        ("https://tc.example.com/login", 404),
        ("https://evil.example.com/?/api/queue/v1/x", 403),
        ("https://tc.example.com:bad/api/queue/v1/x", 404),
        ("https://tc.example.com?x=/api/queue/v1/x", 404),
        ("//evil.example.com/api/queue/v1/x", 404),
        ("a b", 400),
        ("", 400),
        ("https://tc.example.com/api/queue/v1/x\r\nX: y", 400),
    ],
)
def test_a_bewit_is_for_nothing_else(url: str, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        resolve_url(url, ROOT)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "text", ["tc.example.com", "ftp://x", "https://", "https://x/path", "https://x/?q", "https://u@x"]
)
def test_a_root_url_must_be_bare(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL"):
        RootUrl.parse(text)


def test_a_root_url_knows_its_port() -> None:
    assert RootUrl.parse("http://127.0.0.1:8080/").authority == "127.0.0.1:8080"
    assert RootUrl.parse("https://TC.example.com").authority == "tc.example.com"
