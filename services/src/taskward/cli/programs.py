"""The worker's processes as programs of the supervisor: how each is started, as whom, in which order.

The supervisor starts one stage after the other, without waiting, and stops them in reverse, waiting for each. So the
executors end their tasks first, while claimer, uploaders, signer and Redis are still there to bring the runs home.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskward.cli import resolved
from taskward.cli.accounts import ROLE_USERS
from taskward.cli.lifeline import UNLESS_ORPHANED
from taskward.core.settings import Settings

STOP_MARGIN_S: Final = 15
"""What a process gets beyond the grace time before it is killed."""

COMPILED: Final = "pycache"
"""In the virtual environment: everything that the roles may import, without docstrings."""

STAGES: Final = ("base", "services", "uploaders", "claimers", "executors")
"""In the order of start; what is in one stage starts and stops together."""


@dataclass(frozen=True)
class Program:
    """One program: `module` run by this Python, as the user of `name`.

    Attributes:
        name: the role.
        module: run with ``python -m``.
        arguments: of the module.
        stage: one of `STAGES`.
        processes: how many of it.
        stop_s: after so long it is killed.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    stage: str
    processes: int = 1
    stop_s: int = 10


@dataclass(frozen=True)
class Devcluster:
    """A development Taskcluster beside the worker."""

    state_dir: Path
    port: int
    options: tuple[str, ...] = field(default=())


def programs(settings: Settings, devcluster: Devcluster | None = None) -> tuple[Program, ...]:
    """All programs of a worker, in the order of their start; a signer on another host is none of them."""
    config = ("--config", str(resolved.path_of(settings)))
    slow_s = settings.worker.grace_s + STOP_MARGIN_S
    first = (devcluster_program(devcluster),) if devcluster else ()
    decrypter = (Program("decrypter", "taskward.signer.decrypter", config, "services"),)
    signers = (
        Program("keyholder", "taskward.signer.keyholder", config, "services"),
        Program("signer", "taskward.signer", config, "services", stop_s=35),
    )
    return (
        Program("redis", "taskward.cli.redis", config, "base", stop_s=30),
        *first,
        *(() if settings.uploader.signer_url else signers),
        *(decrypter if settings.executor.enable_encrypted_env else ()),
        Program("proxy", "taskward.proxy", config, "services"),
        Program("gateway", "taskward.gateway", config, "services"),
        Program("uploader", "taskward.uploader", config, "uploaders", settings.uploader.processes, slow_s),
        Program("claimer", "taskward.claimer", config, "claimers", stop_s=slow_s),
        Program("executor", "taskward.executor", (*config, *_slots(settings)), "executors", stop_s=slow_s),
    )


def executors(settings: Settings) -> int:
    """How many runs the executor takes at once: the capacity, with ``[docker] restrict_cpu`` no more than processors.

    That is docker-worker.md §2.12.
    """
    capacity = settings.worker.capacity
    return min(capacity, len(os.sched_getaffinity(0))) if settings.docker.restrict_cpu else capacity


def _slots(settings: Settings) -> tuple[str, ...]:
    return ("--slots", str(slots)) if (slots := executors(settings)) > 1 else ()


def devcluster_program(wanted: Devcluster) -> Program:
    """The development Taskcluster as a program."""
    where = ("--state-dir", str(wanted.state_dir), "--port", str(wanted.port), *wanted.options)
    return Program("devcluster", "taskward.devcluster", where, "base")


def command(program: Program, alive_lock: Path) -> Sequence[str]:
    """The argv: holds `alive_lock` while it lives, dies with the supervisor, has no more rights than it needs.

    It is killed when the supervisor is killed, without a chance to end in order: ending in order needs the other
    processes, which are ending, too. What was under way is found again at the next start. A supervisor that was killed
    before it had asked for that is no parent any more.
    """
    return (
        _found("flock"), "--shared", "--no-fork", str(alive_lock),
        _found("setpriv"), "--pdeathsig", "KILL", *_rights(program.name), "--",
        "/bin/sh", "-c", UNLESS_ORPHANED, program.name, *interpreter(), "-m", program.module, *program.arguments,
    )  # fmt: skip


def interpreter() -> Sequence[str]:
    """This Python as the processes that stay run in it: no directory of ours on the path, and the least of memory.

    Without docstrings the whole worker is some 20 MiB smaller (docs/adr/0008). What has none was compiled by
    `ops/setup.sh`: nearly all roles can write nothing beside the sources. Where it was not, they run as they are.
    """
    compiled = Path(os.path.realpath(sys.prefix)) / COMPILED
    small = ("-OO", "-X", f"pycache_prefix={compiled}") if compiled.is_dir() else ()
    return (python(), "-P", *small)


def python() -> str:
    """This Python by a path that the worker's users can walk; the checkout's `.venv` may be a link out of theirs."""
    return str(Path(os.path.realpath(sys.prefix)) / "bin/python")


def environment(program: Program, state_dir: Path) -> dict[str, str]:
    """What the process finds in its environment beside `base_environment`; no secret is ever there."""
    home = str(state_dir / "tmp" / program.name)
    return {"HOME": home, "TMPDIR": home, "USER": ROLE_USERS.get(program.name, "root") if os.geteuid() == 0 else ""}


def base_environment() -> dict[str, str]:
    """The supervisor's own environment, which every process inherits: nothing of the person who started it."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _rights(role: str) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return () if role == "executor" else ("--no-new-privs",)
    if role not in ROLE_USERS:
        return ()
    user = ROLE_USERS[role]
    who = ("--reuid", user, "--regid", user, "--init-groups")
    return (*who, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")


def _found(program: str) -> str:
    return shutil.which(program, path=base_environment()["PATH"]) or program
