"""What a signature covers: method, URL, content, and URLs that carry it themselves."""

import base64
from typing import Any

import mohawk
import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from devcluster.steps import failure, temporary
from simulators.devcluster import DevCluster


def test_signature_is_for_one_method_and_url(server: DevCluster) -> None:
    url = f"{server.root_url}/api/auth/v1/scopes/current"
    key = {"id": "root", "key": server.access_token, "algorithm": "sha256"}
    header = mohawk.Sender(key, url, "GET", always_hash_content=False).request_header
    assert requests.get(url, headers={"Authorization": header}, timeout=10).status_code == 200
    assert requests.get(url + "?x=1", headers={"Authorization": header}, timeout=10).status_code == 401
    other = f"{server.root_url}/api/auth/v1/clients/root"
    assert requests.get(other, headers={"Authorization": header}, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ('{"scopes":["a"]}', "application/json", 200),
        ('{"scopes":["a"]}', "Application/JSON; charset=utf-8", 200),
        ('{"scopes":["b"]}', "application/json", 401),
        ('{"scopes":["a"]}', "text/plain", 401),
    ],
)
def test_content_must_be_what_was_signed(server: DevCluster, content: str, kind: str, status: int) -> None:
    url = f"{server.root_url}/api/auth/v1/scopes/expand"
    key = {"id": "root", "key": server.access_token, "algorithm": "sha256"}
    sender: Any = mohawk.Sender
    header = sender(key, url, "POST", content=content, content_type=kind).request_header
    headers = {"Authorization": header, "Content-Type": "application/json"}
    answer = requests.post(url, data='{"scopes":["a"]}', headers=headers, timeout=10)
    assert answer.status_code == status
    assert answer.json().get("code", "") == ("" if status == 200 else "AuthenticationFailed")


def test_two_signatures_are_one_too_many(server: DevCluster) -> None:
    url = server.client(taskcluster.Auth).buildSignedUrl("currentScopes")
    key = {"id": "root", "key": server.access_token, "algorithm": "sha256"}
    header = mohawk.Sender(key, url, "GET", always_hash_content=False).request_header
    answer = requests.get(url, headers={"Authorization": header}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (401, "AuthenticationFailed")


def test_signed_url_works_until_it_expires(server: DevCluster) -> None:
    auth = server.client(taskcluster.Auth)
    assert requests.get(auth.buildSignedUrl("currentScopes"), timeout=10).json() == {"scopes": ["*"]}
    stale = requests.get(auth.buildSignedUrl("currentScopes", expiration=-1), timeout=10)
    assert stale.status_code == 401
    assert "Access expired" in stale.json()["message"]


def test_signed_url_is_for_reading_one_url(server: DevCluster) -> None:
    url = server.client(taskcluster.Auth).buildSignedUrl("currentScopes")
    assert requests.post(url, timeout=10).status_code in (401, 404)
    assert requests.get(url.replace("scopes/current", "clients/root"), timeout=10).status_code == 401
    assert requests.get(url[:-3], timeout=10).status_code == 401
    for junk in ("", "!!", base64.urlsafe_b64encode(b"a\\b").decode(), base64.urlsafe_b64encode(b"\\1\\\\").decode()):
        assert requests.get(url.partition("bewit=")[0] + "bewit=" + junk, timeout=10).status_code == 401


def test_signed_url_carries_certificate_and_query(server: DevCluster) -> None:
    auth = server.client(taskcluster.Auth, temporary(server, ["auth:list-clients"]))
    url = auth.buildSignedUrl("listClients", query={"prefix": "ro"})
    assert [each["clientId"] for each in requests.get(url, timeout=10).json()["clients"]] == ["root"]


def test_other_services_may_ask_who_signed(server: DevCluster) -> None:
    auth = server.client(taskcluster.Auth, {})
    key = {"id": "root", "key": server.access_token, "algorithm": "sha256"}
    header = mohawk.Sender(key, "http://else.where:81/a?b=c", "GET", always_hash_content=False).request_header
    asked = {"method": "get", "resource": "/a?b=c", "host": "else.where", "port": 81, "authorization": header}
    told = auth.authenticateHawk(asked)
    assert (told["status"], told["clientId"], told["scopes"]) == ("auth-success", "root", ["*"])
    assert auth.authenticateHawk({**asked, "resource": "/b"})["status"] == "auth-failed"
    del asked["authorization"]
    assert auth.authenticateHawk(asked)["status"] == "no-auth"


def test_anybody_may_test_signing(server: DevCluster) -> None:
    tester = server.client(taskcluster.Auth, {"clientId": "tester", "accessToken": "no-secret"})
    told = tester.testAuthenticate({"clientScopes": ["a:*"], "requiredScopes": ["a:b"]})
    assert told["clientId"] == "tester"
    assert "a:*" in told["scopes"]
    assert tester.testAuthenticateGet()["clientId"] == "tester"
    with pytest.raises(TaskclusterRestFailure) as error:
        tester.testAuthenticate({"clientScopes": ["a:*"], "requiredScopes": ["b"]})
    assert error.value.status_code == 403


def test_tester_is_nobody_elsewhere(server: DevCluster) -> None:
    assert "not found" in failure(server, {"clientId": "tester", "accessToken": "no-secret"})
