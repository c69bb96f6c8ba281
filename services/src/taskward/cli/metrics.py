"""``taskward metrics``: what all processes count, in one text for Prometheus.

Claimer, executors and uploaders keep files (`core.metrics`), proxy, gateway and signer answer at their sockets. What a
process says is not believed beyond itself: only lines of its own role pass, in the one form that Prometheus reads, and
who may not read a source, or gets nonsense from it, is told so and sees the others.
"""

import http.client
import os
import pwd
import re
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click

from taskward.cli import options, places
from taskward.cli.accounts import user_of
from taskward.core.layout import Layout
from taskward.core.metrics import LARGEST_BYTES, METRICS, Key, lines, series

_TIMEOUT_S: Final = 5.0
_MOST_PROCESSES: Final = 512
_LARGEST_ANSWER: Final = 1 << 20
_NUMBER: Final = r"(?:-?(?:[0-9.]+(?:e[+-]?[0-9]+)?|Inf)|NaN|\+Inf)"
_LABEL: Final = r"[a-z_]+=\"[^\"\\]*\""
_SAMPLE: Final = rf"taskward_{{role}}_[a-z0-9_]+(?:\{{{{{_LABEL}(?:,{_LABEL})*\}}}})? {_NUMBER}"
_COMMENT: Final = r"# (?:HELP|TYPE) taskward_{role}_[a-z0-9_]+ .*"


class NoMetrics(Exception):
    """A source cannot be used; the text says which and why."""


@click.command()
@options.config
def metrics(config: Path | None) -> None:
    """Print what all processes of the worker count, as Prometheus reads it.

    \b
    Examples:
      taskward metrics | grep runs_total
      taskward metrics > /var/lib/node_exporter/taskward.prom     (from a timer, through a draft and mv)

    Exit codes: 0 printed (a process that gives nothing is named on standard error), 64 configuration,
    74 not all of it could be written.
    """
    layout = places.load(config).layout
    for role in METRICS:
        for line in _of_files(layout.state_dir / "metrics" / role, role):
            click.echo(line)
    for role, address in _sockets(layout).items():
        try:
            for line in believed(role, _ask(address)):
                click.echo(line)
        except (NoMetrics, OSError, http.client.HTTPException) as error:
            click.echo(f"warning: no metrics of {role} at {address}: {error}", err=True)


def _sockets(layout: Layout) -> Mapping[str, Path]:
    status = layout.state_dir / "run/status"
    return {"proxy": status / "proxy.sock", "gateway": status / "gateway.sock", "signer": layout.signer_socket}


def _of_files(directory: Path, role: str) -> Iterator[str]:
    """All processes of a role under one heading a metric, told apart by the label ``process``."""
    found: dict[str, Mapping[Key, float]] = {}
    for path in sorted(directory.glob("[!.]*.prom"))[:_MOST_PROCESSES]:
        try:
            found[path.stem] = series(role, _read(path, role))
        except (NoMetrics, OSError, ValueError) as error:
            click.echo(f"warning: no metrics from {path}: {error}", err=True)
    rows = [line for process, values in found.items() for line in lines(role, values, process)]
    for metric in METRICS[role]:
        name = f"taskward_{role}_{metric.name}"
        yield from (f"# HELP {name} {metric.text}", f"# TYPE {name} {metric.kind}")
        yield from (row for row in rows if row.startswith(f"{name}{{"))


def _read(path: Path, role: str) -> str:
    """A file of that role's own user, and nothing that the user could have put in its place."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != pwd.getpwnam(user_of(role)).pw_uid:
            raise NoMetrics(f"not a file of {user_of(role)}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", path.stem):
            raise NoMetrics("not the name of a process")
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise NoMetrics(f"larger than {LARGEST_BYTES} bytes")
    return data.decode()


def _ask(address: Path) -> str:
    """``GET /metrics`` at a Unix socket."""
    connection = http.client.HTTPConnection("localhost", timeout=_TIMEOUT_S)
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(_TIMEOUT_S)
        connected.connect(str(address))
        connection.sock = connected
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        data = answer.read(_LARGEST_ANSWER + 1)
    if answer.status != http.HTTPStatus.OK or len(data) > _LARGEST_ANSWER:
        raise NoMetrics(f"answered {answer.status} with {len(data)} bytes")
    return data.decode(errors="replace")


def believed(role: str, text: str) -> list[str]:
    """The lines of `text`, when this role may say all of them.

    Raises:
        NoMetrics: there is another one.
    """
    allowed = re.compile(f"{_SAMPLE.format(role=role)}|{_COMMENT.format(role=role)}")
    found = [line for line in text.splitlines() if line]
    for line in found:
        if not allowed.fullmatch(line):
            raise NoMetrics(f"it says {line[:80]!r}")
    return found
