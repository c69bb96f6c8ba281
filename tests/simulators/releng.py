"""The release engineers' token service and one of their APIs, which believes that service only."""

import json
from dataclasses import dataclass, field
from typing import Any

from simulators.service import Call, Service

ISSUING_TOKEN = "issuing-not-a-secret"


@dataclass
class TokenService(Service):
    """``POST /tokens``; `answers` are used up first, in place of a token."""

    issued: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, Any]] = field(default_factory=list)

    def answer(self, call: Call) -> tuple[int, Any]:
        if self.answers:
            return self.answers.pop(0)
        if call.fields.get("authorization") != f"Bearer {ISSUING_TOKEN}":
            return 403, {"error": "no"}
        if (call.method, call.path) != ("POST", "/tokens"):
            return 404, {}
        wanted = json.loads(call.body)
        assert set(wanted) == {"typ", "expires", "permissions", "metadata"}
        self.issued.append(wanted)
        return 200, {"result": {"token": f"tmp-{len(self.issued)}"}}


@dataclass
class RelengApi(Service):
    """Tells what it was asked, and with which token."""

    def answer(self, call: Call) -> tuple[int, Any]:
        return 200, {"path": call.path, "authorization": call.fields.get("authorization")}
