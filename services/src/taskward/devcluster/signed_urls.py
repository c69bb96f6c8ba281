"""URLs into the cluster's storage, signed like those of S3.

A signed URL is good for one method and one key until it expires. It covers the headers that it
names, and a request must not add ``x-amz-`` headers of its own.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from taskward.devcluster.clock import Clock

_DATE = "%Y%m%dT%H%M%SZ"
#: Anybody may read here.
PUBLIC_BUCKET = "public-artifacts"
PRIVATE_BUCKET = "private-artifacts"
OBJECT_BUCKET = "objects"


class StorageError(Exception):
    """A refusal of the storage; ``code`` and ``status`` are those of S3."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class SignedUrls:
    """Makes and checks URLs; ``base`` tells what the client at hand reaches the cluster by."""

    def __init__(self, base: Callable[[], str], key: str, clock: Clock) -> None:
        self._base = base
        self._key = key.encode()
        self._clock = clock

    def public(self, key: str) -> str:
        """Return the unsigned URL of a key in the public bucket.

        As in the real queue, it is wrong for keys with ``%`` or ``//``: they are stored but not found.
        """
        path = quote(re.sub("/+", "/", key), safe="/%~!*'()")
        return f"{self._base()}/s3/{PUBLIC_BUCKET}/{path}"

    def sign(
        self, method: str, bucket: str, key: str, lifetime: timedelta, headers: Mapping[str, str] | None = None
    ) -> str:
        """Return a URL for one method; the request must carry exactly these headers.

        ``headers`` has lower-case names.
        """
        covered = {"host": "", **(headers or {})}
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": self._clock.now().strftime(_DATE),
            "X-Amz-Expires": str(int(lifetime.total_seconds())),
            "X-Amz-SignedHeaders": ";".join(sorted(covered)),
        }
        query["X-Amz-Signature"] = self._mac(method, bucket, key, query, covered)
        return f"{self._base()}/s3/{bucket}/{quote(key, safe='/~')}?{urlencode(query)}"

    def check(self, method: str, bucket: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
        """Raise ``StorageError`` unless the request carries a signature that holds.

        ``headers`` are those of the request, with lower-case names.
        """
        if "X-Amz-Signature" not in query:
            raise StorageError("AccessDenied", 403, "Access Denied")
        names = query.get("X-Amz-SignedHeaders", "").split(";")
        # The host is named for the sake of clients that look; the root URL may have other names.
        covered = {name: "" if name == "host" else headers.get(name, "") for name in names}
        expected = self._mac(method, bucket, key, query, covered)
        given = query["X-Amz-Signature"].encode("utf-8", "replace")
        if not hmac.compare_digest(expected.encode(), given):
            raise StorageError(
                "SignatureDoesNotMatch", 403, "The request signature does not match: check method, path, headers"
            )
        self._check_unsigned(names, headers)
        self._check_age(query)

    @staticmethod
    def _check_unsigned(names: Iterable[str], headers: Mapping[str, str]) -> None:
        unsigned = [name for name in headers if name.startswith("x-amz-") and name not in names]
        if unsigned:
            message = f"There were headers present in the request which were not signed: {', '.join(unsigned)}"
            raise StorageError("AccessDenied", 403, message)

    def _check_age(self, query: Mapping[str, str]) -> None:
        made = datetime.fromisoformat(query["X-Amz-Date"])
        if self._clock.now() > made + timedelta(seconds=int(query["X-Amz-Expires"])):
            raise StorageError("AccessDenied", 403, "Request has expired")

    def _mac(self, method: str, bucket: str, key: str, query: Mapping[str, str], covered: Mapping[str, str]) -> str:
        lines = [method, bucket, key, query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")]
        lines += [f"{name}:{covered[name].strip()}" for name in sorted(covered)]
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, text, "sha256").hex()
