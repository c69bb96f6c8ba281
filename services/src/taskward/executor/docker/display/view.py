"""What is run in a container to list its displays or to show one; nothing of it but the display is the caller's choice.

The display goes by the environment, after it was found to be the name of one: in no argument, hence in no option.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final

from taskward.core.settings import DockerSettings
from taskward.core.shell import Show, is_display
from taskward.executor.docker.bridge import Shells
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.display.tools import LOADER, TARGET
from taskward.executor.engine import Program
from taskward.executor.errors import EngineFailed
from taskward.executor.spawn import Child

MOST_DISPLAYS: Final = 16
_RUN: Final = (f"{TARGET}/{LOADER}", "--library-path", TARGET)
_VNC: Final = (
    *_RUN, f"{TARGET}/x11vnc", "-inetd", "-q", "-shared", "-nopw", "-norc", "-nocmds", "-noremote", "-noxrecord",
    "-sigpipe", r"ignore\:HUP\,TERM",
)  # fmt: skip
"""It ends when its client does. What a signal interrupts in it may hang for ever, so it ignores those that ask."""

_VIEW: Final = """\
trap "" HUP
"$@"
sleep 0.3 || sleep 1
kill -9 -$$
"""
"""Whatever still hangs when the client has gone ends with its process group."""

_VIEW_ARGV: Final = (
    "sh", "-c", _VIEW, "sh", *_RUN, f"{TARGET}/socat", "-t0.2", "-b65536", "STDIO", f"EXEC:{' '.join(_VNC)},end-close",
)  # fmt: skip
"""x11vnc wants a socket for both directions, which socat makes."""

_LIST: Final = f"""\
{{ sleep 2 && kill -9 -$$; }} >/dev/null 2>&1 &
guard=$!
count=0 asked=
for socket in /tmp/.X11-unix/X*; do
    number=${{socket##*/X}}
    case $number in "" | *[!0-9]* | ??????*) continue ;; esac
    count=$((count + 1))
    [ $count -le {MOST_DISPLAYS} ] || break
    authority=$XAUTHORITY
    for pair; do
        case $pair in "$number="*) authority=${{pair#*=}} ;; esac
    done
    XAUTHORITY=$authority {" ".join(_RUN)} {TARGET}/xdpyinfo -display ":$number" 2>/dev/null |
    while read -r word value _; do
        case $word in
        screen) screen=${{value#?}} screen=${{screen%:}} ;;
        dimensions:) printf ":%s.%s\\t%s\\n" "$number" "$screen" "$value" ;;
        esac
    done &
    asked="$asked $!"
done
[ -z "$asked" ] || wait $asked
kill $guard
"""
"""A display that does not answer hides no other, and takes two seconds at most. The arguments: see `complete`."""

_OWN_DISPLAY: Final = re.compile(r"(?:^|\s):(\d{1,5})(?=\s|$)")
_AUTHORITY: Final = re.compile(r"\s-auth\s+(/\S{1,4095})")


class Views:
    """Shows the displays of the container `name`; see `Starter.show`."""

    def __init__(self, settings: DockerSettings, name: str) -> None:
        self._shells = Shells(settings, name, complete)

    def start(self, wish: Show, descriptors: Mapping[int, int], output: int) -> Child:
        """The list of displays, or one of them.

        Raises:
            EngineFailed: no display can have that name.
        """
        if not wish.display:
            return self._shells.start(Program(("sh", "-c", _LIST, "sh"), _quiet(), descriptors), output)
        if not is_display(wish.display):
            raise EngineFailed("a display's name has the form :0 or :0.0")
        environment = {**_quiet(), "DISPLAY": wish.display}
        return self._shells.start(Program(_VIEW_ARGV, environment, descriptors), output)


def _quiet() -> dict[str, str]:
    """What the image wants programs to load is made for its own libraries."""
    return {"LD_PRELOAD": "", "LC_ALL": "C"}


def complete(daemon: Daemon, container: str, program: Program) -> Program:
    """The program with what opens displays that ask for a cookie, as those of xvfb-run do.

    One display gets XAUTHORITY, the list of displays further arguments ``NUMBER=FILE``.
    """
    files = _authorities(daemon, container)
    display = program.environment.get("DISPLAY")
    if display is None:
        pairs = tuple(f"{number}={path}" for number, path in files.items())
        return replace(program, argv=(*program.argv, *pairs[:MOST_DISPLAYS]))
    path = files.get(display[1:].partition(".")[0])
    return replace(program, environment={**program.environment, "XAUTHORITY": path}) if path else program


def _authorities(daemon: Daemon, container: str) -> dict[str, str]:
    """Display number → what its server was given as ``-auth``. The files are for programs in the container only."""
    try:
        with daemon.asking("list the processes of the container"):
            told: Mapping[str, Any] = daemon.api.top(container, ps_args="-o pid,args")
    except EngineFailed:  # then displays that want a cookie stay closed
        return {}
    found: dict[str, str] = {}
    for row in told.get("Processes") or ():
        command = str(row[-1])
        own, authority = _OWN_DISPLAY.search(command), _AUTHORITY.search(command)
        if own and authority and PurePosixPath(command.split()[0]).name.startswith("X"):
            found.setdefault(own[1], authority[1])
    return found
