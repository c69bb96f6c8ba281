"""A phone of a device cloud, which the task reserves and releases at ``http://testdroid``."""

import json
import time
from collections.abc import Iterator
from typing import Final

from taskward.executor.docker.features.upstream import UpstreamFeature
from taskward.executor.proxy_control import ProxyControl

_RELEASE_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.5


class TestdroidProxy(UpstreamFeature):
    """``features.testdroidProxy``: needs ``capabilities.devices.phone``, which the task finds in its environment."""

    __test__ = False  # pytest, this is no test

    name = "Testdroid Proxy"
    key = "testdroidProxy"
    default_alias = "testdroid"
    failure = "Failed to initialize testdroid proxy service."

    def flaws(self) -> Iterator[str]:
        """The phone must be described."""
        yield from super().flaws()
        if not self.wanted.devices and self.wanted.phone is None:
            yield "Device configuration must be supplied in task payload"
        elif self.wanted.phone is None:
            yield "Phone device configuration must be supplied in task payload"

    def start(self) -> None:
        """The task is told what it has asked for."""
        super().start()
        self.engine.outfit.environment["DEVICE_CAPABILITIES"] = json.dumps(self.wanted.phone)

    def stop(self) -> None:
        """The phone goes back, whatever the task has done; if it cannot, the proxy sees to it later."""
        control = ProxyControl(self.task.settings.others.get("proxy", {}))
        for _ in range(_RELEASE_ATTEMPTS - 1):
            if not control.end(self.task.run):
                return
            time.sleep(_PAUSE_S)
        if problem := control.end(self.task.run):
            self.task.log.warn(f"The device of this task could not be released yet: {problem}")
