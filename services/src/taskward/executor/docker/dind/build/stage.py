"""One stage of a build: from ``FROM`` to the next, instruction by instruction."""

import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from taskward.executor.docker.dind.build.clauses import health, number, pairs, port, trigger
from taskward.executor.docker.dind.build.dockerfile import Instruction, instruction
from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.build.files import Files, Owner, Source, archive, directories, is_archive
from taskward.executor.docker.dind.build.image import Config
from taskward.executor.docker.dind.build.site import Site
from taskward.executor.docker.dind.build.words import expand, raw_words, words

_SHELL: Final = ("/bin/sh", "-c")
_PIECE_BYTES: Final = 1 << 18
_WILD: Final = re.compile(r"[*?\[]")
_URL: Final = re.compile(r"(https?|git|ftp)://|git@")

Say = Callable[[str], None]


class Stage:
    """`image` and `config` are what it has come to; `finish` makes one image of them."""

    def __init__(self, site: Site, files: Files, image: str, config: Config, say: Say, scratch: Path,
                 most_bytes: int) -> None:  # fmt: skip
        self._site, self._files, self._say = site, files, say
        self._scratch, self._most_bytes = scratch, most_bytes
        self.image, self.config = image, config
        self.arguments: dict[str, str] = {}
        self.given: Mapping[str, str] = {}
        self.outer: Mapping[str, str] = {}
        self._is_committed = True
        self._has_command = False

    def triggered(self) -> Iterator[Instruction]:
        """What the image below has for its children; they have it no longer."""
        triggers, self.config.triggers = self.config.triggers, []
        self._is_committed = not triggers and self._is_committed
        yield from map(instruction, triggers)

    def finish(self) -> str:
        """The id of the image."""
        if not self._is_committed:
            self.image = self._site.commit(self._site.container(self.image, self.config), self.config)
            self._is_committed = True
        return self.image

    def label(self, labels: Mapping[str, str]) -> None:
        """Beside those of the Dockerfile."""
        self.config.labels |= labels
        self._is_committed = self._is_committed and not labels

    def do(self, step: Instruction, source: Callable[[str], str]) -> None:
        """One instruction; `source` tells the image that ``--from`` means.

        Raises:
            BuildFailed, Refusal: it cannot be done.
        """
        match step.keyword:
            case "RUN":
                self._run(step)
            case "COPY" | "ADD":
                self._copy(step, source)
            case "ARG":
                self._declare(step)
            case _:
                self._set(step)
                self._is_committed = False

    @property
    def variables(self) -> dict[str, str]:
        """What ``$NAME`` means now."""
        return {**self.arguments, **self.config.environment}

    def _run(self, step: Instruction) -> None:
        container = self._site.container(self.image, self.config, self._argv(step))
        for text in self._site.run(container):
            self._say(text)
        self._commit(container, step)

    def _argv(self, step: Instruction) -> list[str]:
        """Arguments of the build are variables of the command, and do not stay in the image."""
        own = {name: value for name, value in self.arguments.items() if name not in self.config.environment}
        exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in own.items())
        shell = list(self.config.shell or _SHELL)
        if step.argv is None and (shell[-1] == "-c" or not exports):
            return [*shell, exports + step.text]
        argv = list(step.argv) if step.argv is not None else [*shell, step.text]
        return [*_SHELL, f'{exports}exec "$@"', "sh", *argv] if exports else argv

    def _declare(self, step: Instruction) -> None:
        for word in raw_words(step.text):
            name, has_default, default = word.partition("=")
            if name in self.given:
                self.arguments[name] = self.given[name]
            elif has_default:
                self.arguments[name] = expand(default, self.variables)
            elif name in self.outer:
                self.arguments[name] = self.outer[name]

    def _set(self, step: Instruction) -> None:
        config, variables = self.config, self.variables
        match step.keyword:
            case "ENV":
                config.environment |= pairs(step.text, variables)
            case "LABEL":
                config.labels |= pairs(step.text, variables)
            case "MAINTAINER":
                config.labels["maintainer"] = step.text
            case "USER":
                config.user = expand(step.text, variables)
            case "WORKDIR":
                config.directory = posixpath.normpath(
                    posixpath.join("/", config.directory, expand(step.text, variables))
                )
            case "EXPOSE":
                config.ports += [port(each) for each in words(step.text, variables)]
            case "VOLUME":
                listed = step.argv if step.argv is not None else words(step.text, variables)
                config.volumes += [expand(each, variables) for each in listed]
            case "STOPSIGNAL":
                config.stop_signal = expand(step.text, variables)
            case "SHELL":
                config.shell = list(step.argv or _refuse("SHELL requires the arguments to be in JSON form"))
            case "CMD":
                config.command, self._has_command = self._command(step), True
            case "ENTRYPOINT":
                config.entrypoint = self._command(step)
                config.command = config.command if self._has_command else None  # the image's was for its own
            case "HEALTHCHECK":
                config.health = health(step)
            case "ONBUILD":
                config.triggers.append(str(trigger(step.text)))
            case other:
                raise BuildFailed(f"{other} is not known here")

    def _command(self, step: Instruction) -> list[str]:
        return list(step.argv) if step.argv is not None else [*(self.config.shell or _SHELL), step.text]

    def _copy(self, step: Instruction, source: Callable[[str], str]) -> None:
        listed = step.argv if step.argv is not None else tuple(raw_words(step.text))
        *sources, target = [expand(each, self.variables) for each in listed]
        if not sources:
            raise BuildFailed(f"{step.keyword} requires at least two arguments")
        if url := next((each for each in sources if _URL.match(each)), ""):
            raise BuildFailed(f"{step.keyword} {url}: nothing is fetched from here; use RUN with wget or curl")
        container = self._site.container(self.image, self.config)
        place = posixpath.join("/", self.config.directory, target)
        owner = self._owner(container, expand(step.flags.get("chown", ""), self.variables))
        if "from" in step.flags:
            other = self._site.container(source(expand(step.flags["from"], self.variables)), Config())
            paths = [path for each in sources for path in self._paths(other, each)]
            for path in paths:
                self._copy_from(container, other, path, place, len(paths) > 1, owner)
            self._site.remove(other)
        else:
            self._copy_files(container, step.keyword, sources, place, owner)
        self._commit(container, step)

    def _copy_files(self, container: str, keyword: str, sources: list[str], place: str, owner: Owner) -> None:
        found = [source for each in sources for source in self._files.matching(each)]
        if 0 < self._most_bytes < sum(self._files.size_bytes(source.path) for source in found):
            raise BuildFailed(f"that is more than {self._most_bytes} bytes ([docker] dind_max_bytes)")
        for source in found:
            content = self._files.open_file(source.path) if keyword == "ADD" else None
            if content is not None and is_archive(content):
                self._unpack(container, content, place)
            else:
                self._put(container, self._files, source, place, len(found) > 1, owner)

    def _paths(self, other: str, pattern: str) -> list[str]:
        """What it means in another container."""
        path = posixpath.normpath(posixpath.join("/", pattern))
        parts = path.split("/")
        first = next((number for number, part in enumerate(parts) if _WILD.search(part)), None)
        if first is None:
            return [path]
        parent = "/".join(parts[:first]) or "/"
        with self._fetched(other, parent) as files:
            top = posixpath.basename(parent)
            names = files.names(posixpath.join(top, *parts[first:]))
            return [posixpath.join(parent, name[len(top) :].lstrip("/")) for name in names]

    def _copy_from(self, container: str, other: str, path: str, place: str, several: bool, owner: Owner) -> None:
        real = self._site.real(other, path)
        with self._fetched(other, real) as files:
            source = Source(posixpath.basename(real), posixpath.basename(path))
            self._put(container, files, source, place, several, owner)

    @contextmanager
    def _fetched(self, other: str, path: str) -> Iterator[Files]:
        """From another container; what the daemon packs has one name at its top, the last part of the path."""
        with TemporaryFile(dir=self._scratch) as file:
            self._site.fetch(other, path, file, self._most_bytes)
            yield Files.open(file, self._most_bytes, self._scratch)

    def _put(self, container: str, files: Files, source: Source, place: str, several: bool, owner: Owner) -> None:
        """A directory's content, or a file, under its own name where `place` is a directory."""
        is_directory = files.is_directory(source.path)
        into = place.endswith(("/", "/.")) or several or self._site.is_directory(container, place) is True
        target = posixpath.join(place, source.name) if into and not is_directory else place
        target = posixpath.normpath(target)
        self._make(container, self._site.missing_above(container, target))
        exists = is_directory and self._site.is_directory(container, target) is True
        found = files.below(source.path, target)
        entries = ((each, content) for each, content in found if not exists or each.name != target)
        top = directories([target]) if not source.path and not exists else ()
        self._site.put(container, archive(chain(top, entries), owner))

    def _make(self, container: str, names: list[str]) -> None:
        """Directories with the usual owner and mode."""
        if names:
            self._site.put(container, archive(directories(names), None))

    def _unpack(self, container: str, content: IO[bytes], place: str) -> None:
        missing = self._site.missing_above(container, posixpath.join(posixpath.normpath(place), "x"))
        self._make(container, missing)
        self._site.put(container, iter(lambda: content.read(_PIECE_BYTES), b""), posixpath.normpath(place))

    def _commit(self, container: str, step: Instruction) -> None:
        self.image = self._site.commit(container, self.config, str(step))
        self._is_committed = True

    def _owner(self, container: str, text: str) -> Owner:
        """``user:group``, by number or by the image's own names; root where nothing is said."""
        user, _, group = text.partition(":")
        if not user:
            return Owner(0, 0)
        found = self._lookup(container, "/etc/passwd", user)
        uid = int(found[2]) if found else number(user)
        if not group:
            return Owner(uid, int(found[3]) if found else uid)
        groups = self._lookup(container, "/etc/group", group)
        return Owner(uid, int(groups[2]) if groups else number(group))

    def _lookup(self, container: str, path: str, name: str) -> list[str]:
        if name.isdigit():
            return []
        lines = (line.split(":") for line in self._site.small_file(container, path).splitlines())
        return next((line for line in lines if line[0] == name and len(line) > 3 - (path == "/etc/group")), [])


def _refuse(why: str) -> Iterable[str]:
    raise BuildFailed(why)
