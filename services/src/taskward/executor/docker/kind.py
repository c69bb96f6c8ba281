"""Payloads with an image: how runs in containers are carried out."""

from typing import Final

from taskward.core.ids import RunId
from taskward.core.settings import Settings
from taskward.executor.docker import features
from taskward.executor.docker.engine import DockerEngine
from taskward.executor.docker.payload import parse
from taskward.executor.docker.tasklog import DockerLog
from taskward.executor.docker.work import work
from taskward.executor.engine import Engine
from taskward.executor.kind import Kind


def _engine(run: RunId, settings: Settings) -> Engine:
    return DockerEngine(run, settings)


DOCKER: Final = Kind(DockerLog, _engine, parse, lambda: features.ORDER, work, links_unread=True)
