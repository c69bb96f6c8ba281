"""Who calls: signatures, certificates, restricted scopes, signed URLs."""

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import mohawk
import pytest
import requests
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from devcluster.steps import NOW, failure, forged, temporary
from simulators.devcluster import DevCluster, ManualClock
from taskward.devcluster.authentication import Caller
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.credentials import create_temporary
from taskward.devcluster.errors import AuthenticationFailed
from taskward.devcluster.hawk import SignedRequest


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


def test_client_reads_its_options_from_the_environment(server: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLUSTER_ROOT_URL", server.root_url)
    monkeypatch.setenv("TASKCLUSTER_CLIENT_ID", server.client_id)
    monkeypatch.setenv("TASKCLUSTER_ACCESS_TOKEN", server.access_token)
    assert taskcluster.Auth(taskcluster.optionsFromEnvironment()).currentScopes() == {"scopes": ["*"]}
