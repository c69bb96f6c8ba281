"""A superseder: a service that says which tasks supersede which, or misbehaves as it is told to."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from simulators import listener

Behaviour = Callable[["Request", str], object]


class Request(listener.Request):
    protocol_version = "HTTP/1.0"
    superseder: "Superseder"

    def do_GET(self) -> None:
        (task_id,) = parse_qs(urlsplit(self.path).query).get("taskId", [""])
        self.superseder.asked.append(task_id)
        self.superseder.behaviour(self, task_id)


class Superseder(listener.Listener):
    """Listens on a port of loopback while the context lasts; `asked` are the taskIds that were asked for."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.asked: list[str] = []
        self.behaviour = behaviour
        super().__init__(Request, superseder=self)
        self.url = f"http://127.0.0.1:{self.port}/v1/supersedes?project=x"


def answers(make: Callable[[str], Any], status: int = 200, **headers: str) -> Behaviour:
    """Sends what `make` makes of the asking task's id: bytes as they are, anything else as JSON."""

    def behave(request: Request, task_id: str) -> None:
        made = make(task_id)
        content = made if isinstance(made, bytes) else json.dumps(made).encode()
        request.reply(content, status, **headers)

    return behave


def lists(tasks: Sequence[str]) -> Behaviour:
    """Sends `tasks`, newest first, whoever asks."""
    return answers(lambda _: {"supersedes": list(tasks)})
