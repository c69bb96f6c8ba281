"""Unpacks an archive, or decompresses a file, within limits. Runs with the rights of a user that owns nothing else.

Each program is a process that may write to the target only (`confine`), has a bounded memory, and is watched while it
works: bytes written, entries, ratio, time. `bsdtar` refuses names with ``..``, takes the slash from absolute ones, and
writes through no symbolic link; set-uid bits and owners are not restored.
"""

import contextlib
import fcntl
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from taskward.core.process import die_with_parent
from taskward.executor.clone import fork_patiently
from taskward.executor.mounts import formats
from taskward.executor.mounts.confine import confine
from taskward.executor.mounts.digest import sha256_of
from taskward.executor.mounts.errands import Answer, Refused

_BSDTAR: Final = (
    "bsdtar", "-x", "-v", "-f", "-", "-b", "2048", "--no-same-owner", "--no-same-permissions", "--no-acls",
    "--no-xattrs", "--no-fflags", "--no-mac-metadata",
)  # fmt: skip
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
_MEMORY_BYTES: Final = 4 << 30
_RATIO_FROM_BYTES: Final = 64 << 20
_PIPE_BYTES: Final = 1 << 20
_TICK_MS: Final = 20
_KEPT_WORDS: Final = 4096
_MOST_LINES: Final = 3
_BEGINNING_BYTES: Final = 16


@dataclass(frozen=True)
class Limits:
    """What unpacking may make; 0 switches a limit off.

    Attributes:
        most_bytes: altogether, and of one file.
        most_ratio: bytes that are made for each byte of the archive, looked at from 64 MiB on.
        most_entries: files, directories and links.
        longest_s: how long it may take.
    """

    most_bytes: int
    most_ratio: int
    most_entries: int
    longest_s: float


