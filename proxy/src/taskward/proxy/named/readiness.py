"""Is a server there? Asked for the executor, before a task that wants it begins."""

from taskward.proxy.errors import UpstreamError
from taskward.proxy.named.exchange import ask
from taskward.proxy.named.settings import NamedUpstream
from taskward.proxy.upstream import Pool


def why_not(settings: NamedUpstream, pool: Pool) -> str:
    """Why the server is not ready; empty when it is, or when the settings name no status to wait for."""
    if not settings.ready_status or settings.url is None:
        return ""
    try:
        reply = ask(pool, "GET", "/", [("Host", settings.url.authority)], settings.ready_timeout_s)
    except UpstreamError as error:
        return str(error)
    if reply.status in settings.ready_status:
        return ""
    wanted = " or ".join(map(str, settings.ready_status))
    return f"{settings.url} answered status {reply.status}, not {wanted}"
