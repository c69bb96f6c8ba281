"""One PUT of a body to a signed URL: what each answer means."""

import http.client
import ssl
from collections.abc import Mapping
from typing import Final

from taskward.core.http1 import Pool
from taskward.uploader.connection import Stored, Url, put
from taskward.uploader.content import Body, Digest
from taskward.uploader.errors import StorageRefused, StorageUnreachable, UrlExpired, UrlUseless

_TIMEOUT_S: Final = 60.0
_TRY_AGAIN: Final = frozenset({400, 408, 425, 429})  # S3 answers 400 when a connection was idle for too long
_EXPIRED: Final = "<Code>ExpiredToken</Code>"  # 400: S3, when the queue signs with a role; Google, when the URL is old
_TOO_LARGE: Final = "<Code>EntityTooLarge</Code>"  # 400: S3 takes 5 GiB in one PUT
_SHOWN: Final = 300


class Transfers:
    """PUTs over kept-alive connections; safe to share between threads."""

    def __init__(self, ca_file: str | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._pool, self._timeout_s = Pool(ssl.create_default_context(cafile=ca_file)), timeout_s

    def close(self) -> None:
        """Closes what is idle."""
        self._pool.close()

    def put(self, url: str, headers: Mapping[str, str], body: Body) -> Digest:
        """Sends `body` once (twice when a kept connection turns out to be dead) and returns its hash.

        Redirects are not followed: a signed URL is for one host.

        Raises:
            UrlExpired: ask for a new URL.
            UrlUseless: the same, once.
            StorageUnreachable: try again later.
            StorageRefused: do not.
            ArtifactLost: the content was not there to be sent.
        """
        target = Url.parse(url)
        where = f"PUT to {target.origin}"
        try:
            answer = self._put(target, headers, body)
        except (OSError, http.client.HTTPException) as error:
            raise StorageUnreachable(f"{where}: {type(error).__name__}: {error}") from error
        return _judge(where, answer)

    def _put(self, url: Url, headers: Mapping[str, str], body: Body) -> Stored:
        connection = self._pool.take(url.origin)
        try:
            return put(connection, url, headers, body, self._timeout_s)
        except (ConnectionError, http.client.HTTPException):
            if not connection.reused:
                raise
        finally:
            self._pool.give_back(url.origin, connection)
        connection = self._pool.open(url.origin)
        try:
            return put(connection, url, headers, body, self._timeout_s)
        finally:
            self._pool.give_back(url.origin, connection)


def _judge(where: str, answer: Stored) -> Digest:
    said = f"{where}: {answer.status} {' '.join(answer.text.split())[:_SHOWN]}"
    if 200 <= answer.status < 300 and answer.digest:
        return answer.digest
    if answer.status == http.HTTPStatus.FORBIDDEN or _EXPIRED in answer.text:
        raise UrlExpired(said)
    if _TOO_LARGE in answer.text:
        raise StorageRefused(said)
    if answer.status in _TRY_AGAIN or answer.status >= 500 or answer.status < 300:
        raise StorageUnreachable(said)
    if answer.status < 400:
        raise UrlUseless(f"{said} (a redirect; an upload follows none)")
    if answer.status == http.HTTPStatus.NOT_FOUND:
        raise UrlUseless(said)
    raise StorageRefused(said)
