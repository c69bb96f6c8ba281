"""Carries bytes between the clients of a port that root holds and a server of the task behind a Unix socket.

It runs with the task's rights (`Engine.as_task`), since the network talks to it. It ends with its connection to the
process that started it, or with the task's other processes.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

MOST_CLIENTS: Final = 16
_CHUNK_BYTES: Final = 64 << 10


def listen(address: str, first_port: int, count: int) -> socket.socket:
    """A listening socket at the first of `count` ports that is free; at any port if `first_port` is 0.

    Raises:
        OSError: none is free, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in range(first_port, first_port + max(1, count)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(MOST_CLIENTS)
        except OSError:
            listener.close()
            if port == first_port + count - 1 or not first_port:
                raise
        else:
            return listener
    raise AssertionError("there is always a first port")


def hand_over(control: socket.socket, listener: socket.socket) -> None:
    """Gives `relay` at the other end of `control` the socket to accept clients from."""
    socket.send_fds(control, [b"."], [listener.fileno()])


def relay(target: Path) -> Callable[[socket.socket], None]:
    """A function for `Engine.as_task`: carries bytes to `target` until the other end of its socket is closed."""

    def serve(control: socket.socket) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # whoever started it decides
        _, (listener, *_), _, _ = socket.recv_fds(control, 1, 1)
        with asyncio.Runner() as runner:
            runner.run(_serve(control, socket.socket(fileno=listener), target))

    return serve


async def _serve(control: socket.socket, listener: socket.socket, target: Path) -> None:
    clients: set[asyncio.StreamWriter] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(clients) < MOST_CLIENTS:
            clients.add(writer)
            with contextlib.suppress(OSError):
                await _carry(reader, writer, target)
            clients.discard(writer)
        writer.close()

    control.setblocking(False)
    async with await asyncio.start_server(attend, sock=listener):
        await asyncio.get_running_loop().sock_recv(control, 1)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Path) -> None:
    from_server, to_server = await asyncio.open_unix_connection(target)
    try:
        ends = [asyncio.ensure_future(_copy(reader, to_server)), asyncio.ensure_future(_copy(from_server, writer))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
    finally:
        to_server.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK_BYTES):
        target.write(data)
        await target.drain()
