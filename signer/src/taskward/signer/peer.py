"""Who is at the other end of a connection: a user of this host, or, from another host, a client certificate."""

import re
import ssl
from collections.abc import Mapping
from typing import Any, Final

from taskward.signer.answers import ForbiddenError
from taskward.signer.door import SocketDoor, TlsDoor
from taskward.signer.sockets import peer_uid

_FIRST: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def allowed_peer(connection: Any, door: SocketDoor | TlsDoor) -> Mapping[str, int | str]:
    """Who calls, for the audit log: ``{"uid": …}`` or ``{"client": …}``.

    The kernel vouches for the uid, our certificate authority for the name. Raises `ForbiddenError` for anybody whom the
    configuration does not name.
    """
    if isinstance(door, TlsDoor):
        names = _names(connection.getpeercert() or {})
        known = sorted(names & door.allowed_clients)
        if not known:
            raise ForbiddenError("caller-not-allowed", f"{' '.join(sorted(names))!r} is not one of allowed_clients")
        return {"client": known[0]}
    uid = peer_uid(connection)
    if uid not in door.allowed_uids:
        raise ForbiddenError("caller-not-allowed", f"uid {uid} is not one of allowed_users")
    return {"uid": uid}


def is_ourselves(connection: Any, door: TlsDoor) -> bool:
    """Whether the caller shows this signer's own certificate, as a health check beside it does."""
    try:
        ours = ssl.PEM_cert_to_DER_cert(_FIRST.findall(door.certificate_file.read_text())[0])
    except (OSError, ValueError, IndexError):
        return False
    return bool(connection.getpeercert(binary_form=True) == ours)


def _names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """The DNS names among the alternative names of the subject; a common name proves nothing."""
    return frozenset(value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")
