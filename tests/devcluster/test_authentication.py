"""Who calls: signatures, certificates, restricted scopes, signed URLs."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import mohawk
import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from simulators.devcluster import DevCluster, ManualClock
from taskward.devcluster.authentication import Caller
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.credentials import create_temporary
from taskward.devcluster.errors import AuthenticationFailed
from taskward.devcluster.hawk import SignedRequest

NOW = datetime.now(UTC)


def temporary(server: DevCluster, scopes: list[str], name: str | None = None, **changes: Any) -> dict[str, Any]:
    start, expiry = changes.get("start", NOW), changes.get("expiry", NOW + timedelta(hours=1))
    made = taskcluster.createTemporaryCredentials(
        server.client_id, server.access_token, start, expiry, scopes, name=name
    )
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in made.items()}


def forged(credentials: dict[str, Any], **changes: Any) -> dict[str, Any]:
    certificate = {**json.loads(credentials["certificate"]), **changes}
    return {**credentials, "certificate": json.dumps(certificate)}


def failure(server: DevCluster, credentials: dict[str, Any]) -> str:
    with pytest.raises(TaskclusterAuthFailure) as error:
        server.client(taskcluster.Auth, credentials).currentScopes()
    assert error.value.body["code"] == "AuthenticationFailed"
    return str(error.value.body["message"])


def test_root_may_do_everything(server: DevCluster) -> None:
    assert server.client(taskcluster.Auth).currentScopes() == {"scopes": ["*"]}


def test_nobody_may_read_what_is_public(server: DevCluster) -> None:
    scopes = server.client(taskcluster.Auth, {}).currentScopes()["scopes"]
    assert "queue:get-artifact:public/*" in scopes
    assert "purge-cache:purge-requests:*" in scopes


def test_wrong_token_is_told_from_missing_scopes(server: DevCluster) -> None:
    wrong = {"clientId": "root", "accessToken": "x" * 44}
    assert "Bad mac" in failure(server, wrong)
    assert "not found" in failure(server, {**wrong, "clientId": "nobody"})
    with pytest.raises(TaskclusterRestFailure) as error:
        server.client(taskcluster.Secrets, {}).get("x")
    assert (error.value.status_code, error.value.body["code"]) == (403, "InsufficientScopes")
    assert set(error.value.body) == {"code", "message", "requestInfo"}


def test_temporary_credentials_have_their_scopes_only(server: DevCluster) -> None:
    client = server.client(taskcluster.Auth, temporary(server, ["some:scope"]))
    scopes = client.currentScopes()["scopes"]
    assert "some:scope" in scopes
    assert "*" not in scopes


def test_named_temporary_credentials_have_a_name(server: DevCluster) -> None:
    credentials = temporary(server, ["test:*"], name="somebody/else")
    described = server.client(taskcluster.Auth, credentials).testAuthenticateGet
    with pytest.raises(TaskclusterAuthFailure):
        described()
    url = server.client(taskcluster.Auth, credentials).buildSignedUrl("currentScopes")
    assert "test:*" in requests.get(url, timeout=10).json()["scopes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version must be 1"),
        ({"seed": "short"}, "seed must be 44 characters"),
        ({"seed": 1}, "seed must be a string"),
        ({"start": "now"}, "start must be a number"),
        ({"expiry": None}, "expiry must be a number"),
        ({"expiry": 10**14}, "cannot last longer than 31 days"),
        ({"start": -(2**52)}, "no time"),
        ({"scopes": "all"}, "scopes must be an array"),
        ({"scopes": ["a\nb"]}, "scopes must be an array of valid scopes"),
        ({"scopes": ["*", "more"]}, "signature is not valid"),
        ({"signature": "AAAA"}, "signature is not valid"),
        ({"signature": "ü"}, "signature is not valid"),
        ({"signature": 1}, "signature is not valid"),
        ({"issuer": "root"}, "issuer must differ"),
        ({"issuer": 5}, "issuer must be a string"),
        ({"issuer": "nobody"}, "not found"),
        ({"clientId": "root"}, "clientId must only be used"),
    ],
    ids=str,
)
def test_forged_certificate_is_refused(server: DevCluster, changes: dict[str, Any], message: str) -> None:
    assert message in failure(server, forged(temporary(server, ["*"]), **changes))


@pytest.mark.parametrize("raw", ["[]", '"text"', "5"])
def test_certificate_must_be_an_object(server: DevCluster, raw: str) -> None:
    assert "must be a JSON object" in failure(server, {**temporary(server, []), "certificate": raw}) or raw == "[]"


def test_name_of_credentials_cannot_be_changed(server: DevCluster) -> None:
    credentials = temporary(server, ["*"], name="somebody")
    assert "wrong clientId" in failure(server, {**credentials, "clientId": "somebody-else"})


def test_issuer_cannot_give_more_than_it_has(server: DevCluster) -> None:
    auth = server.client(taskcluster.Auth)
    made = auth.createClient(
        "small", {"expires": taskcluster.fromNowJSON("1 day"), "description": "", "scopes": ["a:*"]}
    )

    def issued(scopes: list[str], name: str | None) -> dict[str, Any]:
        token = made["accessToken"]
        return dict(
            taskcluster.createTemporaryCredentials("small", token, NOW, NOW + timedelta(hours=1), scopes, name=name)
        )

    assert "a:b" in server.client(taskcluster.Auth, issued(["a:b"], None)).currentScopes()["scopes"]
    assert "doesn't satisfy all certificate scopes" in failure(server, issued(["b:*"], None))
    assert "auth:create-client:big" in failure(server, issued(["a:b"], "big"))


class TestTimes:
    """What depends on the time of the certificate or the signature."""

    request = SignedRequest("GET", "/x", "localhost", 80)

    def authenticate(self, cluster: Cluster, credentials: dict[str, str], at: datetime) -> Caller:
        ext = base64.b64encode(json.dumps({"certificate": json.loads(credentials["certificate"])}).encode())
        header = mohawk.Sender(
            {"id": credentials["clientId"], "key": credentials["accessToken"], "algorithm": "sha256"},
            "http://localhost/x", "GET", always_hash_content=False, ext=ext.decode(), _timestamp=int(at.timestamp()),
        ).request_header  # fmt: skip
        return cluster.authenticator.authenticate(self.request, str(header))

    @pytest.mark.parametrize(("minutes", "holds"), [(0, True), (14, True), (14.9, True), (15.1, False), (21, False)])
    def test_certificate_holds_five_minutes_past_its_expiry(
        self, cluster: Cluster, clock: ManualClock, minutes: float, holds: bool
    ) -> None:
        root = cluster.clients.load("root")
        credentials = create_temporary(root, "t", ["x"], clock.now(), clock.now() + timedelta(minutes=10))
        clock.move(minutes=minutes)
        if holds:
            assert self.authenticate(cluster, credentials, clock.now()).client_id == "t"
        else:
            with pytest.raises(AuthenticationFailed, match="expiry < now"):
                self.authenticate(cluster, credentials, clock.now())

    @pytest.mark.parametrize(("minutes", "holds"), [(-4.9, True), (-5.1, False)])
    def test_certificate_holds_five_minutes_before_its_start(
        self, cluster: Cluster, clock: ManualClock, minutes: float, holds: bool
    ) -> None:
        root = cluster.clients.load("root")
        credentials = create_temporary(root, "t", ["x"], clock.now(), clock.now() + timedelta(minutes=10))
        clock.move(minutes=minutes)
        if holds:
            assert self.authenticate(cluster, credentials, clock.now()).client_id == "t"
        else:
            with pytest.raises(AuthenticationFailed, match="start > now"):
                self.authenticate(cluster, credentials, clock.now())

    @pytest.mark.parametrize(("minutes", "holds"), [(14, True), (-14, True), (16, False), (-16, False)])
    def test_signature_may_be_fifteen_minutes_off(
        self, cluster: Cluster, clock: ManualClock, minutes: float, holds: bool
    ) -> None:
        root = cluster.clients.load("root")
        credentials = create_temporary(root, "t", ["x"], clock.now(), clock.now() + timedelta(days=1))
        at = clock.now() + timedelta(minutes=minutes)
        if holds:
            assert self.authenticate(cluster, credentials, at).scopes.satisfies("x")
        else:
            with pytest.raises(AuthenticationFailed, match="Stale timestamp"):
                self.authenticate(cluster, credentials, at)

    def test_expired_and_disabled_clients_are_shut_out(self, cluster: Cluster, clock: ManualClock) -> None:
        cluster.clients.create("c", "", [], clock.now() + timedelta(days=1), False)
        cluster.clients.set_disabled("c", True)
        with pytest.raises(AuthenticationFailed, match="disabled"):
            cluster.clients.load("c")
        cluster.clients.set_disabled("c", False)
        clock.move(days=2)
        with pytest.raises(AuthenticationFailed, match="expired"):
            cluster.clients.load("c")


def test_authorized_scopes_restrict(server: DevCluster) -> None:
    client = server.client(taskcluster.Auth, authorizedScopes=["only:this"])
    scopes = client.currentScopes()["scopes"]
    assert "only:this" in scopes
    assert "*" not in scopes
    none = server.client(taskcluster.Auth, authorizedScopes=[])
    assert none.currentScopes() == server.client(taskcluster.Auth, {}).currentScopes()


def test_authorized_scopes_must_be_held(server: DevCluster) -> None:
    client = server.client(taskcluster.Auth, temporary(server, ["a"]), authorizedScopes=["b"])
    with pytest.raises(TaskclusterAuthFailure) as error:
        client.currentScopes()
    assert "do not satisfy authorizedScopes" in error.value.body["message"]


def test_authorized_scopes_may_be_those_of_everybody(server: DevCluster) -> None:
    client = server.client(taskcluster.Auth, temporary(server, ["a"]), authorizedScopes=["queue:get-artifact:public/x"])
    assert client.currentScopes()["scopes"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Hawk",
        'Hawk id="root"',
        'Hawk id="root", ts="1", nonce="n", mac="m"',
        'Hawk id="root", id="root", ts="1", nonce="n", mac="m"',
        'Hawk id="root", ts="x", nonce="n", mac="m"',
        'Hawk id="root", ts="1", nonce="n", mac="m", evil="1"',
        'Hawk id="' + "x" * 5000 + '"',
        'Hawk id="root" junk ts="1", nonce="n", mac="m"',
    ],
    ids=range(9),
)
def test_malformed_header_is_refused(server: DevCluster, header: str) -> None:
    url = f"{server.root_url}/api/auth/v1/scopes/current"
    answer = requests.get(url, headers={"Authorization": header}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (401, "AuthenticationFailed")


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b'{"authorizedScopes":5}', b'{"certificate":5}'])
def test_malformed_ext_is_refused(server: DevCluster, content: bytes) -> None:
    ext = base64.b64encode(content).decode() or "A"
    url = f"{server.root_url}/api/auth/v1/scopes/current"
    key = {"id": "root", "key": server.access_token, "algorithm": "sha256"}
    header = mohawk.Sender(key, url, "GET", always_hash_content=False, ext=ext).request_header
    assert requests.get(url, headers={"Authorization": header}, timeout=10).status_code == 401


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


def test_client_reads_its_options_from_the_environment(server: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLUSTER_ROOT_URL", server.root_url)
    monkeypatch.setenv("TASKCLUSTER_CLIENT_ID", server.client_id)
    monkeypatch.setenv("TASKCLUSTER_ACCESS_TOKEN", server.access_token)
    assert taskcluster.Auth(taskcluster.optionsFromEnvironment()).currentScopes() == {"scopes": ["*"]}
