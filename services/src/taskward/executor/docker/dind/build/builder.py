"""A whole build, in a process with the rights of the task's user: what it may do is what the task may do."""

import json
import os
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from tempfile import TemporaryFile
from typing import IO, Any, Final

from taskward.executor.docker.dind.build.dockerfile import Instruction, parse
from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.build.files import Files, spool
from taskward.executor.docker.dind.build.image import Config
from taskward.executor.docker.dind.build.names import names_in
from taskward.executor.docker.dind.build.site import Site
from taskward.executor.docker.dind.build.stage import Stage
from taskward.executor.docker.dind.build.words import expand, raw_words
from taskward.executor.docker.dind.errors import Refusal
from taskward.executor.docker.dind.wire import Wire
from taskward.executor.mounts.errands import Answer, serve

_PIECE_BYTES: Final = 1 << 18
_SCRATCH: Final = "scratch"
_MEMORY_BYTES: Final = 2 << 30
_LONGEST_ERROR: Final = 10_000
_CLIENT_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True)
class Order:
    """What ``POST /build`` asks for."""

    token: str
    dockerfile: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    names: Sequence[str]
    target: str
    pull: bool
    quiet: bool
    most_bytes: int


def builder(api: Path, version: str, longest_s: float) -> Callable[[socket], None]:
    """What to call as the task's user; it answers to ``build`` with the fields of an `Order`, and to ``names``.

    Received are where to read the context, and where to write the messages for the client. `api` is the task's own
    Docker socket, in a directory for files without a name. The answer has the image's id as ``image``, or why there is
    none as ``error``.
    """
    home = api.parent

    def build(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        context, output = received
        confine(home)
        with os.fdopen(os.dup(output), "wb", buffering=0) as told:
            site = Site(Wire(f"unix://{api.name}", version, _CLIENT_TIMEOUT_S), request["token"])
            try:
                return {"image": Build(Order(**request), site, told, home).run(context), "error": ""}, ()
            except (BuildFailed, Refusal, OSError, MemoryError) as error:
                return {"image": "", "error": str(error)[:_LONGEST_ERROR] or type(error).__name__}, ()

    def names(_request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        confine(home)
        return {"names": names_in(received[0])}, ()

    return serve({"build": build, "names": names}, longest_s)


class Build:
    """One build."""

    def __init__(self, order: Order, site: Site, told: IO[bytes], home: Path) -> None:
        self._order, self._site, self._told, self._home = order, site, told, home
        self._stages: dict[str, Stage] = {}

    def run(self, context: int) -> str:
        """The id of the image.

        Raises:
            BuildFailed, Refusal: there is none.
            OSError: there is no room.
        """
        with ExitStack() as stack:
            file = stack.enter_context(TemporaryFile(dir=self._home))
            spool(_pieces(context), file, self._order.most_bytes)
            files = Files.open(file, self._order.most_bytes, self._home)
            stack.callback(files.close)
            return self._build(parse(files.text(self._order.dockerfile)), files)

    def _build(self, steps: list[Instruction], files: Files) -> str:
        outer: dict[str, str] = {}
        stage: Stage | None = None
        if self._order.target and not any(_stage_name(each) == self._order.target.lower() for each in steps):
            raise BuildFailed(f"failed to reach build target {self._order.target} in Dockerfile")
        for number, step in enumerate(steps, start=1):
            if step.keyword == "FROM" and self._is_reached():
                break
            self._say(f"Step {number}/{len(steps)} : {step}\n")
            if step.keyword == "FROM":
                stage = self._begin(step, files, outer)
            elif stage is None:
                outer |= self._outer(step, outer)
            else:
                self._do(stage, step)
            if stage is not None:
                self._say(f" ---> {stage.image.removeprefix('sha256:')[:12]}\n")
        if stage is None:
            raise BuildFailed("the Dockerfile has no stage")
        return self._finish(stage)

    def _is_reached(self) -> bool:
        return bool(self._order.target) and self._order.target.lower() in self._stages

    def _begin(self, step: Instruction, files: Files, outer: Mapping[str, str]) -> Stage:
        base = expand(raw_words(step.text)[0], {**outer})
        image, config = self._base(base)
        stage = Stage(self._site, files, image, config, self._say, self._home, self._order.most_bytes)
        stage.given, stage.outer = self._order.arguments, outer
        self._stages[str(len({id(each) for each in self._stages.values()}))] = stage
        if name := _stage_name(step):
            self._stages[name] = stage
        for trigger in stage.triggered():
            self._say(f"# Executing build trigger: {trigger}\n")
            self._do(stage, trigger)
        return stage

    def _base(self, name: str) -> tuple[str, Config]:
        if name == _SCRATCH:
            return self._site.scratch(), Config()
        if (earlier := self._stages.get(name.lower())) is not None:
            earlier.finish()
            return self._site.image(earlier.image, fresh=False)
        return self._site.image(name, fresh=self._order.pull)

    def _do(self, stage: Stage, step: Instruction) -> None:
        try:
            stage.do(step, self._source)
        except BuildFailed as error:
            text = f"The command '{step.text}' {error}" if step.keyword == "RUN" else f"{step.keyword} failed: {error}"
            raise BuildFailed(text) from error

    def _source(self, name: str) -> str:
        """Of ``COPY --from``: an earlier stage by name or number, or an image."""
        earlier = self._stages.get(name.lower())
        return earlier.finish() if earlier is not None else self._site.image(name, fresh=False)[0]

    def _outer(self, step: Instruction, outer: Mapping[str, str]) -> dict[str, str]:
        """Arguments before the first stage are for ``FROM``."""
        found: dict[str, str] = {}
        for word in raw_words(step.text):
            name, _, default = word.partition("=")
            found[name] = self._order.arguments.get(name, expand(default, {**outer, **found}))
        return found

    def _finish(self, stage: Stage) -> str:
        stage.label(self._order.labels)
        image = stage.finish()
        for name in self._order.names:
            self._site.tag(image, name)
        if self._order.quiet:
            self._tell(stream=f"{image}\n")
        else:
            self._tell(aux={"ID": image})
            self._say(f"Successfully built {image.removeprefix('sha256:')[:12]}\n")
            for name in self._order.names:
                self._say(f"Successfully tagged {name}\n")
        return image

    def _say(self, text: str) -> None:
        if not self._order.quiet:
            self._tell(stream=text)

    def _tell(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\r\n"
        while data:
            data = data[self._told.write(data) or 0 :]


def confine(home: Path) -> None:
    """No more memory than a Dockerfile and a list of files need; paths of sockets begin here, since they are short."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    os.chdir(home)


def _stage_name(step: Instruction) -> str:
    parts = step.text.split()
    return parts[2].lower() if step.keyword == "FROM" and len(parts) == 3 and parts[1].upper() == "AS" else ""


def _pieces(file: int) -> Iterator[bytes]:
    while piece := os.read(file, _PIECE_BYTES):
        yield piece
