"""Managing clients and roles, and what roles bring."""

from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterAuthFailure, TaskclusterRestFailure

from simulators.devcluster import DevCluster
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.errors import InputError
from taskward.devcluster.scopes import ScopeSet, all_of, any_of, describe

EXPIRES = taskcluster.fromNowJSON("1 day")


@pytest.fixture
def auth(server: DevCluster) -> Any:
    return server.client(taskcluster.Auth)


def test_client_lives_from_creation_to_deletion(server: DevCluster, auth: Any) -> None:
    wish = {"expires": EXPIRES, "description": "d", "scopes": ["a"]}
    made = auth.createClient("life", wish)
    assert auth.createClient("life", wish)["accessToken"] == made["accessToken"]
    assert "accessToken" not in auth.client("life")
    own = server.client(taskcluster.Auth, {"clientId": "life", "accessToken": made["accessToken"]})
    assert "a" in own.currentScopes()["scopes"]
    assert auth.updateClient("life", {**wish, "scopes": ["b"]})["scopes"] == ["b"]
    assert "b" in own.currentScopes()["scopes"]
    auth.disableClient("life")
    with pytest.raises(TaskclusterAuthFailure):
        own.currentScopes()
    auth.enableClient("life")
    own.currentScopes()
    auth.resetAccessToken("life")
    with pytest.raises(TaskclusterAuthFailure):
        own.currentScopes()
    auth.deleteClient("life")
    auth.deleteClient("life")
    with pytest.raises(TaskclusterRestFailure) as error:
        auth.client("life")
    assert error.value.status_code == 404


def test_other_client_of_the_same_id_is_a_conflict(auth: Any) -> None:
    auth.createClient("same", {"expires": EXPIRES, "description": "", "scopes": ["a"]})
    with pytest.raises(TaskclusterRestFailure) as error:
        auth.createClient("same", {"expires": EXPIRES, "description": "", "scopes": ["b"]})
    assert error.value.status_code == 409


def test_built_in_clients_cannot_be_changed(auth: Any) -> None:
    for client_id in ("root", "static/taskcluster/queue"):
        with pytest.raises(TaskclusterRestFailure):
            auth.resetAccessToken(client_id)
        with pytest.raises(TaskclusterRestFailure):
            auth.deleteClient(client_id)


def test_nobody_makes_a_client_mightier_than_himself(server: DevCluster) -> None:
    small = server.client(taskcluster.Auth, authorizedScopes=["auth:create-client:mine/*", "a:*"])
    small.createClient("mine/x", {"expires": EXPIRES, "description": "", "scopes": ["a:b"]})
    for client_id, scopes in (("mine/y", ["*"]), ("other", [])):
        with pytest.raises(TaskclusterRestFailure) as error:
            small.createClient(client_id, {"expires": EXPIRES, "description": "", "scopes": scopes})
        assert error.value.status_code == 403


def test_who_changes_a_client_or_role_needs_what_is_added_only(server: DevCluster, auth: Any) -> None:
    expires = taskcluster.fromNowJSON("1 day")
    auth.createClient("who", {"description": "", "expires": expires, "scopes": ["a:b"]})
    auth.createRole("what", {"description": "", "scopes": ["a:*"]})
    auth.options["authorizedScopes"] = ["auth:update-client:who", "auth:update-role:what", "c:d"]
    auth.updateClient("who", {"description": "", "expires": expires, "scopes": ["a:b", "c:d"]})
    auth.updateRole("what", {"description": "", "scopes": ["a:b", "c:d"]})
    with pytest.raises(TaskclusterRestFailure) as error:
        auth.updateClient("who", {"description": "", "expires": expires, "scopes": ["e:f"]})
    assert error.value.status_code == 403


def test_scopes_end_with_one_star_at_most(auth: Any) -> None:
    expires = taskcluster.fromNowJSON("1 day")
    for call, body in (
        (auth.createClient, {"description": "", "expires": expires}),
        (auth.createRole, {"description": ""}),
    ):
        with pytest.raises(TaskclusterRestFailure) as error:
            call("stars", {**body, "scopes": ["a:**"]})
        assert (error.value.status_code, error.value.body["code"]) == (400, "InputError")


def test_clients_and_roles_are_listed_in_pages(auth: Any) -> None:
    for number in range(3):
        auth.createClient(f"paged/{number}", {"expires": EXPIRES, "description": ""})
        auth.createRole(f"paged:{number}", {"description": "", "scopes": []})
    pages: list[dict[str, Any]] = []
    auth.listClients(query={"prefix": "paged/"}, paginationHandler=pages.append, paginationLimit=2)
    assert [len(page["clients"]) for page in pages] == [2, 1]
    pages.clear()
    auth.listRoleIds(paginationHandler=pages.append, paginationLimit=2)
    assert "paged:1" in {role for page in pages for role in page["roleIds"]}
    assert {role["roleId"] for role in auth.listRoles()} >= {"anonymous", "paged:0"}


