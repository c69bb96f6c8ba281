"""A server that requests are sent on to: what it is told beside what the task says, and what the task is told."""

from collections.abc import Mapping
from typing import Final, Protocol

from taskward.proxy import headers
from taskward.proxy.connection import TaskSocket
from taskward.proxy.credentials import Vault
from taskward.proxy.routes import RootUrl
from taskward.proxy.upstream import Pool

_LONGEST_ENDPOINT_CHARS: Final = 4096  # clients that read 8 KiB of a head, or of a line, are many


class Origin(Protocol):
    """One server, for many threads. The two methods that look something up may raise RequestError.

    Attributes:
        title: what it is called in messages to tasks.
        pool: connections to it.
    """

    title: str
    pool: Pool

    def passed_on(self, environ: Mapping[str, object]) -> headers.Fields:
        """What is sent on of the fields of a task's request (a WSGI environ)."""
        ...

    def own_fields(self, sock: TaskSocket, method: str, target: str) -> headers.Fields:
        """What is added to a request, asked anew for each try; begins with Host."""
        ...

    def answer_fields(self, sock: TaskSocket, target: str) -> headers.Fields:
        """What is added to the answer."""
        ...


class Taskcluster:
    """The root URL; requests are signed with the newest credentials of their run."""

    def __init__(self, root: RootUrl, vault: Vault, pool: Pool) -> None:
        self.title = f"Taskcluster at {root}"
        self.pool = pool
        self._root = root
        self._vault = vault

    def passed_on(self, environ: Mapping[str, object]) -> headers.Fields:
        """All but the task's own signature, and whom it claims to speak for."""
        return headers.to_taskcluster(environ)

    def own_fields(self, sock: TaskSocket, method: str, target: str) -> headers.Fields:
        """The signature; RequestError (503) when the run has no credentials."""
        authorization = self._vault.get(str(sock.run_key)).authorization(method, target)
        return [("Host", self._root.authority), ("Authorization", authorization)]

    def answer_fields(self, sock: TaskSocket, target: str) -> headers.Fields:
        """Where the answer is from (unless that is too long for a field), and under what identity it was asked for."""
        url = f"{self._root}{target}"
        endpoint = [("X-Taskcluster-Endpoint", url)] if len(url) <= _LONGEST_ENDPOINT_CHARS else []
        return [*endpoint, *self._vault.get(str(sock.run_key)).answer_headers]
