"""Did a connection arrive by the network device that has the address it called? The kernel tells (``man 7 ip``).

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


def by_own_device(accepted: socket.socket) -> bool:
    """Whether the device that `accepted` arrived by is the one whose address it called.

    False for whoever calls from this host (that is the loopback device, whatever the address), for a container that
    calls the gateway of another's network, and for a forged source address that came by a device of somebody else.
    """
    try:
        accepted.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        message = accepted.getsockopt(socket.IPPROTO_IP, _IP_PKTOPTIONS, 64)
        _, level, kind, device, *_ = _PKTINFO.unpack_from(message)
        if (level, kind) != (socket.IPPROTO_IP, _IP_PKTINFO):
            return False
        called: str = accepted.getsockname()[0]
        return _address_of(accepted, socket.if_indextoname(device)) == called
    except (OSError, struct.error):  # the device, or the connection, has gone meanwhile
        return False


def _address_of(any_socket: socket.socket, device: str) -> str:
    answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, _IFREQ.pack(device.encode(), 0, b""))
    return socket.inet_ntoa(answer[20:24])
