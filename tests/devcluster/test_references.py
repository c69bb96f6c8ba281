"""The calls of the cluster are those that the plain client knows: same names, routes, parameters and queries."""

import importlib
from typing import Any

import pytest
import requests

from simulators.devcluster import DevCluster

SERVICES = {
    "auth": "Auth", "index": "Index", "object": "Object", "purge-cache": "PurgeCache", "queue": "Queue",
    "secrets": "Secrets", "worker-manager": "WorkerManager",
}  # fmt: skip
#: What leads to clouds and other outside services, keeps history, or shows workers for people once more.
ABSENT = {
    "auth": {
        "awsS3Credentials", "gcpCredentials", "getEntityHistory", "githubRepoToken", "listAuditHistory", "sentryDSN",
        "websocktunnelToken",
    },
    "worker-manager": {"getWorker", "listWorkers"},
}  # fmt: skip


def told(server: DevCluster, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{server.root_url}/references/{path}", timeout=10).json()
    return answer


@pytest.mark.parametrize("service", SERVICES)
def test_calls_are_those_of_the_client(server: DevCluster, service: str) -> None:
    module = importlib.import_module(f"taskcluster.generated.{service.replace('-', '')}")
    known = getattr(module, SERVICES[service]).funcinfo
    ours = {entry["name"]: entry for entry in told(server, f"{service}/v1/api.json")["entries"]}
    assert known.keys() - ours.keys() == ABSENT.get(service, set())
    assert ours.keys() <= known.keys()
    for name, entry in ours.items():
        wanted = known[name]
        assert (entry["method"], entry["route"], entry["args"]) == (wanted["method"], wanted["route"], wanted["args"])
        assert entry["query"] == sorted(wanted.get("query", []))


def test_the_manifest_names_every_service(server: DevCluster) -> None:
    assert told(server, "manifest.json")["references"] == [f"/references/{name}/v1/api.json" for name in SERVICES]
    assert told(server, "hooks/v1/api.json")["code"] == "ResourceNotFound"
