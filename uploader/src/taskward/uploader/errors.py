"""The error tree of the uploader, grouped by what its caller does next.

::

    TaskwardError
    ├── ClaimLost             the run is not ours any more: leave it alone, report nothing
    ├── ArtifactLost          this artifact cannot be uploaded; `outcome` is what the run deserves
    ├── Denied                try again with the newest credentials, but not for long
    └── StorageError
        └── StorageRefused    storage said no for good
            └── UrlUseless    unless it was the URL: try another one, once

    Unreachable (core)
    └── StorageUnreachable    nothing was decided; try again later
        └── UrlExpired        try again with a new URL
"""

from taskward.core.errors import TaskwardError, Unreachable
from taskward.core.outcome import Outcome


class ClaimLost(TaskwardError):
    """The claim has expired or the record is gone; nothing may be uploaded for the run by this worker."""


class ArtifactLost(TaskwardError):
    """An artifact cannot be uploaded, now or later.

    Attributes:
        outcome: how the run ends because of it, unless it ended badly before or the artifact is optional.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


class Denied(TaskwardError):
    """A service does not accept the credentials of a claim that is ours (401, 403)."""


class StorageError(TaskwardError):
    """A PUT did not succeed."""


class StorageRefused(StorageError):
    """Storage refused the upload, or the URL cannot be used at all; trying again changes nothing."""


class UrlUseless(StorageRefused):
    """There is nothing behind the signed URL, or it leads elsewhere (404, 3xx)."""


class StorageUnreachable(Unreachable):
    """No usable answer of storage (network, time-out, 5xx, 400); the content may or may not be there."""


class UrlExpired(StorageUnreachable):
    """Storage does not accept the signed URL (403), as it does when the URL is too old."""
