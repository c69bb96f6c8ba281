"""The services secrets and purge-cache."""

from datetime import timedelta
from typing import Any

import pytest
import taskcluster
from taskcluster.exceptions import TaskclusterRestFailure

from simulators.devcluster import DevCluster, ManualClock
from taskward.devcluster.cluster import Cluster
from taskward.devcluster.errors import ResourceNotFound

EXPIRES = taskcluster.fromNowJSON("1 day")


@pytest.fixture
def secrets(server: DevCluster) -> Any:
    return server.client(taskcluster.Secrets)


def test_secret_lives_from_setting_to_removal(secrets: Any) -> None:
    secrets.set("a/b c", {"secret": {"key": "ü"}, "expires": EXPIRES})
    secrets.set("a/b c", {"secret": {"key": "new"}, "expires": EXPIRES})
    assert secrets.get("a/b c")["secret"] == {"key": "new"}
    pages: list[dict[str, Any]] = []
    secrets.list(paginationHandler=pages.append, paginationLimit=1)
    assert "a/b c" in [name for page in pages for name in page["secrets"]]
    secrets.remove("a/b c")
    secrets.remove("a/b c")
    with pytest.raises(TaskclusterRestFailure) as error:
        secrets.get("a/b c")
    assert error.value.status_code == 404


def test_task_reads_the_secrets_of_its_scopes_only(server: DevCluster, secrets: Any, claim: dict[str, Any]) -> None:
    for name in ("mine", "yours"):
        secrets.set(name, {"secret": {"of": name}, "expires": EXPIRES})
    task = server.client(taskcluster.Secrets, claim["credentials"])
    assert task.get("mine")["secret"] == {"of": "mine"}
    for call, arguments in (
        (task.get, ["yours"]),
        (task.set, ["mine", {"secret": {}, "expires": EXPIRES}]),
        (task.remove, ["mine"]),
        (task.list, []),
    ):
        with pytest.raises(TaskclusterRestFailure) as error:
            call(*arguments)
        assert error.value.status_code == 403


def test_expired_secret_is_gone(cluster: Cluster, clock: ManualClock) -> None:
    cluster.secrets.set("s", {}, clock.now() + timedelta(hours=1))
    clock.move(hours=2)
    with pytest.raises(ResourceNotFound):
        cluster.secrets.get("s")


def test_purge_request_reaches_the_workers_of_its_pool(server: DevCluster, queue_id: str) -> None:
    root = server.client(taskcluster.PurgeCache)
    nobody = server.client(taskcluster.PurgeCache, {})
    root.purgeCache(queue_id, {"cacheName": "checkouts"})
    request = nobody.purgeRequests(queue_id)["requests"][0]
    provisioner_id, worker_type = queue_id.split("/")
    assert request["cacheName"] == "checkouts"
    assert (request["provisionerId"], request["workerType"]) == (provisioner_id, worker_type)
    assert nobody.purgeRequests(queue_id, query={"since": request["before"]})["requests"] == [request]
    assert nobody.purgeRequests(queue_id, query={"since": EXPIRES})["requests"] == []
    assert request in nobody.allPurgeRequests()["requests"]
    with pytest.raises(TaskclusterRestFailure) as error:
        nobody.purgeRequests(queue_id, query={"since": "yesterday"})
    assert error.value.status_code == 400


def test_purge_requests_are_stale_for_ten_seconds_and_live_a_day(cluster: Cluster, clock: ManualClock) -> None:
    purge_cache = cluster.purge_cache
    assert purge_cache.requests("a/b", None) == []
    purge_cache.request("a/b", "c")
    clock.move(seconds=9)
    assert purge_cache.requests("a/b", None) == []
    clock.move(seconds=1)
    assert len(purge_cache.requests("a/b", None)) == 1
    clock.move(days=1)
    assert purge_cache.requests("a/b", None) == []
