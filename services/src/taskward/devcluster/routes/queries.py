"""Which queries a call takes; the real services refuse all others."""

import re
from collections.abc import Collection

from flask import request

from taskward.devcluster.errors import InvalidRequestArguments
from taskward.devcluster.routes.request import caller

_PAGE = {"continuationToken": re.compile(r".+"), "limit": re.compile(r"[0-9]+")}
_ALWAYS = frozenset({"bewit"})

_PAGED = """
    artifacts.list_artifacts artifacts.list_latest_artifacts
    auth.list_role_ids auth.list_roles2
    groups.list_task_group
    index.find_tasks_at_index index.list_namespaces index.list_tasks
    purge_cache.all_purge_requests
    queue.list_dependent_tasks queue.statuses queue.tasks
    queues.list_claimed_tasks queues.list_pending_tasks queues.list_provisioners queues.list_task_queues
    queues.list_worker_types
    secrets.list
    pool_stats.list_providers pool_stats.list_worker_pools_stats
    worker_manager.list_worker_pools worker_manager.list_workers_for_worker_group
"""
_LAUNCH = {**_PAGE, "launchConfigId": re.compile(r".*")}

#: By endpoint; what has no entry takes none.
_ALLOWED: dict[str, dict[str, re.Pattern[str]]] = {
    **dict.fromkeys(_PAGED.split(), _PAGE),
    "auth.list_clients": {**_PAGE, "prefix": re.compile(r"[A-Za-z0-9!@/:.+|_-]+")},
    "pool_stats.list_worker_pool_launch_configs": {**_PAGE, "includeArchived": re.compile(r"true|false")},
    "pool_stats.worker_pool_error_stats": {"workerPoolId": re.compile(r".*")},
    "purge_cache.purge_requests": {"since": re.compile(r".*")},
    "workers.list_workers": {**_PAGE, "quarantined": re.compile(r"true|false")},
    "worker_manager.list_worker_pool_errors": {**_LAUNCH, "errorId": re.compile(r".*")},
    "worker_manager.list_workers_for_worker_pool": {**_LAUNCH, "state": re.compile(r".*")},
}


def allowed_queries(endpoint: str) -> Collection[str]:
    """Return the names of the queries that a call takes."""
    return _ALLOWED.get(endpoint, {}).keys()


def check_query() -> None:
    """Raise ``InvalidRequestArguments`` for a query that the call does not take, or not in this form.

    Raises ``AuthenticationFailed`` instead for a bad signature.
    """
    if not request.path.startswith("/api/") or request.endpoint is None:
        return
    allowed = _ALLOWED.get(request.endpoint, {})
    faults = []
    for name, value in request.args.items(multi=True):
        if name in _ALWAYS:
            continue
        if name not in allowed:
            faults.append(f"Query-string parameter: {name} is not supported!")
        elif not allowed[name].fullmatch(value):
            faults.append(
                f'Query-string parameter: {name}="{value}" does not match expression: {allowed[name].pattern}'
            )
    if faults:
        caller()  # who signed wrongly hears of that first
        raise InvalidRequestArguments("\n".join(faults))
