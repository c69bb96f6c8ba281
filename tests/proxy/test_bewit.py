"""URLs that anybody may use for a while."""

import os
import time

import mohawk.bewit
import pytest
from werkzeug.urls import iri_to_uri

from proxy.rig import TOKEN, Rig

CREDENTIALS = {"id": "task-client/T", "key": TOKEN, "algorithm": "sha256"}


def check(url: str, now_s: int | None = None) -> bool:
    """Verify a bewit with mohawk, which (unlike the services) wants the padding of base64."""
    padding = "=" * (-len(url.partition("bewit=")[2]) % 4)
    return bool(mohawk.bewit.check_bewit(url + padding, lambda _: CREDENTIALS, now=now_s))


def in_s(seconds: int) -> int:
    return int(time.time()) + seconds


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS", "FOO-BAR"])
@pytest.mark.parametrize("path", ["/bewit", "/bewit/anything//at%2Fall"])
def test_the_url_in_the_body_comes_back_signed(rig: Rig, method: str, path: str) -> None:
    answer = rig.request(path, method, f"{rig.taskcluster.root_url}/api/queue/v1/x?a=b\n".encode())
    assert answer.status == 303
    assert answer.body.decode() == answer.one("Location")
    assert answer.body.decode().startswith(f"{rig.taskcluster.root_url}/api/queue/v1/x?a=b&bewit=")
    check(answer.body.decode())


@pytest.mark.parametrize("target", ["/queue/v1/x", "/api/queue/v1/a|b%2F%41?x=[1]&y='\"", "queue/v1/x,~!*()"])
def test_odd_characters_are_signed_as_they_are_returned(rig: Rig, target: str) -> None:
    answer = rig.request("/bewit", "POST", target.encode())
    assert answer.body.decode() == answer.one("Location")
    check(answer.body.decode())


@pytest.mark.parametrize("fragment", ["#L10", "#", "#?bewit=x/../y", "#a#b|"])
def test_a_fragment_stays_where_it_is_and_is_not_signed(rig: Rig, fragment: str) -> None:
    for url in ("/api/queue/v1/x?a=b", f"{rig.taskcluster.root_url}/api/queue/v1/x?a=b"):
        answer = rig.request("/bewit", "POST", f"{url}{fragment}".encode())
        assert answer.status == 303
        assert answer.body.decode() == answer.one("Location")
        signed, _, kept = answer.body.decode().partition("#")
        assert kept == iri_to_uri(fragment)[1:]
        check(signed)


def test_it_lasts_an_hour_at_most(rig: Rig) -> None:
    answer = rig.request("/bewit", "POST", b"/queue/v1/x")
    with pytest.raises(mohawk.exc.TokenExpired):
        check(answer.body.decode(), now_s=in_s(3700))
    assert check(answer.body.decode(), now_s=in_s(3500))


def test_it_lasts_no_longer_than_the_credentials(rig: Rig) -> None:
    certificate = f'{{"expiry": {in_s(600)}000, "scopes": []}}'
    rig.give_address("127.77.4.1", "short/0", uid=os.getuid())
    rig.store_credentials("short/0", "task-client/T", certificate=certificate)
    answer = rig.request("/bewit", "POST", b"/queue/v1/x", address="127.77.4.1")
    assert check(answer.body.decode(), now_s=in_s(500))
    with pytest.raises(mohawk.exc.TokenExpired):
        check(answer.body.decode(), now_s=in_s(610))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"https://evil.example.com/api/queue/v1/x", 403),
        (b"/169.254.169.254/api/x", 403),
        (b"", 400),
        (b"/queue/v1/x?bewit=abc", 400),
        (b"/queue/v1/x\r\nX: y", 400),
        (b"/queue/v1/x#\r\nX: y", 400),
        (b"https://evil.example.com#/api/queue/v1/x", 403),
        (b"/queue/v1/../../../login", 404),
        (b"\xff\xfe", 400),
        (b"/queue/v1/" + b"x" * 20000, 413),
    ],
)
def test_nothing_else_is_signed(rig: Rig, body: bytes, status: int) -> None:
    answer = rig.request("/bewit", "POST", body)
    assert answer.status == status
    assert set(answer.json) == {"code", "message"}
