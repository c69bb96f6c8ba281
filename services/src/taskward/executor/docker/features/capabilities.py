"""More rights than containers usually have: each with a scope and a switch of the worker, which `rights` looks at."""

from pathlib import Path
from typing import Final

from taskward.executor.docker.features.container_feature import ContainerFeature

APPARMOR: Final = Path("/sys/module/apparmor/parameters/enabled")


class Capabilities(ContainerFeature):
    """``payload.capabilities.privileged`` and ``.disableSeccomp``."""

    name = "Capabilities"

    def requested(self) -> bool:
        """When there are any."""
        return self.wanted.privileged or self.wanted.disable_seccomp

    def start(self) -> None:
        """Gives them to the container."""
        self.engine.outfit.privileged = self.wanted.privileged
        if self.wanted.disable_seccomp:
            self.engine.outfit.security.append("seccomp=unconfined")


class AllowPtrace(ContainerFeature):
    """``features.allowPtrace``: processes of other users in the same container may be traced."""

    name = "Allow ptrace"
    key = "allowPtrace"

    def start(self) -> None:
        """The kernel's capability; the usual profile of AppArmor forbids it all the same, where there is AppArmor."""
        self.engine.outfit.capabilities.append("SYS_PTRACE")
        profile = self.task.settings.docker.apparmor_profile
        if profile and APPARMOR.exists() and APPARMOR.read_text().startswith("Y"):
            self.engine.outfit.security.append(f"apparmor={profile}")
