"""A container with raw sockets speaks TCP under the address of another; an accomplice hears the answers."""

import secrets
import socket
import struct
import time
from collections.abc import Iterator
from typing import Self

from simulators.networks import Namespace, Network, ip

SYN, PUSH, ACK = 0x02, 0x08, 0x10
_UNUSED = 77
_EVERY_PROTOCOL = 3  # only so are packets seen that go out
_IPV4_TCP = 40


class Forger:
    """A connection to the gateway of `network`, under an address there that nobody has; packets leave `inside`."""

    def __init__(self, inside: Namespace, network: Network, port: int) -> None:
        self._network, self._port = network, port
        self._source, self._source_port = network.address(_UNUSED), 20000 + secrets.randbelow(20000)
        self._raw = inside.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        self._ears = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_EVERY_PROTOCOL))
        self._ears.bind((network.bridge, _EVERY_PROTOCOL))
        self._sequence, self._heard = secrets.randbits(31), 0
        # the host shall send its answers out, though nobody tells it where that address is
        self._neighbour = (self._source, "lladdr", "02:00:00:00:00:4d", "dev", network.bridge)

    def __enter__(self) -> Self:
        ip("neigh", "replace", *self._neighbour)
        return self

    def __exit__(self, *_: object) -> None:
        ip("neigh", "del", self._source, "dev", self._network.bridge)
        self._raw.close()
        self._ears.close()

    def shake_hands(self) -> None:
        self.send(SYN)
        for sequence, _ in self._packets(2.0):
            self._heard = sequence + 1
            self.send(ACK)
            return
        raise AssertionError("the host did not answer")

    def send(self, flags: int, data: bytes = b"") -> None:
        source, target = socket.inet_aton(self._source), socket.inet_aton(self._network.gateway)
        tcp = struct.pack(
            "!HHIIBBHHH", self._source_port, self._port, self._sequence, self._heard, 5 << 4, flags, 65535, 0, 0
        )
        pseudo = source + target + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp) + len(data))
        tcp = tcp[:16] + struct.pack("!H", _checksum(pseudo + tcp + data)) + tcp[18:]
        head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0, source, target)
        self._raw.sendto(head + tcp + data, (self._network.gateway, 0))
        self._sequence += len(data) + (flags & SYN > 0)

    def answers(self, within_s: float) -> Iterator[bytes]:
        """The content of what the other side sends."""
        return (data for _, data in self._packets(within_s))

    def _packets(self, within_s: float) -> Iterator[tuple[int, bytes]]:
        end_s = time.monotonic() + within_s
        while (left_s := end_s - time.monotonic()) > 0:
            self._ears.settimeout(left_s)
            try:
                packet = self._ears.recv(65536)
            except TimeoutError:
                return
            if len(packet) < _IPV4_TCP or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            tcp = packet[(packet[0] & 15) * 4 :]
            from_port, to_port, sequence = struct.unpack_from("!HHI", tcp)
            if (from_port, to_port) == (self._port, self._source_port):
                yield sequence, tcp[(tcp[12] >> 4) * 4 :]


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
