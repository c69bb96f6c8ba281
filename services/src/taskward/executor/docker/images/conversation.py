"""Long requests to the daemon, whose answers are JSON messages one after the other."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from taskward.executor.docker.daemon import Daemon, DaemonRefused


def messages(
    daemon: Daemon, what: str, path: str, params: Mapping[str, str], headers: Mapping[str, str], data: Any = None
) -> Iterator[dict[str, Any]]:
    """What the daemon answers to a POST, as it comes; `what` completes "the Docker daemon cannot …".

    Raises:
        DaemonRefused: it could not do it, which it may find out after it has said 200.
        DaemonAway: it is gone, or silent.
    """
    api = daemon.api
    url = f"{api.base_url}/v{api.api_version}{path}"
    with (
        daemon.asking(what),
        api.post(url, params=params, headers=headers, data=data, stream=True, timeout=api.timeout) as response,
    ):
        if response.status_code != 200:
            raise DaemonRefused(what, response.status_code, _reason(response.text))
        for line in response.iter_lines():
            message = json.loads(line) if line.strip() else {}
            error = message.get("errorDetail", {}).get("message") or message.get("error")
            if error:
                raise DaemonRefused(what, response.status_code, str(error))
            yield message


def _reason(body: str) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:500]