def test_role_lives_from_creation_to_deletion(auth: Any) -> None:
    role = {"description": "", "scopes": ["x"]}
    assert auth.createRole("r", role)["expandedScopes"] == ["assume:r", "x"]
    auth.createRole("r", role)
    with pytest.raises(TaskclusterRestFailure):
        auth.createRole("r", {**role, "scopes": ["y"]})
    auth.updateRole("r", {**role, "scopes": ["y"]})
    assert auth.expandScopes({"scopes": ["assume:r"]}) == {"scopes": ["assume:r", "y"]}
    auth.deleteRole("r")
    assert auth.expandScopes({"scopes": ["assume:r"]}) == {"scopes": ["assume:r"]}


@pytest.mark.parametrize(
    ("roles", "held", "gives", "not_gives"),
    [
        ({"a": ["x"]}, "assume:a", ["x", "assume:a"], ["y"]),
        ({"a": ["assume:b"], "b": ["assume:a", "y"]}, "assume:a", ["y"], ["z"]),
        ({"worker:*": ["w:<..>"]}, "assume:worker:one", ["w:one"], ["w:two"]),
        ({"worker:*": ["w:<..>:end"]}, "assume:worker:one", ["w:one:end"], ["w:one"]),
        ({"worker:*": ["w:<..>:end"]}, "assume:worker:o*", ["w:one:end", "w:o"], ["w:two:end"]),
        ({"worker:*": ["w:<..>:end"]}, "assume:wor*", ["w:anything"], ["x"]),
        ({"worker:*": ["static"]}, "assume:worker:x", ["static"], []),
        ({"a": ["x"], "ab": ["y"]}, "assume:a*", ["x", "y"], ["z"]),
        ({"a": ["x"]}, "assume:ab", [], ["x"]),
        ({"a": ["x"]}, "as*", ["x"], ["y"]),
        ({"a": ["*"]}, "assume:a", ["everything"], []),
        ({"a*": ["assume:<..>"], "b": ["y"]}, "assume:ab", ["y"], ["z"]),
    ],
    ids=range(12),
)
def test_roles_are_filled_in(
    cluster: Cluster, roles: dict[str, list[str]], held: str, gives: list[str], not_gives: list[str]
) -> None:
    for role_id, scopes in roles.items():
        cluster.roles.create(role_id, "", scopes)
    expanded = cluster.roles.expand([held])
    assert all(expanded.satisfies(scope) for scope in gives)
    assert not any(expanded.satisfies(scope) for scope in not_gives)


@pytest.mark.parametrize(
    ("held", "needed", "enough"),
    [
        (["a"], "a", True),
        (["a"], "ab", False),
        (["a*"], "ab", True),
        (["a*"], "a", True),
        (["a*"], "a*", True),
        (["a*"], "*", False),
        (["*"], "anything", True),
        ([], "a", False),
        ([], all_of(), True),
        (["*"], any_of(), False),
        (["a"], any_of("a", "b"), True),
        (["a"], all_of("a", "b"), False),
        (["a", "b"], all_of("a", any_of("b", "c")), True),
        (["a", "c*"], all_of("a", any_of("b", "cd")), True),
    ],
    ids=str,
)
def test_scopes_satisfy_an_expression(held: list[str], needed: Any, enough: bool) -> None:
    assert ScopeSet.of(held).satisfies(needed) is enough


def test_missing_scopes_are_named_without_those_held() -> None:
    missing = ScopeSet.of(["a"]).missing(all_of("a", "b", any_of("c", "d")))
    assert missing is not None
    assert describe(missing) == "AllOf:\n  b\n  AnyOf:\n    c\n    d"


@pytest.mark.parametrize(
    "roles",
    [
        {"a*": ["assume:aa<..>"]},
        {"a*": ["assume:bx<..>"], "b*": ["assume:ax<..>"]},
        {"a*": ["assume:ab<..>", "assume:ac<..>"]},
    ],
    ids=["itself", "each other", "twice"],
)
def test_roles_that_grow_without_end_are_refused(cluster: Cluster, roles: dict[str, list[str]]) -> None:
    *fine, last = roles
    for role_id in fine:
        cluster.roles.create(role_id, "", roles[role_id])
    with pytest.raises(InputError, match="without end"):
        cluster.roles.create(last, "", roles[last])
    assert cluster.roles.expand(["assume:a1"]).sorted()
