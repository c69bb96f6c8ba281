"""All named upstreams of the settings, put together."""

from taskward.proxy.bewit import signed_url
from taskward.proxy.credentials import Vault
from taskward.proxy.devices.app import DeviceApp
from taskward.proxy.devices.cloud import CloudError, DeviceCloud
from taskward.proxy.devices.sessions import Sessions
from taskward.proxy.errors import RequestError
from taskward.proxy.forward import Forwarder
from taskward.proxy.metrics import Metrics
from taskward.proxy.named.dispatch import Dispatch, Handler, Routes
from taskward.proxy.named.origin import NamedOrigin
from taskward.proxy.named.readiness import why_not
from taskward.proxy.named.settings import NamedUpstream
from taskward.proxy.named.tokens import Tokens
from taskward.proxy.routes import RootUrl
from taskward.proxy.settings import Settings
from taskward.proxy.store import Store
from taskward.proxy.upstream import Pool


class Upstreams:
    """What the proxy does for them: `dispatch` for tasks, the rest for the executor; usable by many threads.

    StartError when one of their secret files cannot be used.
    """

    def __init__(self, settings: Settings, store: Store, vault: Vault, metrics: Metrics) -> None:
        self._settings = settings
        self._vault = vault
        self._metrics = metrics
        self._clouds = {
            name: DeviceCloud(name, each.device_cloud.login_file, self._pool(each, each.url), each.timeout_s)
            for name, each in settings.upstreams.items()
            if each.device_cloud is not None and each.url is not None
        }
        self._sessions = Sessions(store, self._clouds)
        self.dispatch = Dispatch(settings.upstreams, self._handler, vault)

    def why_not_ready(self, name: str) -> str:
        """Why an upstream cannot serve now; empty when it can. KeyError for one that the settings do not have."""
        upstream = self._settings.upstreams[name]
        if name in self._clouds:
            try:
                self._clouds[name].log_in()
            except CloudError as error:
                return str(error)
        return why_not(upstream, self._pool(upstream, upstream.url)) if upstream.url is not None else ""

    def end(self, run_key: str) -> bool:
        """The run is over: give back what it has; False when it has nothing.

        CloudError, StoreUnavailable: to be tried again.
        """
        return self._sessions.release(run_key)

    def watch(self) -> None:
        """Start what goes on in the background."""
        if self._clouds:
            self._sessions.watch()

    def _handler(self, name: str) -> Handler:
        upstream = self._settings.upstreams[name]
        if upstream.device_cloud is not None:
            return DeviceApp(name, upstream.device_cloud, self._clouds[name], self._sessions, self._signed)
        tokens = None
        if upstream.token is not None:
            tokens = Tokens(name, upstream.token, self._vault, self._pool(upstream, upstream.token.url))
        forwarders = {}
        for prefix, root in upstream.routes.items():
            origin = NamedOrigin(name, root, upstream, self._pool(upstream, root), tokens)
            forwarders[prefix] = Forwarder(origin, self._metrics, upstream.retry_for_s)
        return Routes(upstream.alias, forwarders)

    def _pool(self, upstream: NamedUpstream, root: RootUrl) -> Pool:
        return Pool(root, upstream.connect_timeout_s, upstream.timeout_s, self._settings.ca_file, upstream.via)

    def _signed(self, run_key: str, url: str) -> str:
        """A URL of Taskcluster with a bewit, any other as it is."""
        try:
            return signed_url(url, self._settings.root_url, self._vault.get(run_key))
        except RequestError as error:
            if error.status >= 500:
                raise
            return url
