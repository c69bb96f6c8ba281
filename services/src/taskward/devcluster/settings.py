"""The settings of the development cluster, read once from the command line."""

import argparse
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from taskward.devcluster.errors import DevclusterError

T = TypeVar("T", int, float)


@dataclass(frozen=True)
class Settings:
    """Everything that can be chosen; the times are those of the real services."""

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 0
    root_url: str | None = None
    allow_network: bool = False
    claim_timeout_s: float = 1200
    claim_wait_s: float = 20
    deadline_delay_s: float = 60
    resolver_poll_s: float = 5
    purge_cache_s: float = 10
    threads: int = 96

    @property
    def claim_timeout(self) -> timedelta:
        """How long a claim holds without being renewed."""
        return timedelta(seconds=self.claim_timeout_s)

    @property
    def deadline_delay(self) -> timedelta:
        """How long past its deadline a task is left alone."""
        return timedelta(seconds=self.deadline_delay_s)

    @staticmethod
    def parse(arguments: Sequence[str]) -> "Settings":
        """Read the command line; ends the process with usage for unknown or malformed options.

        Raises ``DevclusterError`` for an address that the cluster must not listen on.
        """
        settings = Settings(**vars(_parser().parse_args(arguments)))
        _check_address(settings.host, settings.allow_network)
        return settings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m taskward.devcluster",
        description="A Taskcluster for development: one client, no security worth the name, loopback only.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    seconds = _number(float, 0.0, 1e8)
    add("--state-dir", type=Path, required=True, help="folder for everything that lasts; made if missing")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=_number(int, 0, 65535), default=0, help="0: the port of the last start, if it is free, else any")
    add("--root-url", help="what clients reach the cluster by, when it is not http://HOST:PORT")
    add("--allow-network", action="store_true", help="allow private addresses besides loopback, and 0.0.0.0")
    add("--claim-timeout-s", type=seconds, default=1200, help="life of a claim and its credentials")
    add("--claim-wait-s", type=seconds, default=20, help="how long claimWork waits for work")
    add("--deadline-delay-s", type=seconds, default=60, help="time from a deadline to its enforcement")
    add("--resolver-poll-s", type=seconds, default=5, help="time between looks for expired claims")
    add("--purge-cache-s", type=seconds, default=10, help="how long purge requests may be stale")
    add(
        "--threads",
        type=_number(int, 1, 1000),
        default=96,
        help="how many calls are answered at once, long polls included",
    )
    return parser


def _number(kind: Callable[[str], T], lowest: T, highest: T) -> Callable[[str], T]:
    """Return a reader of numbers between two bounds, for argparse."""

    def read(text: str) -> T:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return value

    return read


def _check_address(host: str, allow_network: bool) -> None:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise DevclusterError(f"--host {host}: no such address ({error})") from error
    for text in found:
        address = ipaddress.ip_address(text)
        if address.is_loopback:
            continue
        if not allow_network:
            raise DevclusterError(
                f"--host {host}: the development cluster listens on loopback only; "
                "--allow-network permits a private network"
            )
        if not (address.is_private or address.is_unspecified):
            raise DevclusterError(f"--host {host}: {address} is public; the cluster never listens there")
