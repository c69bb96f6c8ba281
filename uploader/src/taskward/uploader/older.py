"""createArtifact as deployments of Taskcluster before 2026 know it: a property or a reason less, else a 400."""

from collections.abc import Mapping
from typing import Any, Final

UNKNOWN_FORM: Final = "InputValidationError"
"""The code of the queue's answer to a body that its schema does not allow."""

_NEWER_REASONS: Final = {"file-not-readable-on-worker": "invalid-resource-on-worker"}


def without_news(properties: Mapping[str, Any]) -> dict[str, Any]:
    """`properties` without what only newer queues take; nothing of it changes what the artifact is."""
    known = {name: value for name, value in properties.items() if name != "contentLength"}
    if "reason" in known:
        known["reason"] = _NEWER_REASONS.get(known["reason"], known["reason"])
    return known
