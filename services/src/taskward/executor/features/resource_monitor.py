"""Memory and processor time of the task while its commands run; ends it before the machine runs out of memory.

Samples are taken by the wait for the commands, not beside it: each half second, and so seldom that they never cost more
than a hundredth of a processor. The time series is published when the payload itself asks for the feature; by default
a task has the lines in its log only.
"""

import json
import time
from collections.abc import Sequence
from typing import Final

from taskward.core.outcome import Outcome, failed
from taskward.executor.features.feature import Feature
from taskward.executor.features.own_file import OwnFile
from taskward.executor.memory import Machine, Pressure, Sample, Series, Stretch
from taskward.executor.task import Task

ARTIFACT: Final = OwnFile("public/monitoring/resources.json", "resources.json", "application/json")
PERIOD_S: Final = 0.45  # a little less than a tick of `Watch`
_SHARE: Final = 0.01
_FIELDS: Final = ("seconds", "availableMemoryBytes", "taskMemoryBytes", "taskCpuSeconds")


class ResourceMonitor(Feature):
    """``features.resourceMonitor``, on by default."""

    name = "Resource Monitor"
    key = "resourceMonitor"
    switch = "enable_resource_monitor"
    publishes = True

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        told = task.settings.executor
        self._pressure = Pressure(
            told.max_memory_usage_percent, told.min_available_memory_bytes, told.allowed_high_memory_duration_s
        )
        self._stretch, self._series = Stretch(), Series()
        self._began_s = self._next_s = 0.0
        self._warned = False

    def reserved(self) -> Sequence[str]:
        """The time series, if it was asked for."""
        return (ARTIFACT.name,) if self.key in self.task.payload.asked else ()

    def start(self) -> None:
        """Attaches itself to the wait for the commands, and to the block of lines after each."""
        try:
            Machine.read()
        except (OSError, KeyError, ValueError) as error:
            self.task.log.warn(f"The memory of this machine cannot be read, nothing is monitored: {error}")
            return
        self._began_s = time.monotonic()
        self.task.used = self._stretch.take
        if self.task.watch is not None:
            self.task.watch.observe(self._look)

    def stop(self) -> None:
        """Publishes the time series."""
        if not self.reserved():
            return
        if self._series.samples:
            ARTIFACT.write(self.task, json.dumps(self._document()).encode())
        ARTIFACT.publish(self.task)

    def _look(self) -> Outcome | None:
        """Takes a sample when it is time, and at least one for each command."""
        began_s = time.monotonic()
        if began_s < self._next_s and not self._stretch.is_empty:
            return None
        cost_s = -time.thread_time()
        sample = Sample(began_s - self._began_s, Machine.read(), self.task.engine.usage())
        self._stretch.add(sample)
        self._series.add(sample)
        outcome = self._judge(sample)
        cost_s += time.thread_time()
        self._next_s = began_s + max(PERIOD_S, cost_s / _SHARE)
        return outcome

    def _judge(self, sample: Sample) -> Outcome | None:
        if not self._pressure.is_lasting(sample):
            self._warned = False
            return None
        told = self.task.settings.executor
        if not self._warned:
            self._warned = True
            for_s = f"{told.allowed_high_memory_duration_s:g}s"
            self.task.log.warn(f"Memory {self._pressure} persisted for over {for_s}!")
            if told.disable_oom_protection:
                self.task.log.warn("OOM protections are disabled, continuing task...")
            elif self._is_small(sample):
                self.task.log.warn("This task uses little of it, continuing task...")
        if told.disable_oom_protection or self._is_small(sample):
            return None
        return failed(f"task aborted due to sustained memory {self._pressure}")

    def _is_small(self, sample: Sample) -> bool:
        """Whether, with other tasks beside it, this one uses less than half of its share: they are the cause."""
        capacity = self.task.settings.worker.capacity
        used = sample.task.memory_bytes
        return capacity > 1 and used is not None and used * 2 * capacity < sample.machine.total_bytes

    def _document(self) -> dict[str, object]:
        samples = self._series.samples
        rows = [
            (round(each.at_s, 3), each.machine.available_bytes, each.task.memory_bytes, each.task.cpu_s)
            for each in samples
        ]
        return {"version": 1, "totalMemoryBytes": samples[-1].machine.total_bytes, "fields": _FIELDS, "samples": rows}