def unpack(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
    """Handler: the archive `received[0]` of ``format`` into the open directory `received[1]`.

    The archive must have ``sha256``. What was unpacked is shared under that hash, so it is not enough that the process
    which talked to a server, and might have been taken over by it, told it: it is made here again, meanwhile.

    Raises:
        Refused: it cannot be unpacked, or is larger than the limits.
    """
    source, target = received
    job = _begin(request, source, target)
    os.fchdir(target)
    words, told = os.pipe2(os.O_CLOEXEC)
    entry = source
    if name := formats.separate_compression(job.format):
        entry, pipe = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a user may have used up what it may have of this memory
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        job.start(_decompressor(name), source, pipe, told, target=None)
        os.close(pipe)
    job.start(_BSDTAR, entry, told, told, target=target)
    job.written = job.written_by_last
    if entry != source:
        os.close(entry)
    os.close(told)
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(sha256_of, source)
        job.watch(words)
        if digest.result()[0] != request["sha256"]:
            raise Refused("it is not what was downloaded")
    return {"bytes": job.most_seen, "entries": job.entries}, ()


def decompress(request: Mapping[str, Any], source: int, target: int) -> None:
    """The file `source` of ``format`` into the open file `target`.

    Raises:
        Refused: it cannot be decompressed, or is larger than the limits.
    """
    job = _begin(request, source, None)
    words, told = os.pipe2(os.O_CLOEXEC)
    job.start(_decompressor(job.format), source, target, told, target=None)
    job.written = lambda: os.fstat(target).st_size
    os.close(told)
    job.watch(words)


def _begin(request: Mapping[str, Any], source: int, target: int | None) -> "_Job":
    job = _Job(request["format"], Limits(**request["limits"]), os.fstat(source).st_size)
    os.lseek(source, 0, os.SEEK_SET)
    if not formats.looks_like(job.format, os.pread(source, _BEGINNING_BYTES, 0)):
        raise Refused(f"it is not of format {job.format}")
    ending = os.pread(source, formats.ENDING_BYTES, max(0, job.source_bytes - formats.ENDING_BYTES))
    if formats.is_cut(job.format, ending):
        raise Refused(f"it is a truncated {job.format} archive")
    return job


def _decompressor(name: str) -> formats.Decompressor:
    return formats.DECOMPRESSORS[name]


@dataclass
class _Job:
    """The processes that work on one archive."""

    format: str
    limits: Limits
    source_bytes: int
    processes: dict[int, str] = field(default_factory=dict)
    written: Callable[[], int] = lambda: 0
    entries: int = 0
    most_seen: int = 0
    _words: bytes = b""
    _last: int = 0
    _unfinished: bytes = b""

    def start(self, program: formats.Decompressor, source: int, out: int, errors: int, *, target: int | None) -> None:
        """A process from `source` to `out`, allowed to change what is below `target`."""
        parent = os.getpid()
        pid = fork_patiently()
        if pid == 0:
            _become(program, source, out, errors, target, parent, self.limits)
        self.processes[pid] = program[0] if isinstance(program, tuple) else "the decompressor"
        self._last = pid

    def written_by_last(self) -> int:
        """What the process that was started last has handed to the kernel to write."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self._last}/io").read_text().splitlines()
            return int(next(line for line in lines if line.startswith("wchar:")).split()[1])
        return self.most_seen

    def watch(self, words: int) -> None:
        """Until all have ended.

        Raises:
            Refused: one failed, or a limit is reached; then none is left.
        """
        deadline = time.monotonic() + self.limits.longest_s
        poll = select.poll()
        poll.register(words, select.POLLIN)
        try:
            while not poll.poll(_TICK_MS) or self._listen(words):
                self._check(deadline)
            self._check(deadline)
            self._reap()
        finally:
            for pid in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            os.close(words)

    def _listen(self, words: int) -> bool:
        """Reads names of entries and complaints; False at the end."""
        data = os.read(words, _PIPE_BYTES)
        *lines, self._unfinished = (self._unfinished + data)[-_PIPE_BYTES:].split(b"\n")
        for line in lines:
            self.entries += line.startswith(b"x ")
            if not line.startswith(b"x ") or b": " in line:
                self._words = (self._words + line + b"\n")[-_KEPT_WORDS:]
        return bool(data)

    def _check(self, deadline: float) -> None:
        limits = self.limits
        self.most_seen = max(self.most_seen, self.written())
        if limits.most_bytes and self.most_seen > limits.most_bytes:
            raise Refused(f"it is larger than {limits.most_bytes} bytes when unpacked, the most that is allowed")
        if limits.most_entries and self.entries > limits.most_entries:
            raise Refused(f"it has more than {limits.most_entries} entries, the most that are allowed")
        allowed = max(limits.most_ratio * self.source_bytes, _RATIO_FROM_BYTES)
        if limits.most_ratio and self.most_seen > allowed:
            raise Refused(f"it becomes more than {limits.most_ratio} times larger when unpacked, as only bombs do")
        if time.monotonic() > deadline:
            raise Refused(f"unpacking takes longer than {limits.longest_s:.0f} s")

    def _reap(self) -> None:
        failed = []
        while self.processes:
            pid, name = self.processes.popitem()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code == -signal.SIGXFSZ:
                raise Refused(f"it has a file larger than {self.limits.most_bytes} bytes, the most that is allowed")
            if code and code != -signal.SIGPIPE:
                failed.append(f"{name} ended with {f'status {code}' if code > 0 else signal.Signals(-code).name}")
        if failed:
            raise Refused(f"{'; '.join(failed)}{self._complaints()}")

    def _complaints(self) -> str:
        lines = self._words.decode("utf-8", "replace").splitlines()
        lines = [line for line in lines if "Error exit delayed" not in line]
        plain = [line if line.isprintable() else line.encode("unicode_escape").decode() for line in lines[:_MOST_LINES]]
        return f": {'; '.join(plain)}"[:1000] if plain else ""


def _become(
    program: formats.Decompressor, source: int, out: int, errors: int, target: int | None, parent: int, limits: Limits
) -> NoReturn:
    """In the new process; never returns."""
    status = 1
    try:
        die_with_parent(parent)
        os.setsid()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python
            signal.signal(ignored, signal.SIG_DFL)
        _restrict(limits)
        confine(target)
        for number, descriptor in enumerate((source, out, errors)):
            os.dup2(descriptor, number)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        sys.stdout = sys.stderr = None
        if isinstance(program, tuple):
            os.execvpe(program[0], program, _ENVIRONMENT)  # noqa: S606 - no shell
        program(0, 1)
        status = 0
    except BaseException as error:  # noqa: BLE001 - this process must not return into its parent's code
        os.write(2, f"{program[0] if isinstance(program, tuple) else 'decompressor'}: {error}\n".encode())
    finally:
        os._exit(status)


def _restrict(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    if limits.most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.most_bytes, limits.most_bytes))
