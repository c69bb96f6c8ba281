"""The machine's memory, and what a task and the machine used of it over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from taskward.executor.engine import Usage

MOST_SAMPLES: Final = 2000
_MEMINFO: Final = Path("/proc/meminfo")
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


@dataclass(frozen=True)
class Machine:
    """How much memory there is, and how much of it programs could have now."""

    total_bytes: int
    available_bytes: int

    @property
    def used_bytes(self) -> int:
        """What is not available."""
        return self.total_bytes - self.available_bytes

    @classmethod
    def read(cls, meminfo: Path = _MEMINFO) -> "Machine":
        """As the kernel tells.

        Raises:
            OSError, KeyError, ValueError: it tells nothing of the kind.
        """
        with meminfo.open("rb") as file:
            lines = dict(line.split(b":") for line in file.read().splitlines()[:3])
        return cls(*(int(lines[name].split()[0]) * 1024 for name in (b"MemTotal", b"MemAvailable")))


@dataclass(frozen=True)
class Sample:
    """One look; `at_s` counts from the first one."""

    at_s: float
    machine: Machine
    task: Usage


class Stretch:
    """Averages and peaks of the samples since the last time they were asked for."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._count = self._available_bytes = self._used_bytes = self._peak_bytes = self._total_bytes = 0
        self._task_peak_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is no sample yet."""
        return self._count == 0

    def add(self, sample: Sample) -> None:
        """One more."""
        machine, task_bytes = sample.machine, sample.task.memory_bytes
        self._count += 1
        self._available_bytes += machine.available_bytes
        self._used_bytes += machine.used_bytes
        self._peak_bytes = max(self._peak_bytes, machine.used_bytes)
        self._total_bytes = machine.total_bytes
        if task_bytes is not None:
            self._task_peak_bytes = max(self._task_peak_bytes, task_bytes)

    def take(self) -> Mapping[str, str]:
        """The lines that generic-worker writes after a command, and one about the task if it was seen; begins anew."""
        if self.is_empty:
            return {}
        rows = {
            "Average Available System Memory": size(self._available_bytes / self._count),
            "Average System Memory Used": size(self._used_bytes / self._count),
            "Peak System Memory Used": size(self._peak_bytes),
            "Total System Memory": size(self._total_bytes),
        }
        if self._task_peak_bytes:  # a command may be over before the first sample
            rows["Peak Task Memory Used"] = size(self._task_peak_bytes)
        self._begin()
        return rows


class Series:
    """All samples of a run, evenly thinned out when there are too many."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._every = 1
        self._seen = 0

    def add(self, sample: Sample) -> None:
        """One more."""
        if self._seen % self._every == 0:
            self._samples.append(sample)
        self._seen += 1
        if len(self._samples) > MOST_SAMPLES:
            self._samples, self._every = self._samples[::2], self._every * 2

    @property
    def samples(self) -> Sequence[Sample]:
        """What is kept."""
        return self._samples


class Pressure:
    """Whether memory has been short for too long.

    Args:
        most_percent: of the machine's memory; more than that is used, and
        least_bytes: less than that is available,
        longest_s: for longer than that: then it is.
    """

    def __init__(self, most_percent: float, least_bytes: int, longest_s: float) -> None:
        self._most_percent, self._least_bytes, self._longest_s = most_percent, least_bytes, longest_s
        self._since_s: float | None = None

    def __str__(self) -> str:
        return f"usage above {self._most_percent:g}% and available memory less than {size(self._least_bytes)}"

    def is_lasting(self, sample: Sample) -> bool:
        """With one more sample."""
        machine = sample.machine
        is_high = machine.used_bytes * 100 > self._most_percent * machine.total_bytes
        if not is_high or machine.available_bytes >= self._least_bytes:
            self._since_s = None
            return False
        self._since_s = sample.at_s if self._since_s is None else self._since_s
        return sample.at_s - self._since_s > self._longest_s


def size(size_bytes: float) -> str:
    """``1.50 GiB``: two decimals, powers of 1024."""
    for unit, name in _UNITS:
        if size_bytes >= unit:
            return f"{size_bytes / unit:.2f} {name}"
    return f"{size_bytes:.2f} B"
