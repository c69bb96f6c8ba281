"""Devices of this host in the container: cameras and sound cards for one task at a time, others for all."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from taskward.core.outcome import exception
from taskward.executor import loopback
from taskward.executor.docker import slots
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind
from taskward.executor.docker.slots import Slot
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.loopback import Loopback
from taskward.executor.task import Task

_PAUSE_S: Final = 0.2
_LOCKS: Final = "locks/devices"


class ContainerDevices(ContainerFeature):
    """``payload.capabilities.devices``; their scopes are looked at by `rights`, the phone is `testdroid`'s."""

    name = "Devices"
    directory: ClassVar[Path] = Path("/dev")

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._slots: list[Slot] = []

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.wanted.devices - {"phone"})

    def start(self) -> None:
        """Takes them; a task waits for a device that another task has.

        Raises:
            TaskEnded: this machine has none, or the run must stop.
        """
        told, outfit, dev = self.task.settings.executor, self.engine.outfit, self.directory
        for device in sorted(self.wanted.devices):
            match device:
                case "loopbackVideo":
                    kernel = loopback.video(told.loopback_video_device_number, dev)
                    number = self._take(device, lambda: _numbers(dev, r"video(\d+)"), kernel)
                    outfit.devices.append(str(dev / f"video{number}"))
                    outfit.environment["TASKCLUSTER_VIDEO_DEVICE"] = str(dev / f"video{number}")
                case "loopbackAudio":
                    kernel = loopback.audio(told.loopback_audio_device_number, dev)
                    number = self._take(device, lambda: _numbers(dev / "snd", r"controlC(\d+)"), kernel)
                    outfit.devices += [str(path) for path in loopback.audio(int(number), dev).files]
                case "kvm":
                    outfit.devices.append(str(self._existing("kvm")))
                case "hostSharedMemory":
                    outfit.binds.append(Bind(self._existing("shm"), "/dev/shm"))  # noqa: S108 - what is asked for

    def stop(self) -> None:
        """Gives them back."""
        for slot in self._slots:
            slot.close()
        self._slots = []

    def _existing(self, name: str) -> Path:
        path = self.directory / name
        if not path.exists():
            raise _unavailable(f"this machine has no {path}")
        return path

    def _take(self, kind: str, numbers: Callable[[], list[str]], kernel: Loopback) -> str:
        """A number that nobody has."""
        if not numbers():
            try:
                kernel.provide()
            except EngineFailed as error:
                raise _unavailable(f"this machine has no device for {kind}: {error}") from error
        while True:
            slot = slots.take(self.task.layout.state_dir / _LOCKS, [f"{kind}-{each}" for each in numbers()])
            if slot is not None:
                self._slots.append(slot)
                return slot.name.rpartition("-")[2]
            if self.task.watch is not None:
                self.task.watch.check()
            time.sleep(_PAUSE_S)


def _numbers(directory: Path, pattern: str) -> list[str]:
    if not directory.is_dir():
        return []
    found = (re.fullmatch(pattern, path.name) for path in directory.iterdir())
    return sorted((match[1] for match in found if match), key=int)


def _unavailable(text: str) -> TaskEnded:
    return TaskEnded(exception("resource-unavailable", f"payload.capabilities.devices: {text}"))
