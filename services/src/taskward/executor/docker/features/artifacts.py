"""The files of the container that the payload wants to be kept."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, Literal

from taskward.core.outcome import failed
from taskward.executor import collect
from taskward.executor.docker.archive import Archive, Unusable
from taskward.executor.docker.download import NotThere
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind
from taskward.executor.docker.untar import WRONG_TYPE, Limits
from taskward.executor.payload_artifacts import ArtifactRequest
from taskward.executor.plan import Plan
from taskward.executor.reader import Reader, serve
from taskward.executor.search import Found

_VOLUMES: Final = "volumes"


class ContainerArtifacts(ContainerFeature):
    """``payload.artifacts``: taken from the container after it has ended, however it has ended.

    What is missing, or of the wrong type, becomes an error artifact and does not fail the task.
    """

    name = "Artifact Uploads"
    publishes = True

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.task.payload.artifacts)

    def start(self) -> None:
        """Volumes: directories of this host at the places where the task will look for them."""
        places = [each.path for each in self.task.payload.artifacts if each.type == "volume"]
        for number, place in enumerate(places):
            volume = self.engine.identity.home / f"{_VOLUMES}-{number}"
            volume.mkdir()
            volume.chmod(0o755)
            self.engine.outfit.binds.append(Bind(volume, place))

    def stop(self) -> None:
        """Takes them out and moves them; see `archive` and `collect`."""
        task, identity = self.task, self.engine.identity
        if task.outcome is not None and task.outcome.unreported:
            return
        outbox, settings = task.layout.outbox(task.run), task.settings.executor
        plan = Plan.of(task)
        collect.open_outbox(outbox)
        if not collect.load_plan(plan, outbox):
            archive = Archive(self.engine, Limits(settings.max_unpacked_bytes, settings.max_artifacts))
            for request in task.payload.artifacts:
                self._plan(plan, request, archive)
            collect.save_plan(plan, outbox)
        with Reader(self.engine.as_task(serve(identity.home, task.layout.state_dir, False))) as reader:
            collect.move_all(plan, reader, outbox, identity.uid)
        plan.hand_over(task)

    def _plan(self, plan: Plan, request: ArtifactRequest, archive: Archive) -> None:
        kind: Literal["file", "directory"] = "file" if request.type == "file" else "directory"
        try:
            folder, taken = archive.take(request.path, kind)
        except NotThere as error:
            text = f'Artifact "{request.name}" not found at "{request.path}": {error}'
            self.task.log.info(text)
            self._add_error(plan, request, Found("", request.path, reason="file-missing-on-worker", message=text))
        except Unusable as error:
            text = f'Error uploading "{request.name}". {error}'
            if error.reason != WRONG_TYPE:
                self.task.fail(failed(text))
            self.task.log.error(text)
            self._add_error(plan, request, Found("", request.path, reason=error.reason, message=text))
        else:
            found = [
                Found(each.name, str(folder / each.file), each.size_bytes, each.device, each.inode) for each in taken
            ]
            plan.add(request, lambda _kind, _path, _most: iter(found))

    def _add_error(self, plan: Plan, request: ArtifactRequest, found: Found) -> None:
        """As optional, since it does not fail the task."""

        def find(_kind: Literal["file", "directory"], _path: str, _most: int) -> Iterator[Found]:
            yield found

        plan.add(replace(request, optional=True), find)
