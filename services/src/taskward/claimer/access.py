"""What other processes may do with a run's claim: the credentials as Redis holds them (`core/keys.py`)."""

import json
from collections.abc import Mapping
from typing import Any

from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials


def stored(run: RunId, credentials: Mapping[str, Any], taken_until: str, task_scopes: list[str]) -> str:
    """The JSON for uploader and proxy.

    A task may do through the proxy what its own scopes say, and upload artifacts of its own run: nothing of what the
    claim credentials add to that (seed 000; generic-worker.md §5.2).
    """
    parsed = Credentials.parse(credentials)
    return json.dumps(
        {
            "clientId": parsed.client_id,
            "accessToken": parsed.access_token,
            "certificate": parsed.certificate,
            "takenUntil": taken_until,
            "authorizedScopes": [*task_scopes, f"queue:create-artifact:{run.key}"],
        }
    )
