"""From what a task asks for to a session with a phone."""

import random
from collections.abc import Callable
from typing import Any, Final

from taskward.proxy.devices.cloud import CloudError, Device, DeviceCloud
from taskward.proxy.devices.wish import Wish
from taskward.proxy.named.settings import DeviceCloudSettings

_FLASH_ATTEMPTS: Final = 2
_SESSION_ATTEMPTS: Final = 5
_PORT_ATTEMPTS: Final = 30
_FINISHED: Final = "FINISHED"
_WAITING: Final = "WAITING"
PORTS: Final = ("adb", "marionette")


class Reservation:
    """One attempt to get a phone, for one thread.

    `pause` waits so many seconds; it raises when nobody waits for the phone any more. `signed` makes a URL of
    Taskcluster one that the cloud can fetch.
    """

    def __init__(
        self,
        cloud: DeviceCloud,
        settings: DeviceCloudSettings,
        pause: Callable[[float], None],
        signed: Callable[[str], str],
    ) -> None:
        self._cloud = cloud
        self._settings = settings
        self._pause = pause
        self._signed = signed

    def open(self, wish: Wish) -> tuple[dict[str, Any], Device]:
        """A session and its phone; flashes one when none has the build. CloudError when there is none to be had."""
        device = self._free(wish) or self._flash(wish)
        return self._session(device), device

    def ports(self, session: int) -> dict[str, Any]:
        """How the phone is reached: for each of `PORTS` what the cloud says. CloudError when it says nothing."""
        return {kind: self._port(kind, session) for kind in PORTS}

    def _free(self, wish: Wish) -> Device | None:
        labels = [self._cloud.label(group, label) for group, label in wish.labels.items()]
        known = [label for label in labels if label is not None]
        return _any_free(self._cloud.devices(known)) if len(known) == len(labels) else None

    def _flash(self, wish: Wish) -> Device:
        for _ in range(_FLASH_ATTEMPTS):
            if self._flash_once(wish) and (device := self._appearing(wish)):
                return device
        raise CloudError(f"no device of type {wish.type} could be flashed with {wish.build}")

    def _flash_once(self, wish: Wish) -> bool:
        cloud = self._cloud
        label = cloud.label("Codename", wish.type)
        device = _any_free(cloud.devices([label])) if label is not None else None
        if device is None:
            raise CloudError(f"no device of type {wish.type} is free")
        project = cloud.project(self._settings.flash_project)
        parameters = {
            "FLAME_ZIP_URL": self._signed(wish.build),
            "MEM_TOTAL": wish.memory,
            "BUILD_LABEL": wish.build_label,
        }
        run = cloud.create_run(project, parameters)
        state = ""
        try:
            cloud.start_run(project, run, device.id)
            state = self._finished(project, run)
        finally:
            if state != _FINISHED:
                cloud.abort_run(project, run)
        return state == _FINISHED

    def _finished(self, project: int, run: int) -> str:
        state = _WAITING
        for _ in range(self._tries()):
            state = self._cloud.run_state(project, run)
            if state == _FINISHED:
                return state
            self._pause(self._settings.poll_s)
        return state

    def _appearing(self, wish: Wish) -> Device | None:
        for _ in range(self._tries()):
            if device := self._free(wish):
                return device
            self._pause(self._settings.poll_s)
        return None

    def _tries(self) -> int:
        return max(1, round(self._settings.flash_timeout_s / self._settings.poll_s))

    def _session(self, device: Device) -> dict[str, Any]:
        for _ in range(_SESSION_ATTEMPTS - 1):
            try:
                return self._cloud.open_session(device.id)
            except CloudError:
                self._pause(self._settings.session_pause_s)
        return self._cloud.open_session(device.id)

    def _port(self, kind: str, session: int) -> dict[str, Any]:
        for _ in range(_PORT_ATTEMPTS):
            if found := self._cloud.ports(kind, session):
                return found[0]
            self._pause(self._settings.proxy_pause_s)
        raise CloudError(f"the device cloud opened no {kind} port for session {session}")


def _any_free(devices: list[Device]) -> Device | None:
    free = [device for device in devices if device.free]
    return random.choice(free) if free else None  # noqa: S311 - nothing to guess
