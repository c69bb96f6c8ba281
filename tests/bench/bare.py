"""What a server takes at most: requests made beforehand, sent over kept connections by one loop that does nothing else.

Also the processor time of a process. Both say what limits a figure, in the same run.
"""

import os
import re
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def request(method: str, url: str, headers: dict[str, str], body: bytes) -> bytes:
    """One HTTP/1.1 request, as it goes out."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    fields = {"Host": parts.netloc, "Content-Length": str(len(body)), **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def send_all(root_url: str, requests: Sequence[bytes], connections: int = 20) -> tuple[float, list[bytes]]:
    """Seconds until all `requests` are answered, and the bodies of the answers; fails unless each is a success."""
    place = urlsplit(root_url)
    waiting, answers = deque(enumerate(requests)), [b""] * len(requests)
    with selectors.DefaultSelector() as selector:
        for _ in range(min(connections, len(requests))):
            client = socket.create_connection((str(place.hostname), place.port or 80))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client, selectors.EVENT_READ, _Exchange(client))
        exchanges = [key.data for key in selector.get_map().values()]
        began = time.perf_counter()
        under_way = sum(exchange.next(waiting) for exchange in exchanges)
        while under_way:
            for key, _ in selector.select():
                exchange: _Exchange = key.data
                if (body := exchange.read()) is not None:
                    answers[exchange.number] = body
                    under_way -= not exchange.next(waiting)
        took = time.perf_counter() - began
        for exchange in exchanges:
            exchange.client.close()
    return took, answers


@dataclass
class _Exchange:
    """One request after the other on one connection."""

    client: socket.socket
    number: int = 0
    received: bytearray = field(default_factory=bytearray)

    def next(self, waiting: deque[tuple[int, bytes]]) -> bool:
        """Whether there was one more to be sent."""
        if not waiting:
            return False
        self.number, content = waiting.popleft()
        self.received.clear()
        self.client.sendall(content)
        return True

    def read(self) -> bytes | None:
        """The body of the answer, once it is all there."""
        piece = self.client.recv(65536)
        assert piece, f"closed after {bytes(self.received)!r}"
        self.received += piece
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if end else None
        if not length or len(body) < int(length[1]):
            return None
        assert head[9:10] == b"2", f"{bytes(head)!r}: {bytes(body)!r}"
        return bytes(body)


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and its children have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND + sum(cpu_s(int(child)) for child in children)
