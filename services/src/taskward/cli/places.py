"""Which configuration a command means when it is not told, and where a development worker lives."""

import os
import pwd
import shlex
from pathlib import Path
from typing import Final

from taskward.cli.configuration import Configuration
from taskward.cli.errors import NotConfigured
from taskward.core.settings import Settings

SYSTEM_CONFIG: Final = Path("/etc/taskward/taskward.toml")
DEV_CONFIG: Final = "dev.toml"
_LONGEST_STATE_DIR: Final = 64
_BELOW_HOME: Final = ".local/state/taskward/dev"


def dev_state_dir() -> Path:
    """The development worker's state directory of the current user; short enough for Unix sockets."""
    if os.geteuid() == 0:
        return Path("/var/lib/taskward/dev")
    home = _home()
    if home and len(str(home / _BELOW_HOME)) <= _LONGEST_STATE_DIR:
        return home / _BELOW_HOME
    return Path(f"/var/tmp/taskward-{os.geteuid()}")  # noqa: S108 - it is checked before use


def _home() -> Path | None:
    """None for who has none: a number without a name, in a container for example."""
    try:
        return Path(os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None


def dev_command(state_dir: Path, subcommand: str = "") -> str:
    """What a person types for the development worker in `state_dir`."""
    place = () if state_dir == dev_state_dir() else ("--state-dir", str(state_dir))
    return shlex.join(("taskward", "dev", *filter(None, (subcommand,)), *place))


def find_config(given: Path | None) -> Path:
    """`given`, else ``TASKWARD_CONFIG``, else the system's, else the development worker's.

    Raises:
        CommandError: there is none.
    """
    named = os.environ.get("TASKWARD_CONFIG")
    places = (SYSTEM_CONFIG, dev_state_dir() / DEV_CONFIG)
    if given or named:
        return Path(given or named or "").absolute()
    for place in places:
        if os.path.exists(place):  # noqa: PTH110 - false where it cannot be looked for
            return place
    looked = ", ".join(str(place) for place in places)
    raise NotConfigured(f"no configuration: give --config FILE or set TASKWARD_CONFIG (looked for {looked})")


def load(given: Path | None) -> Settings:
    """The settings of `find_config`'s file and of the environment.

    Raises:
        ConfigurationError: they cannot be used.
    """
    return Configuration.read(find_config(given), os.environ).settings
