"""What the features have in common that give a task a host name at which the proxy answers."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from taskward.executor.docker.features.container_feature import refused
from taskward.executor.docker.features.proxy_peer import ProxyPeer
from taskward.executor.proxy_control import ProxyControl

_ATTEMPTS: Final = 15
_PAUSE_S: Final = 1.0


class UpstreamFeature(ProxyPeer):
    """``http://<alias>/`` leads to the upstream that is called like the feature, ``[proxy.upstreams.<key>]``.

    Attributes:
        default_alias: where the settings say no other.
        failure: docker-worker's words for an upstream that is not there.
    """

    default_alias: ClassVar[str]
    failure: ClassVar[str]

    @property
    def configured(self) -> Mapping[str, Any] | None:
        """What the settings say of the upstream; None when they do not have it."""
        upstreams = self.task.settings.others.get("proxy", {}).get("upstreams", {})
        return upstreams.get(self.key) if isinstance(upstreams, Mapping) else None

    @property
    def alias(self) -> str:
        """The host name."""
        return str((self.configured or {}).get("alias", self.default_alias))

    def flaws(self) -> Iterator[str]:
        """This worker has no such upstream, or no way to it."""
        if self.configured is None or self.front is None:
            yield f"payload.features: {self.key} is not enabled on this worker ([proxy.upstreams.{self.key}])"

    def start(self) -> None:
        """Waits until the upstream answers, then lets the container call it.

        Raises:
            TaskEnded: it does not answer.
        """
        self.wait_until_ready()
        self.allow()

    def stop(self) -> None:
        """Nothing: the address is given back as a whole."""

    def allow(self) -> None:
        """The container finds the host name, and the proxy answers there."""
        admission = self.admission()
        admission.allow(self.key)
        self.engine.outfit.hosts[self.alias] = admission.address

    def wait_until_ready(self) -> None:
        """Asks the proxy, which knows the way, a few times.

        Raises:
            TaskEnded: the upstream does not answer as it should, or the run must stop.
        """
        control = ProxyControl(self.task.settings.others.get("proxy", {}))
        attempts = 1
        while problem := control.why_not_ready(self.key):
            if self.task.watch is not None:
                self.task.watch.check()
            if attempts == _ATTEMPTS:
                raise refused(f"{self.failure} {problem}")
            attempts += 1
            time.sleep(_PAUSE_S)
