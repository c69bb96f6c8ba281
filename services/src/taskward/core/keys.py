"""Every name that stands in Redis, on one page.

Who writes and who reads is enforced by the ACL (`acl.py`); a stolen password of one role opens its rows only.
`RUN` is `<taskId>/<runId>`.

=========================  ======  =====================================================  =========  ==================
key                        type    holds                                                  written by read by
=========================  ======  =====================================================  =========  ==================
``tw:task:RUN``            hash    what was claimed (`record.py`): the definition, until  claimer    claimer, executor,
                                   when, as whom; why the run must stop                              uploader, monitor
``tw:run:RUN``             hash    where the run stands, and how it ended                 claimer,   claimer, executor,
                                                                                          executor   uploader, monitor
``tw:upload:RUN``          hash    where its uploads stand, and what went wrong with      executor,  claimer, executor,
                                   them (`uploads.py`); nothing in it makes a success     uploader   uploader, monitor
``tw:runs``                set     every RUN that is claimed and not yet resolved         claimer    all of the above
``tw:creds:RUN``           string  JSON: clientId, accessToken, certificate (JSON text),  claimer    uploader, proxy
                                   takenUntil, authorizedScopes (what a task may do
                                   through the proxy)
``tw:peer:ADDRESS``        hash    taskId, runId, and who may use the proxy at that       executor   proxy
                                   local address: the task's user `uid` (127/8), or what
                                   comes from `subnet` by the device `bridge`, but for
                                   `gateway`; then `upstreams` says what it may reach
``tw:devices``             hash    RUN -> JSON: session, device, upstream: which phone    proxy      proxy
                                   of a test cloud it has
``tw:log:TOKEN``           string  JSON: taskId, runId, path of the log file              executor   gateway
``tw:shell:DIGEST``        string  JSON: taskId, runId whose shell the secret with that   executor   gateway
                                   SHA-256 opens
``tw:inbox``               list    RUNs that want the claimer's attention                 executor,  claimer
                                                                                          uploader,
                                                                                          claimer
``tw:pending:RUN``         set     upload batches that are not done                       executor   uploader
``tw:manifest:RUN``        hash    artifact, in short -> what came of it (`manifest.py`   uploader   uploader
                                   of the uploader)
``tw:notes:RUN``           list    lines that the uploader adds to the end of the log,    uploader   uploader
                                   some hundreds at most
``tw:drain``               string  no new runs are claimed (`taskward drain`); ``heard``    admin      claimer
=========================  ======  =====================================================  =========  ==================

Channel ``tw:creds``: the claimer publishes RUN each time it has stored new credentials.

Queues of RQ (``rq:queue:<name>``; one per worker process): ``execute`` (job ids ``x-…``), ``upload`` (``u-…``).
The messages themselves are listed in `jobs.py`.
"""

import hashlib
from typing import Final

RUNS: Final = "tw:runs"
INBOX: Final = "tw:inbox"
DRAIN: Final = "tw:drain"
DRAIN_HEARD: Final = "heard"
"""What the claimer makes of it when it no longer waits for work."""
CREDENTIALS_CHANNEL: Final = "tw:creds"
DEVICES: Final = "tw:devices"


def task(run_key: str) -> str:
    """What was claimed as ``taskId/runId``."""
    return f"tw:task:{run_key}"


def run(run_key: str) -> str:
    """Where the run stands, and how it ended."""
    return f"tw:run:{run_key}"


def upload(run_key: str) -> str:
    """Where the run's uploads stand."""
    return f"tw:upload:{run_key}"


def credentials(run_key: str) -> str:
    """The newest claim credentials of a run."""
    return f"tw:creds:{run_key}"


def peer(address: str) -> str:
    """Which run may use the proxy at this local address."""
    return f"tw:peer:{address}"


def log(token: str) -> str:
    """Which log a live-log token opens."""
    return f"tw:log:{token}"


def shell(secret: str) -> str:
    """Which run's shell a secret opens; the key does not give the secret away, nor does the time of a look-up."""
    return f"tw:shell:{hashlib.sha256(secret.encode()).hexdigest()}"


def pending(run_key: str) -> str:
    """Upload batches of a run that are not done."""
    return f"tw:pending:{run_key}"


def manifest(run_key: str) -> str:
    """What has been uploaded for a run."""
    return f"tw:manifest:{run_key}"


def notes(run_key: str) -> str:
    """Lines for the end of a run's log."""
    return f"tw:notes:{run_key}"
