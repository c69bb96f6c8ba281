"""A shell in the running container, and its X displays."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from taskward.executor.docker import vigil
from taskward.executor.docker.bridge import SHELLS, Shells
from taskward.executor.docker.display.tools import TARGET, Tools
from taskward.executor.docker.display.view import Views
from taskward.executor.docker.features.container_feature import ContainerFeature
from taskward.executor.docker.outfit import Bind
from taskward.executor.docker.vigil import Patience, Vigil
from taskward.executor.errors import EngineFailed
from taskward.executor.features.interactive import Interactive
from taskward.executor.shell.host import Attend
from taskward.executor.shell.session import Starter

SHELL: Final = "private/docker-worker/shell.html"
DISPLAY: Final = "private/docker-worker/display.html"
ENTRY: Final = "private/docker-worker/interactive.html"
SOCKETS: Final = "private/docker-worker/sockets.json"
_PIPE: Final = "interactive"
_SPARE_S: Final = 3  # the container ends by itself before it is killed, so that its own exit code counts


class ContainerInteractive(ContainerFeature, Interactive):
    """``features.interactive``. Its place is after the image: until that is there, a shell would wait for long.

    The container stays for a while after its command has ended, as long as there are shells and somewhat longer.
    """

    artifacts = (SHELL, DISPLAY, ENTRY, SOCKETS)
    _shows_displays = False

    def starter(self) -> Starter:
        """Programs have the container's own variables."""
        docker, name = self.task.settings.docker, self.engine.container.name
        shells = Starter(Shells(docker, name).start, self.engine.identity, {}, SHELLS)
        try:
            place = Tools.find().lay_out(self.task.layout.display_tools)
        except EngineFailed as error:
            self.task.log.info(f"features.interactive: X displays cannot be shown: {error}")
            return shells
        self.engine.outfit.binds.append(Bind(place, TARGET, read_only=True))
        self._shows_displays = True
        return replace(shells, show=Views(docker, name).start)

    def pages(self) -> Mapping[str, str]:
        """Also a page for displays, one that leads to both, and what programs want to know."""
        pages = {
            SHELL: self.page("shell_url", "2", "", "/"),
            ENTRY: self.page("", "2", "", "/interactive"),
            SOCKETS: self.page("", "2", "", "/sockets.json"),
        }
        if self._shows_displays:
            pages[DISPLAY] = self.page("display_url", "1", "/display.sock", "/display", displaysUrl="/display.sock")
        return pages

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
