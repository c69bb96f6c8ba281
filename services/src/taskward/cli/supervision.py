"""supervisord's configuration, and its life: start, ask, stop."""

import fcntl
import os
import resource
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from taskward.cli.errors import CommandError, Unavailable
from taskward.cli.programs import STAGES, Program, base_environment, command, environment, python
from taskward.cli.provision import replace
from taskward.cli.supervisor import Process, Supervisor, SupervisorAway

LOG_BYTES: Final = 20 << 20
LOG_BACKUPS: Final = 3
_STEADY_S: Final = 1
_POLL_S: Final = 0.05


def configuration(state_dir: Path, programs: Sequence[Program]) -> str:
    """supervisord.conf for these programs; see `programs` for what each line means."""
    home = directory(state_dir)
    return "\n\n".join(
        [
            _section("unix_http_server", {"file": f"{home}/supervisor.sock", "chmod": "0700"}),
            _section("supervisord", {
                "nodaemon": "true", "pidfile": f"{home}/supervisord.pid", "directory": str(state_dir), "umask": "022",
                "logfile": f"{state_dir}/var/log/supervisord.log", "logfile_maxbytes": str(LOG_BYTES),
                "logfile_backups": str(LOG_BACKUPS), "childlogdir": f"{state_dir}/var/log", "minfds": "1024",
                "strip_ansi": "true", **({"user": "root"} if os.geteuid() == 0 else {}),
            }),
            _section("rpcinterface:supervisor", {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface",
            }),
            _section("supervisorctl", {"serverurl": f"unix://{home}/supervisor.sock"}),
            _listener(state_dir),
            *_stages(programs),
            *(_program(program, state_dir) for program in programs),
        ]
    ) + "\n"  # fmt: skip


def directory(state_dir: Path) -> Path:
    """What belongs to the supervisor alone."""
    return state_dir / "run/supervisor"


def supervisor(state_dir: Path) -> Supervisor:
    """The supervisor of this worker, running or not."""
    return Supervisor(directory(state_dir) / "supervisor.sock")


def write_configuration(state_dir: Path, programs: Sequence[Program]) -> None:
    """Writes what `command_line` starts."""
    replace(directory(state_dir) / "supervisord.conf", configuration(state_dir, programs), "root", 0o600)


def command_line(state_dir: Path) -> Sequence[str]:
    """The argv of supervisord, staying in the foreground."""
    return (python(), "-P", "-m", "supervisor.supervisord", "-n", "-c", str(directory(state_dir) / "supervisord.conf"))


def start_in_background(state_dir: Path) -> None:
    """Starts supervisord away from this terminal; `await_running` tells when it works."""
    with (state_dir / "var/log/supervisord.out").open("ab") as output:
        subprocess.Popen(
            command_line(state_dir), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=state_dir,
            env=base_environment(), start_new_session=True, preexec_fn=no_core_dumps,
        )  # fmt: skip


def no_core_dumps() -> None:
    """A dump of a process with secrets in its memory never reaches the disk; a task may raise its own limit again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def await_running(state_dir: Path, timeout_s: float) -> tuple[Process, ...]:
    """The processes, once every one of them runs.

    Raises:
        CommandError: they do not in time; the text names those and where their log is.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = _processes(supervisor(state_dir))
        if found and all(process.state == "RUNNING" for process in found):
            return found
        if time.monotonic() > deadline or any(process.state == "FATAL" for process in found):
            lame = ", ".join(f"{p.name} ({p.state})" for p in found if p.state != "RUNNING") or "the supervisor itself"
            raise Unavailable(f"not running: {lame}; see {state_dir}/var/log; `taskward down` stops the rest")
        time.sleep(_POLL_S)


def stop(state_dir: Path, timeout_s: float) -> bool:
    """Tells supervisord to end everything in order, and waits until nothing is left; False when nothing ran.

    Raises:
        CommandError: something is still there after `timeout_s`.
    """
    with _alive_lock(state_dir) as lock:
        try:
            supervisor(state_dir).shutdown()
        except SupervisorAway:
            if _is_free(lock):
                return False
        await_gone(state_dir, timeout_s)
    return True


def await_gone(state_dir: Path, timeout_s: float) -> None:
    """Waits until no process of this worker is left; each holds a shared lock as long as it lives.

    Raises:
        CommandError: some are still there; the text names their pids.
    """
    deadline = time.monotonic() + timeout_s
    with _alive_lock(state_dir) as lock:
        while not _is_free(lock) or supervisor(state_dir).answers():
            if time.monotonic() > deadline:
                pids = " ".join(str(pid) for pid in holders(alive_lock(state_dir)))
                raise CommandError(f"processes of this worker are still there after {timeout_s:.0f} s: {pids or '?'}")
            time.sleep(_POLL_S)


def alive_lock(state_dir: Path) -> Path:
    """Every process of the worker holds this file locked while it lives."""
    return directory(state_dir) / "alive.lock"


def holders(lock: Path) -> tuple[int, ...]:
    """The processes that have the lock file open, for telling a person."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.samefile(lock):
                found.append(int(entry.parts[2]))
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    return tuple(sorted({pid for pid in found if pid != os.getpid()}))


class _alive_lock:  # noqa: N801 - used like a function
    """The open lock file."""

    def __init__(self, state_dir: Path) -> None:
        self._path = alive_lock(state_dir)

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(lock, fcntl.LOCK_UN)
    return True


def _processes(of: Supervisor) -> tuple[Process, ...]:
    try:
        return of.processes()
    except SupervisorAway:
        return ()


def _listener(state_dir: Path) -> str:
    argv = (python(), "-P", "-m", "taskward.cli.listener", str(directory(state_dir)))
    return _section("eventlistener:listener", {
        "command": " ".join(_quoted(word) for word in argv),
        "events": "PROCESS_STATE_STARTING,PROCESS_STATE_RUNNING,PROCESS_STATE_FATAL,TICK_5", "buffer_size": "256",
        "autorestart": "true", "startretries": "1000000", "priority": "1", "stopwaitsecs": "5",
        "stderr_logfile": f"{state_dir}/var/log/listener.log", "stderr_logfile_maxbytes": str(LOG_BYTES),
        "stderr_logfile_backups": str(LOG_BACKUPS),
    })  # fmt: skip


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
        "autostart": "true", "autorestart": "true", "startsecs": str(_STEADY_S), "startretries": "3",
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
