"""``taskward doctor``: is this machine fit for a worker, and the configuration fit for its Taskcluster?"""

import email.utils
import grp
import os
import pwd
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from taskward.cli import directories, options, places, redisview, resolved, supervision
from taskward.cli.accounts import GROUPS, ROLE_USERS, missing_isolation
from taskward.cli.errors import CommandError, Forbidden
from taskward.cli.programs import executors
from taskward.cli.publickeys import openpgp_expiry
from taskward.cli.secret import exposures, secrets
from taskward.cli.supervisor import SupervisorAway, SupervisorRefused
from taskward.cli.worker import Worker
from taskward.core.errors import ConfigurationError, TaskwardError
from taskward.core.redis_server import find_server
from taskward.core.settings import Settings
from taskward.core.taskcluster import Credentials, Taskcluster
from taskward.executor.cgroup import Hierarchies
from taskward.executor.docker.presence import has_containers

_MAX_SKEW_S: Final = 60
_READ_ONLY: Final = (
    "read-only, as in a container: native tasks are ended by their user, and [executor] memory_limit_bytes does not "
    "hold for them; limit the container's memory instead"
)
_KEY_SOON_DAYS: Final = 30
_NEW_KEY: Final = 'make a new one and hand out its public half (docs/operations.md, "Keys")'
_TIMEOUT_S: Final = 10.0
_COLOURS: Final = {"ok": "green", "warning": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Finding:
    """What one check found: `state` is ``ok``, ``warning`` (works, with less) or ``failed``; `text` has the remedy."""

    check: str
    state: str
    text: str


@click.command()
@options.config
@options.as_json
def doctor(config: Path | None, as_json: bool) -> None:
    """Check this machine and, when there is a configuration, its Taskcluster and credentials. Changes nothing.

    \b
    Examples:
      taskward doctor
      taskward doctor --config worker.toml --json

    Exit codes: 0 fit (perhaps with warnings), 1 a check failed.
    """
    findings = [*machine(), *_of_configuration(config)]
    if as_json:
        options.print_json([asdict(each) for each in findings])
    else:
        for each in findings:
            click.echo(f"{click.style(f'{each.state:<8}', fg=_COLOURS[each.state])}{each.check}: {each.text}")
    sys.exit(any(each.state == "failed" for each in findings))


def machine() -> Iterator[Finding]:
    """The checks that need no configuration."""
    yield _redis()
    for program, package in (("gpg", "gnupg"), ("setpriv", "util-linux"), ("flock", "util-linux")):
        yield _program(program, package, "failed")
    yield _program("bsdtar", "libarchive-tools", "warning")
    yield _cgroups()
    yield _users()
    yield from (Finding("isolation", "warning", text) for text in missing_isolation())


def deployment(settings: Settings) -> Iterator[Finding]:
    """The checks against Taskcluster: reachable, clocks agree, the credentials suffice."""
    wanted = settings.taskcluster
    client = Taskcluster(wanted.root_url, timeout_s=_TIMEOUT_S, ca_file=str(wanted.ca_file) if wanted.ca_file else None)
    yield _guarded("root URL", lambda: _reachable(client))
    yield _guarded("clock", lambda: _clock(wanted.root_url, str(wanted.ca_file) if wanted.ca_file else True))
    yield _guarded("credentials", lambda: _scopes(client, settings))


def _of_configuration(config: Path | None) -> Iterator[Finding]:
    try:
        file = places.find_config(config)
    except click.ClickException as error:
        if config:
            raise
        yield Finding("configuration", "warning", error.message)
        return
    try:
        settings = places.load(file)
        resolved.check(settings)
    except ConfigurationError as error:
        yield Finding("configuration", "failed", str(error))
        return
    yield Finding("configuration", "ok", str(file))
    yield _guarded("state directory", lambda: _state_dir(settings))
    yield _guarded("ports", lambda: _ports(settings))
    yield from (Finding("credentials file", "warning", text) for text in exposures(settings))
    if redisview.is_draining(settings.redis("monitor")):
        yield Finding("drain", "warning", redisview.DRAINED)
    if not settings.uploader.signer_url:
        yield _guarded("OpenPGP key", lambda: _openpgp_key(settings))
    if settings.executor.enable_rdp:
        yield from _desktops(settings)
    if has_containers(settings):
        yield from _containers(settings)
    yield from deployment(settings)


def _guarded(check: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except (TaskwardError, CommandError, OSError, ValueError) as error:
        return Finding(check, "failed", str(error))


def _state_dir(settings: Settings) -> Finding:
    directories.check(Worker(settings).state_dir)
    return Finding("state directory", "ok", str(settings.layout.state_dir))


def _ports(settings: Settings) -> Finding:
    """A role of this worker that runs has its port; where others have it, that role does not run."""
    try:
        found = supervision.supervisor(settings.layout.state_dir).processes()
    except (SupervisorAway, SupervisorRefused):
        found = ()
    except Forbidden as error:
        return Finding("ports", "warning", error.message)
    resolved.refuse_taken_ports(settings, {each.name for each in found if each.state == "RUNNING"})
    return Finding("ports", "ok", "free, or this worker's")


def _openpgp_key(settings: Settings) -> Finding:
    expires = openpgp_expiry(settings.layout.state_dir)
    if expires is None:
        return Finding("OpenPGP key", "ok", "there is none that expires")
    days, when = (expires - datetime.now(UTC)).days, f"{expires:%Y-%m-%d %H:%M} UTC"
    if days < 0:
        return Finding("OpenPGP key", "failed", f"expired at {when}, nothing is signed; {_NEW_KEY}")
    text = f"expires at {when}, in {days} days"
    if days <= _KEY_SOON_DAYS:
        return Finding("OpenPGP key", "warning", f"{text}; {_NEW_KEY}")
    return Finding("OpenPGP key", "ok", text)


def _redis() -> Finding:
    try:
        return Finding("redis", "ok", str(find_server()))
    except ConfigurationError as error:
        return Finding("redis", "failed", str(error))


def _program(name: str, package: str, otherwise: str) -> Finding:
    found = shutil.which(name)
    return Finding(name, "ok", found) if found else Finding(name, otherwise, f"missing; apt-get install {package}")


def _desktops(settings: Settings) -> Iterator[Finding]:
    from taskward.executor.rdp.desktop import SERVERS

    for program, package in SERVERS.items():
        yield _program(program, package, "failed")
    session = settings.executor.rdp_session[0]
    if shutil.which(session) is None:
        yield Finding(
            "desktop", "warning", f"{session} is missing: desktops are empty; set [executor] rdp_session, for example"
            ' to ["xterm"] or ["startxfce4"]',
        )  # fmt: skip


def _containers(settings: Settings) -> Iterator[Finding]:
    if (slots := executors(settings)) < settings.worker.capacity:
        text = f"{slots} instead of {settings.worker.capacity}: [docker] restrict_cpu gives each task a processor"
        yield Finding("capacity", "warning", text)
    if settings.executor.enable_interactive:
        yield from _displays()
    proxy_is_container = bool(settings.others.get("proxy", {}).get("container"))
    if settings.executor.enable_taskcluster_proxy and not proxy_is_container and shutil.which("iptables") is None:
        text = "missing: containers have no proxy, tasks that want it fail; apt-get install iptables"
        yield Finding("iptables", "warning", text)


def _displays() -> Iterator[Finding]:
    """Of containers with features.interactive; without these programs they have shells only."""
    from taskward.executor.docker.display.tools import PROGRAMS

    for program, package in PROGRAMS.items():
        yield _program(program, package, "warning")


def _cgroups() -> Finding:
    if os.geteuid() != 0:
        return Finding("cgroups", "warning", "only root can make cgroups; tasks are ended by process group")
    system = Hierarchies.find()
    known = [place for place in (system.unified, system.memory, system.pids) if place is not None]
    if known and not any(os.access(place, os.W_OK) for place in known):  # no to root, too, on a read-only file system
        return Finding("cgroups", "warning", _READ_ONLY)
    if system.unified is None:
        return Finding("cgroups", "warning", "no cgroup v2: tasks are ended by sweeping their user's processes")
    if {"memory", "pids"} <= set((system.unified / "cgroup.controllers").read_text().split()):
        return Finding("cgroups", "ok", "v2 with limits and kill")
    return Finding("cgroups", "ok", f"v2 at {system.unified} for kill; limits by v1 where it has the controllers")


def _users() -> Finding:
    missing = [name for name in ROLE_USERS.values() if not _known(pwd.getpwnam, name)]
    missing += [name for name in GROUPS if not _known(grp.getgrnam, name)]
    if not missing:
        return Finding("users", "ok", "all users and groups are there")
    if os.geteuid() == 0:
        return Finding("users", "ok", "missing ones are made by the first `taskward up`")
    return Finding("users", "warning", "the worker's users are missing; they are made when root starts the worker")


def _known(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def _reachable(client: Taskcluster) -> Finding:
    client.call("GET", "queue", "ping", give_up_after_s=0)
    return Finding("root URL", "ok", client.root_url)


def _clock(root_url: str, verify: Any) -> Finding:
    import requests

    try:
        answer = requests.get(f"{root_url.rstrip('/')}/api/queue/v1/ping", timeout=_TIMEOUT_S, verify=verify)
    except requests.exceptions.SSLError:
        return _unknown_time(f"no TLS with {root_url}: it speaks none, or [taskcluster] ca_file lacks its authority")
    except requests.exceptions.Timeout:
        return _unknown_time(f"{root_url} did not answer within {_TIMEOUT_S:.0f} s")
    except requests.exceptions.RequestException:
        return _unknown_time(f"{root_url} cannot be reached; see the finding on the root URL")
    skew_s = _skew_s(answer.headers.get("Date", ""))
    if skew_s is None:
        return Finding("clock", "warning", f"{root_url} did not say what time it is there: no Date in its answer")
    if skew_s > _MAX_SKEW_S:
        return Finding(
            "clock", "failed", f"{skew_s:.0f} s off; credentials are refused; set the clock (systemd-timesyncd, chrony)"
        )
    return Finding("clock", "ok", f"within {max(1, round(skew_s))} s of Taskcluster's")


def _unknown_time(why: str) -> Finding:
    return Finding("clock", "failed", f"cannot be compared with Taskcluster's: {why}")


def _skew_s(date: str) -> float | None:
    """Between this machine's clock and a Date field; None when that is not one."""
    try:
        there = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = there if there.tzinfo else there.replace(tzinfo=UTC)  # "-0000" is UTC, too
    return abs((datetime.now(UTC) - aware).total_seconds())


def _scopes(client: Taskcluster, settings: Settings) -> Finding:
    wanted, worker = settings.taskcluster, settings.worker
    credentials = Credentials(wanted.client_id, *(each.read() for each in secrets(settings)))
    have = client.call("GET", "auth", "scopes/current", credentials, give_up_after_s=0).get("scopes", [])
    needed = [
        f"queue:claim-work:{worker.task_queue_id}",
        f"queue:worker-id:{worker.worker_group}/{worker.worker_id}",
    ]
    missing = [scope for scope in needed if not any(_covers(scope, each) for each in have)]
    if missing:
        return Finding("credentials", "failed", f"{wanted.client_id} lacks {', '.join(missing)}; give it these scopes")
    return Finding("credentials", "ok", f"{wanted.client_id} may claim from {worker.task_queue_id}")


def _covers(scope: str, pattern: str) -> bool:
    return scope.startswith(pattern[:-1]) if pattern.endswith("*") else scope == pattern
