"""The release engineers' API, with a token for the permissions that stand in the task's scopes, word for word."""

from typing import Final

from taskward.executor.docker.features.container_feature import refused
from taskward.executor.docker.features.upstream import UpstreamFeature

_SCOPE: Final = "docker-worker:relengapi-proxy:"


class RelengAPIProxy(UpstreamFeature):
    """``features.relengAPIProxy``: ``http://relengapi``. The proxy fetches the token; no task sees it."""

    name = "RelengAPI Proxy"
    key = "relengAPIProxy"
    default_alias = "relengapi"
    failure = "Failed to initialize releng API proxy service due to:"

    def start(self) -> None:
        """Looks for permissions first: without any there is nothing to call.

        Raises:
            TaskEnded: there are none.
        """
        table = (self.configured or {}).get("token", {})
        prefix = str(table.get("scope_prefix", _SCOPE))
        written = [str(scope) for scope in self.task.definition.get("scopes", ())]
        if not any(scope.startswith(prefix) and scope != prefix for scope in written):
            raise refused(
                f"{self.failure} No RelengAPI permission scopes (matching '{prefix}*') found on task "
                f"{self.task.run.task_id}"
            )
        super().start()
