"""What the executor asks of the proxy itself, at its status socket."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from taskward.core.ids import RunId

_TIMEOUT_S: Final = 30.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class ProxyControl:
    """Each call waits for at most half a minute; what goes wrong is told, not raised."""

    def __init__(self, proxy: Mapping[str, Any]) -> None:
        self._socket = Path(str(proxy.get("status_socket", "")))

    def why_not_ready(self, upstream: str) -> str:
        """Why a named upstream cannot be used now; empty when it can."""
        return self._post(f"/upstreams/{upstream}/ready")

    def end(self, run: RunId) -> str:
        """Gives back what the proxy holds for a run at its upstreams; why that failed, or nothing."""
        return self._post(f"/runs/{run.task_id}/{run.run_id}/end")

    def _post(self, path: str) -> str:
        try:
            status, answer = self._exchange(path)
            problem = json.loads(answer).get("problem", "")
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            return f"the proxy gives no answer: {error}"
        return str(problem) if problem or status == http.client.OK else f"the proxy answered status {status}"

    def _exchange(self, path: str) -> tuple[int, bytes]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.connect(str(self._socket))
            connection = http.client.HTTPConnection("proxy")
            connection.sock = sock
            connection.request("POST", path, headers={"Connection": "close"})
            with connection.getresponse() as answer:
                return answer.status, answer.read(_MAX_ANSWER_BYTES)
