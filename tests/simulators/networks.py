"""Networks as Docker makes them: a bridge on this host for each, with network namespaces in place of containers."""

import ctypes
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_NUMBERS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Network:
    """One bridge; `number` tells networks of one test run apart."""

    bridge: str
    number: int

    @property
    def gateway(self) -> str:
        return self.address(1)

    @property
    def subnet(self) -> str:
        return f"{self.address(0)}/24"

    def address(self, host: int) -> str:
        return f"10.213.{self.number}.{host}"


@dataclass(frozen=True)
class Namespace:
    """What a container sees of the network: ``eth0``, with an address of its first network, and all rights in there."""

    name: str
    address: str

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns in a thread inside; sockets that it makes stay inside."""
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                self._enter()
                results.append(function())
            except BaseException as error:  # handed to the caller
                errors.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def dial(self, address: str, port: int, source: str = "", timeout_s: float = 10.0) -> socket.socket:
        """A connection from inside."""
        return self.call(lambda: socket.create_connection((address, port), timeout_s, (source, 0) if source else None))

    def _enter(self) -> None:
        fd = os.open(Path("/run/netns") / self.name, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(fd)


class Networks:
    """Makes bridges and namespaces; all go with `stack`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._mark, self._first = secrets.token_hex(3), secrets.choice(_free_numbers())
        self._count = 0

    def network(self) -> Network:
        """A new bridge with the first address of a subnet of its own."""
        self._count += 1
        network = Network(f"twt{self._mark}{self._count}", self._first + self._count % _NUMBERS)
        ip("link", "add", network.bridge, "type", "bridge")
        self._stack.callback(ip, "link", "del", network.bridge)
        ip("addr", "add", f"{network.gateway}/24", "dev", network.bridge)
        ip("link", "set", network.bridge, "up")
        return network

    def let_talk(self, network: Network) -> None:
        """Let namespaces on one bridge call each other, as Docker does: where there is a firewall, it would not."""
        if shutil.which("iptables"):
            rule = ("FORWARD", "-i", network.bridge, "-o", network.bridge, "-j", "ACCEPT")
            _run("iptables", "-w", "-I", *rule)
            self._stack.callback(_run, "iptables", "-w", "-D", *rule)

    def namespace(self, *networks: Network, host: int = 2) -> Namespace:
        """A new namespace on these networks; its address ends in `host` in each."""
        self._count += 1
        name = f"twt{self._mark}{self._count}"
        ip("netns", "add", name)
        self._stack.callback(ip, "netns", "del", name)
        ip("-n", name, "link", "set", "lo", "up")
        for number, network in enumerate(networks):
            outside = f"{name}v{number}"
            ip("link", "add", outside, "type", "veth", "peer", "name", f"eth{number}", "netns", name)
            ip("link", "set", outside, "master", network.bridge, "up")
            ip("-n", name, "addr", "add", f"{network.address(host)}/24", "dev", f"eth{number}")
            ip("-n", name, "link", "set", f"eth{number}", "up")
        ip("-n", name, "route", "add", "default", "via", networks[0].gateway)
        return Namespace(name, networks[0].address(host))


def _free_numbers() -> list[int]:
    """First numbers of subnets that no network has: a test run that was killed leaves its own behind."""
    text = subprocess.run(["ip", "-o", "-4", "addr"], check=True, capture_output=True, timeout=20, text=True).stdout
    taken = {int(number) // _NUMBERS for number in re.findall(r" 10\.213\.(\d+)\.", text)}
    return [group * _NUMBERS for group in range(256 // _NUMBERS) if group not in taken]


def ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@contextmanager
def simulated_networks() -> Iterator[Networks]:
    with ExitStack() as stack:
        yield Networks(stack)
