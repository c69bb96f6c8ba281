"""Reading the newest claim credentials of a run (`tw:creds:RUN`)."""

import json

from taskward.core.errors import PhaseConflict
from taskward.core.ids import RunId
from taskward.core.record import Records
from taskward.core.taskcluster import Credentials


def claim_credentials(records: Records, run: RunId) -> Credentials:
    """What a call for this run is signed with now; read anew for each attempt, since they change.

    Raises:
        PhaseConflict: the run has none any more (it was resolved).
    """
    text = records.stored_credentials(run)
    if not text:
        raise PhaseConflict(run.key, "has no credentials (any more)")
    return Credentials.parse(json.loads(text))
