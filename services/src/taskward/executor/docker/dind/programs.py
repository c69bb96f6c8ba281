"""What runs in a task's containers: its streams, its end, and further programs."""

import re
from collections.abc import Mapping
from typing import Any, Final

from taskward.executor.docker.dind import view
from taskward.executor.docker.dind.checks import DETACH_KEYS, NUMBER, checked
from taskward.executor.docker.dind.context import NAME, Context, Route, route
from taskward.executor.docker.dind.exchange import Exchange
from taskward.executor.docker.dind.fields import Fields
from taskward.executor.docker.dind.splice import end, splice

_STREAMS: Final = ("stream", "stdin", "stdout", "stderr", "logs")
_LOGS: Final = ("stdout", "stderr", "follow", "timestamps")
_TIME: Final = re.compile(r"-?[0-9T:.Z+-]{0,40}")
_CONDITION: Final = re.compile(r"not-running|next-exit|removed|")


def wait(context: Context, exchange: Exchange, name: str) -> None:
    """For its end."""
    own = context.holdings.container(name)
    condition = checked(exchange.request.query.text("condition"), _CONDITION)
    query = {"condition": condition} if condition else None
    exchange.relay(context.wire.open("POST", "containers", own.id, "wait", query=query))


def logs(context: Context, exchange: Exchange, name: str) -> None:
    """What it has printed, and with ``follow`` what it prints."""
    query, own = exchange.request.query, context.holdings.container(name)
    passed = {key: "1" if query.flag(key) else "0" for key in _LOGS}
    passed |= {key: checked(query.text(key), _TIME) for key in ("since", "until") if query.text(key)}
    if tail := query.text("tail"):
        passed["tail"] = "all" if tail == "all" else checked(tail, NUMBER)
    exchange.relay(context.wire.open("GET", "containers", own.id, "logs", query=passed))


def attach(context: Context, exchange: Exchange, name: str) -> None:
    """To its streams."""
    query, own = exchange.request.query, context.holdings.container(name)
    passed = {key: "1" if query.flag(key) else "0" for key in _STREAMS}
    passed["detachKeys"] = checked(query.text("detachKeys"), DETACH_KEYS)
    _join(exchange, context, ("containers", own.id, "attach"), passed, None)


def make_execution(context: Context, exchange: Exchange, name: str) -> None:
    """A further program; nothing runs yet."""
    own, fields = context.holdings.container(name), Fields.read(exchange.request.body.whole())
    config: dict[str, Any] = {key: fields.flag(key) for key in ("AttachStdin", "AttachStdout", "AttachStderr", "Tty")}
    config |= {"Cmd": fields.texts("Cmd"), "Env": fields.texts("Env"), "User": fields.text("User")}
    config |= {"WorkingDir": fields.text("WorkingDir"), "DetachKeys": fields.text("DetachKeys", DETACH_KEYS.pattern)}
    fields.drop("Detach", "Container", "ConsoleSize")
    fields.close()
    made = context.wire.ask("POST", "containers", own.id, "exec", body=config)
    context.holdings.add_execution(made["Id"])
    exchange.reply(201, {"Id": made["Id"]})


def start_execution(context: Context, exchange: Exchange, execution_id: str) -> None:
    """Runs it."""
    own, fields = context.holdings.execution(execution_id), Fields.read(exchange.request.body.whole())
    detach, terminal = fields.flag("Detach"), fields.flag("Tty")
    fields.drop("ConsoleSize")
    fields.close()
    body = {"Detach": detach, "Tty": terminal}
    if detach:
        context.wire.ask("POST", "exec", own, "start", body=body)
        exchange.empty(200)
        return
    _join(exchange, context, ("exec", own, "start"), None, body)


def inspect_execution(context: Context, exchange: Exchange, execution_id: str) -> None:
    """How it goes, or how it went."""
    own = context.holdings.execution(execution_id)
    exchange.reply(200, view.execution(context.wire.ask("GET", "exec", own, "json")))


def resize_execution(context: Context, exchange: Exchange, execution_id: str) -> None:
    """Its terminal."""
    own, query = context.holdings.execution(execution_id), exchange.request.query
    size = {key: checked(query.text(key), NUMBER) or "0" for key in ("h", "w")}
    context.wire.ask("POST", "exec", own, "resize", query=size)
    exchange.empty(200)


def _join(exchange: Exchange, context: Context, path: tuple[str, ...], query: Mapping[str, Any] | None,
          body: Any) -> None:  # fmt: skip
    daemon = context.wire.upgrade(*path, query=query, body=body)
    with daemon:
        exchange.on_hangup(lambda: end(daemon))
        splice(exchange.upgrade(), daemon)


ROUTES: Final[tuple[Route, ...]] = (
    route("GET", f"/containers/{NAME}/logs", logs, *_LOGS, "since", "until", "tail", "details"),
    route("POST", f"/containers/{NAME}/wait", wait, "condition"),
    route("POST", f"/containers/{NAME}/attach", attach, *_STREAMS, "detachKeys"),
    route("POST", f"/containers/{NAME}/exec", make_execution),
    route("POST", f"/exec/{NAME}/start", start_execution),
    route("POST", f"/exec/{NAME}/resize", resize_execution, "h", "w"),
    route("GET", f"/exec/{NAME}/json", inspect_execution),
)
