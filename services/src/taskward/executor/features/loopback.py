"""A camera or a sound card that is not there: what one program of the task plays, another records."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from taskward.executor import loopback
from taskward.executor.errors import EngineFailed, MalformedPayload
from taskward.executor.features.feature import Feature, either
from taskward.executor.loopback import Loopback

_MOST_CARDS: Final = 32


class _LoopbackFeature(Feature, ABC):
    """What both have in common. The devices stay when the task has ended; the next one finds them."""

    scope: ClassVar[str]

    def scopes(self) -> Sequence[str]:
        """For this worker pool, or for all."""
        pool = self.task.settings.worker.task_queue_id
        return (either(self.task, f"{self.scope}:{pool}", self.scope),)

    @abstractmethod
    def device(self) -> Loopback:
        """What is wanted."""

    def start(self) -> None:
        """Provides the device; a machine without the kernel's module is the wrong one for this task."""
        task, device = self.task, self.device()
        try:
            device.provide()
        except EngineFailed as error:
            raise MalformedPayload(
                f"This task requires feature {self.key}, which this worker cannot provide: {error}. Create the task "
                f"for a worker pool that has it, or install {device.module} on this one"
            ) from error
        if not {device.group, "docker"} & {*task.payload.os_groups}:
            task.log.warn(
                f"The devices of feature {self.key} are accessible to group '{device.group}'; the task is not in it. "
                f"Consider adding '{device.group}' to payload.osGroups."
            )


class LoopbackVideo(_LoopbackFeature):
    """``features.loopbackVideo``; ``TASKCLUSTER_VIDEO_DEVICE`` is the device."""

    name = "Loopback Video"
    key = "loopbackVideo"
    switch = "enable_loopback_video"
    scope = "generic-worker:loopback-video"

    def device(self) -> Loopback:
        """One camera."""
        return loopback.video(self.task.settings.executor.loopback_video_device_number)

    def start(self) -> None:
        """And says where it is."""
        super().start()
        path = self.device().files[0]
        self.task.environment["TASKCLUSTER_VIDEO_DEVICE"] = str(path)
        self.task.log.info(f"Loopback video device is available at {path}")


class LoopbackAudio(_LoopbackFeature):
    """``features.loopbackAudio``."""

    name = "Loopback Audio"
    key = "loopbackAudio"
    switch = "enable_loopback_audio"
    scope = "generic-worker:loopback-audio"

    def device(self) -> Loopback:
        """One card."""
        return loopback.audio(self.task.settings.executor.loopback_audio_device_number)

    def start(self) -> None:
        """A number that the kernel cannot give is the worker's mistake."""
        number = self.task.settings.executor.loopback_audio_device_number
        if not 0 <= number < _MOST_CARDS:
            raise EngineFailed(
                f"[executor] loopback_audio_device_number must be 0 to {_MOST_CARDS - 1} for a sound card, not {number}"
            )
        super().start()
