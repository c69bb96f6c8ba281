"""What other processes may do with a run's claim: the credentials as Redis holds them (`core/keys.py`)."""

import json
from datetime import datetime

from taskward.core.clock import format_time
from taskward.core.ids import RunId
from taskward.core.taskcluster import Credentials


def stored(run: RunId, credentials: Credentials, taken_until: datetime, task_scopes: list[str]) -> str:
    """The JSON for uploader and proxy.

    A task may do through the proxy what its own scopes say, and upload artifacts of its own run: nothing of what the
    claim credentials add to that (seed 000; generic-worker.md §5.2).
    """
    return json.dumps(
        {
            "clientId": credentials.client_id,
            "accessToken": credentials.access_token,
            "certificate": credentials.certificate,
            "takenUntil": format_time(taken_until),
            "authorizedScopes": [*task_scopes, f"queue:create-artifact:{run.key}"],
        }
    )
