"""What the gateway counts, in the text format of Prometheus; every series is present from the start."""

import threading
from typing import Final

DROP_REASONS: Final = (
    "gone",
    "vanished",
    "stalled",
    "silent",
    "never_came",
    "refused",
    "stopping",
    "failed",
    "made_room",
)

_GAUGES: Final = {
    "readers": "Readers connected now.",
    "readers_half_closed": "Those of them that have closed their side: they read on, or have gone.",
    "logs": "Different logs followed now.",
    "shells": "Interactive shells and views of displays open now.",
}
_COUNTERS: Final = {
    "readers_total": "Readers that began to follow.",
    "readers_completed_total": "Readers that got everything they asked for.",
    "sent_bytes_total": "Bytes of logs sent.",
    "shells_total": "Interactive shells that were opened.",
    "displays_total": "Views of displays that were opened.",
    "shells_resumed_total": "Connections that went on with a shell after another was cut off.",
    "shells_refused_total": "Connections that got no shell, or no display.",
}


class Metrics:
    """Gauges and counters; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = dict.fromkeys((*_GAUGES, *_COUNTERS), 0)
        self._dropped: dict[str, int] = dict.fromkeys(DROP_REASONS, 0)
        self._answers: dict[int, int] = {200: 0, 206: 0, 400: 0, 401: 0, 416: 0, 500: 0, 503: 0}

    def set(self, gauge: str, value: int) -> None:
        """Set one of the gauges."""
        with self._lock:
            self._values[gauge] = value

    def add(self, counter: str, amount: int = 1) -> None:
        """Add to one of the counters."""
        with self._lock:
            self._values[counter] += amount

    def dropped(self, reason: str) -> None:
        """Count a reader that did not get everything; `reason` is one of `DROP_REASONS`."""
        with self._lock:
            self._dropped[reason] += 1

    def answered(self, status: int) -> None:
        """Count an answer to a request for a log."""
        with self._lock:
            self._answers[status] = self._answers.get(status, 0) + 1

    def text(self) -> str:
        """All of it, as ``GET /metrics`` answers."""
        with self._lock:
            lines = [
                line
                for kind, described in (("gauge", _GAUGES), ("counter", _COUNTERS))
                for name, text in described.items()
                for line in (*_head(name, kind, text), f"taskward_gateway_{name} {self._values[name]}")
            ]
            lines += _head("readers_dropped_total", "counter", "Readers cut off before the end.")
            lines += [f'taskward_gateway_readers_dropped_total{{reason="{k}"}} {n}' for k, n in self._dropped.items()]
            lines += _head("answers_total", "counter", "Answers to requests for logs, by status.")
            lines += [f'taskward_gateway_answers_total{{status="{k}"}} {n}' for k, n in self._answers.items()]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP taskward_gateway_{name} {text}", f"# TYPE taskward_gateway_{name} {kind}"]
