"""A shell in the running container."""

from typing import Any, Final

from taskward.executor.docker import vigil
from taskward.executor.docker.bridge import SHELLS, Shells
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind
from taskward.executor.docker.vigil import Patience, Vigil
from taskward.executor.features.interactive import Interactive
from taskward.executor.shell.host import Attend
from taskward.executor.shell.session import Starter

ARTIFACT: Final = "private/docker-worker/shell.html"
_PIPE: Final = "interactive"
_SPARE_S: Final = 3  # the container ends by itself before it is killed, so that its own exit code counts


class ContainerInteractive(ContainerFeature, Interactive):
    """``features.interactive``. Its place is after the image: until that is there, a shell would wait for long.

    The container stays for a while after its command has ended, as long as there are shells and somewhat longer.
    """

    artifact = ARTIFACT

    def starter(self) -> Starter:
        """Programs have the container's own variables."""
        shells = Shells(self.task.settings.docker, self.engine.container.name)
        return Starter(shells.start, self.engine.identity, {}, SHELLS)

    def attend(self) -> Attend:
        """A vigil, where the settings want one."""
        task, docker = self.task, self.task.settings.docker
        if not docker.interactive_min_s and not docker.interactive_linger_s:
            return super().attend()
        pipe = self.engine.identity.home / _PIPE
        vigil.make_pipe(pipe)
        outfit = self.engine.outfit
        outfit.binds.append(Bind(pipe, vigil.PIPE, read_only=True))
        outfit.entrypoint = vigil.entrypoint(self._entry())
        task.log.info(
            f"features.interactive: the container stays at least {docker.interactive_min_s} seconds, and "
            f"{docker.interactive_linger_s} seconds after each shell, but not longer than maxRunTime"
        )
        longest_s = task.payload.max_run_time_s - _SPARE_S
        return Vigil(pipe, Patience(docker.interactive_min_s, docker.interactive_linger_s, longest_s)).look

    def _entry(self) -> tuple[str, ...]:
        """What the image would begin with; the daemon forgets its command, too, when another entrypoint is given."""
        daemon, image = self.engine.daemon, self.engine.outfit.image
        with daemon.asking("look for the image"):
            config: dict[str, Any] = daemon.api.inspect_image(image)["Config"]
        return (*(config.get("Entrypoint") or ()), *(() if self.wanted.command else config.get("Cmd") or ()))
