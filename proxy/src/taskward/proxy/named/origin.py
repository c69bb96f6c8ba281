"""One server behind a name of its own."""

from collections.abc import Mapping

from taskward.proxy import headers
from taskward.proxy.caller import Container
from taskward.proxy.connection import TaskSocket
from taskward.proxy.named.settings import NamedUpstream
from taskward.proxy.named.tokens import Tokens
from taskward.proxy.routes import RootUrl
from taskward.proxy.upstream import Pool


class NamedOrigin:
    """See `origin.Origin`: what the task says goes on, its Authorization too, but for what the settings replace."""

    def __init__(self, name: str, root: RootUrl, settings: NamedUpstream, pool: Pool, tokens: Tokens | None) -> None:
        self.title = f"{name} at {root}"
        self.pool = pool
        self._root = root
        self._alias = settings.alias
        self._headers = settings.headers
        self._tokens = tokens
        token_field = {"authorization"} if tokens else set()
        self._replaced = frozenset({key.lower() for key in settings.headers} | token_field)

    def passed_on(self, environ: Mapping[str, object]) -> headers.Fields:
        """Everything but what is replaced, and whom the task claims to speak for."""
        return headers.sent_on(environ, self._replaced)

    def own_fields(self, sock: TaskSocket, method: str, target: str) -> headers.Fields:
        """Host, the fields of the settings, and a token; RequestError when there is none."""
        peer = sock.caller.address if isinstance(sock.caller, Container) else ""
        fields = [("Host", self._root.authority)]
        for name, value in self._headers.items():
            fields.append((name, value.replace("$host", self._alias).replace("$peer", peer)))
        if self._tokens is not None:
            fields.append(("Authorization", f"Bearer {self._tokens.get(str(sock.run_key))}"))
        return fields

    def answer_fields(self, sock: TaskSocket, target: str) -> headers.Fields:
        """Nothing: the answer is the server's own."""
        return []
