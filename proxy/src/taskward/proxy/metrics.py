"""What the proxy counts, in Prometheus' text format; every name is there from the start."""

import threading
from collections.abc import Callable
from typing import Final

_HELP: Final = {
    "taskward_proxy_requests_total": "Requests of tasks that were forwarded or answered, by class of status.",
    "taskward_proxy_refused_total": "Connections of peers that no run owns.",
    "taskward_proxy_retries_total": "Requests that were sent to Taskcluster once more.",
    "taskward_proxy_upstream_errors_total": "Requests that Taskcluster gave no valid answer to.",
    "taskward_proxy_clients_gone_total": "Requests whose task went away before the end of the answer.",
    "taskward_proxy_answer_bytes_total": "Bytes of bodies passed from Taskcluster to tasks.",
}
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


class Metrics:
    """Counters and gauges of one process; usable by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {name: 0 for name in _HELP if name != "taskward_proxy_requests_total"}
        self._classes: dict[str, int] = dict.fromkeys(_CLASSES, 0)
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def count(self, name: str, by: int = 1) -> None:
        """Add to the counter ``taskward_proxy_<name>_total``."""
        with self._lock:
            self._counts[f"taskward_proxy_{name}_total"] += by

    def answered(self, status: int) -> None:
        """Count one answered request."""
        with self._lock:
            self._classes[f"{status // 100}xx"] += 1

    def gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Show the value of ``read()`` as ``taskward_proxy_<name>`` whenever somebody looks."""
        self._gauges[f"taskward_proxy_{name}"] = (description, read)

    def render(self) -> str:
        """Everything, as Prometheus reads it."""
        with self._lock:
            counts, classes = dict(self._counts), dict(self._classes)
        lines: list[str] = []
        for name, description in _HELP.items():
            lines += [f"# HELP {name} {description}", f"# TYPE {name} counter"]
            if name in counts:
                lines.append(f"{name} {counts[name]}")
            else:
                lines += [f'{name}{{status="{status}"}} {value}' for status, value in classes.items()]
        for name, (description, read) in self._gauges.items():
            lines += [f"# HELP {name} {description}", f"# TYPE {name} gauge", f"{name} {read():g}"]
        return "\n".join(lines) + "\n"
