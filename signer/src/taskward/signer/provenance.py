"""The in-toto statement with SLSA v1 provenance: https://slsa.dev/spec/v1.0/provenance."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from taskward.signer.policy import Grant
from taskward.signer.request import CertifyRequest

BUILD_TYPE: Final = "urn:taskward:task-run:v1"
"""The external parameters are one key, ``task``: the definition as the queue has it."""


def statement(request: CertifyRequest, grant: Grant, environment: Mapping[str, str], root_url: str) -> dict[str, Any]:
    """What ran (the task), where (the worker) and what came out (the artifacts)."""
    worker = grant.worker
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": artifact.name, "digest": {"sha256": artifact.sha256}}
            for artifact in sorted(request.artifacts, key=lambda artifact: artifact.name)
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"task": grant.definition},
                "internalParameters": {
                    "taskId": grant.task_id,
                    "runId": grant.run_id,
                    "workerGroup": worker.worker_group,
                    "workerId": worker.worker_id,
                    "environment": environment,
                },
                "resolvedDependencies": list(_dependencies(grant.definition, environment, root_url)),
            },
            "runDetails": {
                "builder": {"id": f"{root_url}/worker-manager/{quote(worker.task_queue_id, safe='')}"},
                "metadata": {
                    "invocationId": f"{root_url}/tasks/{grant.task_id}/runs/{grant.run_id}",
                    "startedOn": grant.started,
                },
            },
        },
    }


def _dependencies(
    definition: Mapping[str, Any], environment: Mapping[str, str], root_url: str
) -> Iterator[dict[str, Any]]:
    for task_id in definition.get("dependencies", []):
        yield {"uri": f"{root_url}/tasks/{task_id}"}
    for key in ("imageArtifactHash", "imageHash"):
        if key in environment:
            yield {"name": key, "digest": {"sha256": environment[key].removeprefix("sha256:")}}
