"""What claimer, executors and uploaders count, in one small file for each process; none of them serves HTTP.

``<state_dir>/metrics/<role>/<process>.prom`` holds the process's series in the text format of Prometheus, all of them
from its start. The directory belongs to the role's own user, so each role can speak for itself only, and `series` lets
nothing through but the names and labels that are listed here.
"""

import contextlib
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from taskward.core.outcome import EXCEPTION_REASONS

LARGEST_BYTES: Final = 1 << 16
_LINE: Final = re.compile(r"([a-z_]+)(?:\{[a-z]+=\"([a-z0-9-]+)\"\})? ([0-9]{1,18}(?:\.[0-9]{1,6})?)")
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9_-]")

Key = tuple[str, str]
"""A metric's short name, and the value of its label or nothing."""


@dataclass(frozen=True)
class Metric:
    """One metric: ``taskward_<role>_<name>``, with a series for each of `values` of `label`, if it has one."""

    name: str
    kind: Literal["counter", "gauge"]
    text: str
    label: str = ""
    values: tuple[str, ...] = ("",)


_ENDS: Final = ("completed", "failed", *sorted(EXCEPTION_REASONS), "unreported")

METRICS: Final[Mapping[str, tuple[Metric, ...]]] = {
    "claimer": (
        Metric("runs", "gauge", "Runs in hand now."),
        Metric("draining", "gauge", "1 while nothing more is claimed, from `taskward drain` to its --undo."),
        Metric("claims_total", "counter", "Runs that were claimed."),
        Metric("claim_errors_total", "counter", "Failed requests for work.", "reason", ("unreachable", "refused")),
        Metric("renewals_total", "counter", "Claims renewed, or not.", "result", ("renewed", "unreachable", "refused")),
        Metric("lost_total", "counter", "Runs that the queue took from us: cancelled, or over in another way."),
        Metric("resolved_total", "counter", "Runs resolved, by how.", "reason", _ENDS),
        Metric("orphans_total", "counter", "Jobs of dead processes that were given back."),
    ),
    "executor": (
        Metric("busy", "gauge", "1 while a run is carried out."),
        Metric("runs_total", "counter", "Runs handed over to the uploaders, by outcome.", "reason", _ENDS),
        Metric("phase_seconds_total", "counter", "Time spent on them.", "phase", ("prepare", "run", "collect")),
        Metric("adopted_total", "counter", "Runs taken over from processes that had died."),
    ),
    "uploader": (
        Metric("busy", "gauge", "1 while files are sent."),
        Metric("batches_total", "counter", "Batches of artifacts dealt with."),
        Metric("files_total", "counter", "Artifacts with content that were sent, logs included."),
        Metric("bytes_total", "counter", "Their bytes."),
        Metric("lost_total", "counter", "Artifacts that could not be sent."),
        Metric("retries_total", "counter", "Requests to queue or storage that were repeated."),
        Metric("seconds_total", "counter", "Time spent on batches."),
        Metric("signer_waits_total", "counter", "Times that a run had to wait because the signer was away."),
    ),
}


def keys(role: str) -> Iterator[Key]:
    """All series of a role."""
    return ((metric.name, value) for metric in METRICS[role] for value in metric.values)


class Metrics:
    """The series of one process, in `path` (nowhere without one); safe between threads.

    The file is the state: it is read before it is written, so counters survive the process, and a job process may count
    for the process that forked it, while that one waits. A file that cannot be written costs the counts, nothing else.
    """

    def __init__(self, role: str, path: Path | None = None) -> None:
        self._role, self._path = role, path
        self._lock = threading.Lock()
        self._added: dict[Key, float] = {}
        self._gauges: dict[Key, float] = {}

    @classmethod
    def of_process(cls, role: str, state_dir: Path, slot: str = "") -> "Metrics":
        """Those of this process, or of one slot of it, by the name that the supervisor or the container gave it.

        All gauges are at rest.
        """
        name = (os.environ.get("SUPERVISOR_PROCESS_NAME") or socket.gethostname()) + slot
        metrics = cls(role, state_dir / "metrics" / role / f"{_UNUSUAL.sub('-', name)[:64]}.prom")
        for metric in METRICS[role]:
            if metric.kind == "gauge":
                metrics.set(metric.name, 0)
        metrics.write()
        return metrics

    def add(self, name: str, by: float = 1, label: str = "") -> None:
        """Counts, to be written with the next `write`."""
        with self._lock:
            self._added[name, label] = self._added.get((name, label), 0) + by

    def set(self, name: str, value: float) -> None:
        """Sets a gauge, to be written with the next `write`."""
        with self._lock:
            self._gauges[name, ""] = value

    def count(self, name: str, by: float = 1, label: str = "") -> None:
        """`add` and `write`."""
        self.add(name, by, label)
        self.write()

    def write(self) -> None:
        """Brings the file up to date, in one step for whoever reads it."""
        if self._path is None:
            return
        with self._lock, contextlib.suppress(OSError):
            values = {**dict.fromkeys(keys(self._role), 0.0), **self._stored(), **self._gauges}
            for key, by in self._added.items():
                values[key] = values.get(key, 0) + by
            draft = self._path.with_name(f".{self._path.name}")
            draft.write_text("".join(f"{line}\n" for line in lines(self._role, values)))
            draft.chmod(0o644)
            draft.replace(self._path)
            self._added.clear()

    def _stored(self) -> Mapping[Key, float]:
        """What the last life left; nothing where that cannot be used."""
        try:
            return series(self._role, self._path.read_text() if self._path else "")
        except (OSError, ValueError):
            return {}


def lines(role: str, values: Mapping[Key, float], process: str = "") -> Iterator[str]:
    """The series as text, one line each, in the order of the table."""
    for metric in METRICS[role]:
        for value in metric.values:
            labels = {metric.label: value} if metric.label else {}
            if process:
                labels["process"] = process
            inner = ",".join(f'{name}="{text}"' for name, text in labels.items())
            number = values.get((metric.name, value), 0)
            shown = f"{number:.6f}".rstrip("0").rstrip(".")
            yield f"taskward_{role}_{metric.name}{f'{{{inner}}}' if inner else ''} {shown}"


def series(role: str, text: str) -> dict[Key, float]:
    """The values in a process's file.

    Raises:
        ValueError: there is something in it that this role does not count, or no number.
    """
    known, found = set(keys(role)), {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        key = (match[1].removeprefix(f"taskward_{role}_"), match[2] or "") if match else ("", "")
        if match is None or key not in known or not match[1].startswith(f"taskward_{role}_"):
            raise ValueError(f"not a series of {role}: {line[:80]!r}")
        found[key] = float(match[3])
    return found
