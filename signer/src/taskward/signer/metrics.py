"""Counters of the signer in Prometheus' text form; every series is there from the start."""

import threading
from collections import Counter
from typing import Final

from taskward.signer.wire import FORMS

_OUTCOMES: Final = ("certified", "repeated", "refused", "unavailable")


class Metrics:
    """What happened since the start; safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self._signatures: Counter[str] = Counter(dict.fromkeys(FORMS, 0))
        self._refusals: Counter[str] = Counter()
        self._seconds = 0.0

    def answered(self, outcome: str, seconds: float) -> None:
        """A request to certify ended: certified, repeated (the stored answer), refused or unavailable."""
        with self._lock:
            self._requests[outcome] += 1
            self._seconds += seconds

    def refused(self, code: str) -> None:
        """A request got an error with this code."""
        with self._lock:
            self._refusals[code] += 1

    def signed(self, form: str) -> None:
        """The keyholder made a signature."""
        with self._lock:
            self._signatures[form] += 1

    def text(self, keyholder_up: bool, openpgp_expires_s: float) -> str:
        """The exposition text; `openpgp_expires_s` is NaN while unknown, and infinite for never.

        https://prometheus.io/docs/instrumenting/exposition_formats/
        """
        with self._lock:
            return "".join(
                (
                    _counters("requests", "Requests to certify, by outcome.", "outcome", self._requests),
                    _counters("errors", "Requests without documents, by error code.", "code", self._refusals),
                    _counters("signatures", "Signatures made, by form.", "form", self._signatures),
                    _single("certify_seconds_total", "counter", "Time spent on requests.", self._seconds),
                    _single(
                        "keyholder_up",
                        "gauge",
                        "1 when the keyholder listens and its OpenPGP key has not expired.",
                        int(keyholder_up),
                    ),
                    _single(
                        "openpgp_key_expires_timestamp_seconds",
                        "gauge",
                        "When the OpenPGP key expires; plan a new one before that.",
                        openpgp_expires_s,
                    ),
                )
            )


def _counters(name: str, help_text: str, label: str, values: Counter[str]) -> str:
    full = f"taskward_signer_{name}_total"
    lines = [f'{full}{{{label}="{value}"}} {count}' for value, count in sorted(values.items())]
    return "\n".join((f"# HELP {full} {help_text}", f"# TYPE {full} counter", *lines, ""))


def _single(name: str, kind: str, help_text: str, value: float) -> str:
    full = f"taskward_signer_{name}"
    number = {"nan": "NaN", "inf": "+Inf"}.get(str(value), str(value))
    return f"# HELP {full} {help_text}\n# TYPE {full} {kind}\n{full} {number}\n"
