"""supervisord's configuration: what the programs of this worker look like to it."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from taskward.cli.lifeline import ALIVE_LOCK
from taskward.cli.programs import STAGES, Program, command, environment, interpreter
from taskward.cli.provision import replace

LOG_BYTES: Final = 20 << 20
LOG_BACKUPS: Final = 3
OPEN_FILES: Final = 1024
"""What supervisord wants to be able to open, or it does not start."""

_STEADY_S: Final = 1
_HOPELESS: Final = "64,78"
"""Exit codes of programs that need a person: they are not started again at once, but as those given up (`restarts`)."""


def configuration(state_dir: Path, programs: Sequence[Program]) -> str:
    """supervisord.conf for these programs; see `programs` for what each line means."""
    home = directory(state_dir)
    return "\n\n".join(
        [
            _section("unix_http_server", {"file": f"{home}/supervisor.sock", "chmod": "0700"}),
            _section("supervisord", {
                "nodaemon": "true", "pidfile": f"{home}/supervisord.pid", "directory": str(state_dir), "umask": "022",
                "logfile": f"{state_dir}/var/log/supervisord.log", "logfile_maxbytes": str(LOG_BYTES),
                "logfile_backups": str(LOG_BACKUPS), "childlogdir": f"{state_dir}/var/log", "minfds": str(OPEN_FILES),
                "strip_ansi": "true", **({"user": "root"} if os.geteuid() == 0 else {}),
            }),
            _section("rpcinterface:supervisor", {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
            }),
            _section("supervisorctl", {"serverurl": f"unix://{home}/supervisor.sock"}),
            _section("rpcinterface:taskward", {
                "supervisor.rpcinterface_factory": "taskward.cli.attendant:attend",
                "directory": str(home).replace("%", "%%"),
            }),
            *_stages(programs),
            *(_program(program, state_dir) for program in programs),
        ]
    ) + "\n"  # fmt: skip


def directory(state_dir: Path) -> Path:
    """What belongs to the supervisor alone."""
    return state_dir / "run/supervisor"


def alive_lock(state_dir: Path) -> Path:
    """Every process of the worker holds this file locked while it lives."""
    return directory(state_dir) / ALIVE_LOCK


def write_configuration(state_dir: Path, programs: Sequence[Program]) -> None:
    """Writes what `command_line` starts."""
    replace(directory(state_dir) / "supervisord.conf", configuration(state_dir, programs), "root", 0o600)


def command_line(state_dir: Path) -> Sequence[str]:
    """The argv of supervisord, staying in the foreground."""
    return (*interpreter(), "-m", "supervisor.supervisord", "-n", "-c", str(directory(state_dir) / "supervisord.conf"))


def _stages(programs: Sequence[Program]) -> Iterator[str]:
    """A group per stage: groups are stopped one after the other, what is in a group at once."""
    for number, stage in enumerate(STAGES, 1):
        names = [program.name for program in programs if program.stage == stage]
        yield _section(f"group:{stage}", {"programs": ",".join(names), "priority": str(10 * number)})


def _program(program: Program, state_dir: Path) -> str:
    single = program.processes == 1
    name = "%(program_name)s" if single else "%(program_name)s-%(process_num)d"
    log = (
        f"{state_dir}/var/log/{program.name}.log"
        if single
        else f"{state_dir}/var/log/{program.name}-%(process_num)d.log"
    )
    return _section(f"program:{program.name}", {
        "command": " ".join(_quoted(word) for word in command(program, alive_lock(state_dir))),
        "process_name": name, "numprocs": str(program.processes),
        "environment": ",".join(f"{k}={_quoted_value(v)}" for k, v in environment(program, state_dir).items() if v),
        "autostart": "true", "autorestart": "unexpected", "exitcodes": _HOPELESS,
        "startsecs": str(_STEADY_S), "startretries": "3",
        "stopsignal": "TERM", "stopwaitsecs": str(program.stop_s), "killasgroup": "true",
        "stdout_logfile": log, "redirect_stderr": "true", "stdout_logfile_maxbytes": str(LOG_BYTES),
        "stdout_logfile_backups": str(LOG_BACKUPS),
    })  # fmt: skip


def _section(name: str, values: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in values.items())])


def _quoted(word: str) -> str:
    """One word of a command: supervisord expands ``%`` and splits like a shell."""
    return shlex.quote(word).replace("%", "%%")


def _quoted_value(value: str) -> str:
    return '"' + value.replace("%", "%%").replace('"', '\\"') + '"'
