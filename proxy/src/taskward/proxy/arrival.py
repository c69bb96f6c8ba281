"""By which network device did a connection arrive, and which has an address? The kernel tells (``man 7 ip``).

Linux answers for each of its addresses on each of its devices, so the address that a container called does not tell by
which network it came; the device does, and no packet can lie about it.
"""

import fcntl
import socket
import struct
from typing import Final

_IP_PKTINFO: Final = 8
_IP_PKTOPTIONS: Final = 9
_SIOCGIFADDR: Final = 0x8915
_PKTINFO: Final = struct.Struct("@Qiii4s4s")  # length, level, type of the message; device, both addresses
_IFREQ: Final = struct.Struct("16s2xH4s232x")  # name, (family) port, address


def device_of(accepted: socket.socket) -> str | None:
    """The name of the device that the caller's side of an accepted IPv4 connection came by; None: it has gone.

    Whoever calls from this host comes by the loopback device, whatever the address.
    """
    try:
        accepted.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        message = accepted.getsockopt(socket.IPPROTO_IP, _IP_PKTOPTIONS, 64)
        _, level, kind, index, *_ = _PKTINFO.unpack_from(message)
        return socket.if_indextoname(index) if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) else None
    except (OSError, struct.error):
        return None


def address_of(device: str) -> str | None:
    """The (first) IPv4 address of a device; None: it has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, _IFREQ.pack(device.encode(), 0, b""))
    except OSError:
        return None
    return socket.inet_ntoa(answer[20:24])
