"""The update server's administration, production or staging, through whatever tunnel leads there."""

from collections.abc import Iterator

from taskward.executor.docker.features.upstream import UpstreamFeature


class BalrogVPNProxy(UpstreamFeature):
    """``features.balrogVPNProxy``: ``http://balrog`` is production. The scope is looked at by `rights`."""

    name = "Balrog VPN Proxy"
    key = "balrogVPNProxy"
    default_alias = "balrog"
    failure = "Failed to initialize balrog vpn proxy service."

    def flaws(self) -> Iterator[str]:
        """One name cannot lead to both."""
        yield from super().flaws()
        if {BalrogVPNProxy.key, BalrogStageVPNProxy.key} <= self.task.payload.features:
            yield "payload.features: balrogVPNProxy and balrogStageVPNProxy are both http://balrog; ask for one of them"


class BalrogStageVPNProxy(BalrogVPNProxy):
    """``features.balrogStageVPNProxy``: ``http://balrog`` is staging."""

    name = "Balrog Stage VPN Proxy"
    key = "balrogStageVPNProxy"
