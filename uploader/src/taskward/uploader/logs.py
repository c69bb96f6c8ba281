"""The end of a run's log: the backing log is uploaded, the live log becomes a link to it."""

import logging
from pathlib import Path
from typing import Final

from taskward.core.log import for_run
from taskward.core.outbox import Index
from taskward.uploader.errors import ArtifactLost
from taskward.uploader.gzipped import log_with_notes
from taskward.uploader.manifest import Sent
from taskward.uploader.run import RunUpload

CONTENT_TYPE: Final = "text/plain; charset=utf-8"
_logger = logging.getLogger(__name__)


def close_log(upload: RunUpload, index: Index) -> None:
    """Uploads the log, under each name that is wanted, and the link, unless the manifest knows them.

    Raises:
        ClaimLost: the run is not ours any more.
    """
    for name in (index.backing_log_name, index.bulk_log_name):
        if name and not upload.manifest.has(name):
            _send(upload, index, name)
    if index.backing_log_name and index.live_log_name and not upload.manifest.has(index.live_log_name):
        _link_live_log(upload, index)


def _send(upload: RunUpload, index: Index, name: str) -> None:
    pieces = log_with_notes(Path(index.log), upload.notes.read())
    try:
        upload.text(name, CONTENT_TYPE, index.expires, pieces)
    except ArtifactLost as loss:
        upload.lost(name, loss)


def _link_live_log(upload: RunUpload, index: Index) -> None:
    """A link that is refused leaves a dead live log and a good backing log: no reason to fail the run."""
    try:
        upload.artifacts.link(index.live_log_name, index.backing_log_name, CONTENT_TYPE, index.expires)
        upload.manifest.record(index.live_log_name, Sent("link"))
    except ArtifactLost as loss:
        for_run(_logger, upload.run).warning(f"the live log could not be linked: {loss}")
