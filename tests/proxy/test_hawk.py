"""Signatures, checked by an independent implementation (mohawk)."""

import base64
import json
import time
from typing import Any

import mohawk
import mohawk.bewit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.proxy import hawk
from taskward.proxy.routes import RootUrl

TOKEN = "o1q3_example-token"
CREDENTIALS = {"id": "task-client/x", "key": TOKEN, "algorithm": "sha256"}
CERTIFICATE = {"version": 1, "scopes": ["a:*"], "expiry": 4102444800000}


def signer(root: str = "https://tc.example.com", ext: str = "") -> hawk.Signer:
    return hawk.Signer(RootUrl.parse(root), "task-client/x", TOKEN, ext)


def receive(header: str, url: str, method: str = "GET") -> Any:
    return mohawk.Receiver(lambda _: CREDENTIALS, header, url, method, accept_untrusted_content=True)


@pytest.mark.parametrize("root", ["https://tc.example.com", "http://127.0.0.1:8080", "http://tc", "https://tc:8443"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/queue/v1/ping", "/api/a/v1/x//y%2Fz%252F?q=a%20b&c[]=|"])
def test_a_signature_is_accepted(root: str, method: str, path: str) -> None:
    header = signer(root).header(method, path, int(time.time()))
    receive(header, root + path, method)


def test_a_signature_is_bound_to_method_path_and_host() -> None:
    header = signer().header("GET", "/api/queue/v1/ping", int(time.time()))
    for url, method in [
        ("https://tc.example.com/api/queue/v1/ping", "POST"),
        ("https://tc.example.com/api/queue/v1/pong", "GET"),
        ("https://evil.example.com/api/queue/v1/ping", "GET"),
        ("https://tc.example.com:444/api/queue/v1/ping", "GET"),
    ]:
        with pytest.raises(mohawk.exc.MacMismatch):
            receive(header, url, method)


def test_certificate_and_restriction_travel_in_ext() -> None:
    ext = hawk.make_ext(CERTIFICATE, ["a:b"])
    received = receive(
        signer(ext=ext).header("GET", "/api/x/v1/y", int(time.time())), "https://tc.example.com/api/x/v1/y"
    )
    decoded = json.loads(base64.b64decode(received.parsed_header["ext"]))
    assert decoded == {"certificate": CERTIFICATE, "authorizedScopes": ["a:b"]}


def test_a_task_without_scopes_is_restricted_to_none() -> None:
    assert json.loads(base64.b64decode(hawk.make_ext(None, []))) == {"authorizedScopes": []}


@pytest.mark.parametrize("path", ["/api/queue/v1/x", "/api/queue/v1/x?a=b"])
def test_a_bewit_is_accepted(path: str) -> None:
    signed = signer(ext=hawk.make_ext(CERTIFICATE, ["a:b"])).bewit(path, int(time.time()) + 60)
    mohawk.bewit.check_bewit(f"https://tc.example.com{signed}", lambda _: CREDENTIALS)


def test_no_two_signatures_share_a_nonce() -> None:
    headers = {signer().header("GET", "/", 0) for _ in range(200)}
    assert len(headers) == 200


def test_the_token_does_not_show_in_a_representation() -> None:
    assert TOKEN not in repr(signer())


@pytest.mark.parametrize("client_id", ['a"b', "a\r\nb", "a\\b", "", "é"])
def test_a_client_id_cannot_break_out_of_the_header(client_id: str) -> None:
    with pytest.raises(ValueError, match="clientId"):
        hawk.Signer(RootUrl.parse("https://x"), client_id, TOKEN, "")


@pytest.mark.parametrize(
    ("scopes", "kept"),
    [
        (["a:b", "a:*"], ("a:*",)),
        (["a:*", "a:b:*", "a"], ("a", "a:*")),
        (["*", "x:*", "y"], ("*",)),
        (["a:b", "a:b"], ("a:b",)),
        (["a:*", "a:*"], ("a:*",)),
        (["a:b*", "a:b", "a:bc", "a:c"], ("a:b*", "a:c")),
        ([], ()),
    ],
)
def test_scopes_that_a_star_covers_are_dropped(scopes: list[str], kept: tuple[str, ...]) -> None:
    assert hawk.without_covered(scopes) == kept


def satisfies(scopes: tuple[str, ...], wanted: str) -> bool:
    return any(s == wanted or (s.endswith("*") and wanted.startswith(s[:-1])) for s in scopes)


@given(st.lists(st.text(alphabet="ab:*", max_size=5)))
def test_dropping_covered_scopes_neither_adds_nor_takes_rights(scopes: list[str]) -> None:
    kept = hawk.without_covered(scopes)
    assert set(kept) <= set(scopes)
    assert all(satisfies(kept, scope) for scope in scopes)
