"""Balrog's administration: whoever does not log in gets 401."""

import base64
from dataclasses import dataclass
from typing import Any

from simulators.service import Call, Service

LOGIN = "Basic " + base64.b64encode(b"ffxbld:not-a-secret").decode()


@dataclass
class Balrog(Service):
    awake: bool = True

    def answer(self, call: Call) -> tuple[int, Any]:
        if not self.awake:
            return 502, {}
        return (200, {"path": call.path}) if call.fields.get("authorization") == LOGIN else (401, {})
