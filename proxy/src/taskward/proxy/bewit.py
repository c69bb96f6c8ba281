"""URLs of Taskcluster that anybody may GET for a while."""

import time
from datetime import UTC, datetime
from typing import Final

from werkzeug.urls import iri_to_uri

from taskward.proxy import routes
from taskward.proxy.credentials import Credentials
from taskward.proxy.errors import RequestError
from taskward.proxy.routes import RootUrl

LASTS_S: Final = 3600


def signed_url(url: str, root: RootUrl, credentials: Credentials) -> str:
    """`url` (of the root host, or a path) with a bewit that holds for an hour or until the credentials end.

    A fragment stays at its end, unsigned, as in the original: it is for whoever opens the URL.
    RequestError for another host, what is no URL, and what has a bewit already.
    """
    target = iri_to_uri(routes.resolve_url(url, root))  # as werkzeug will write it into Location
    if "bewit=" in target:
        raise RequestError(400, "InvalidUrl", "The URL has a bewit already.")
    _, mark, fragment = url.partition("#")
    return f"{root}{credentials.signer.bewit(target, _end_s(credentials.expires))}{iri_to_uri(mark + fragment)}"


def _end_s(credentials_end: datetime) -> int:
    now_s = int(time.time())
    end_s = min(now_s + LASTS_S, int(credentials_end.astimezone(UTC).timestamp()))
    if end_s <= now_s:
        raise RequestError(503, "NoCredentials", "The credentials of this run have expired.")
    return end_s
