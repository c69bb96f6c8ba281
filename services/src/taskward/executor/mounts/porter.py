"""What is done for a task's mounts with the rights of the task's user: downloads, hashes, files and places."""

import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from socket import socket
from typing import Any, Final

from taskward.core.clock import format_time, parse_time
from taskward.executor.mounts import ask, fetch, unpack
from taskward.executor.mounts.digest import sha256_of
from taskward.executor.mounts.errands import Answer, Refused, serve
from taskward.executor.mounts.place import Places, copy

_SLACK_S: Final = 60.0
_PURGES_WITHIN_S: Final = 20.0


def porter(home: str, ca: str, limits: fetch.Limits) -> Callable[[socket], None]:
    """What to call as the task's user; the other end is an `Errands`.

    Args:
        home: the task directory.
        ca: PEM certificates to trust beside the system's.
        limits: of one download.
    """
    client = ask.Client(ca, limits.stall_s)

    def download(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        return fetch.Download(client, request["url"], request["to_proxy"], received[0], limits).run(), ()

    def find(request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        answer = ask.get_json(client, request["url"], limits.longest_s, to_proxy=True)
        return {"taskId": str(_at(answer, "taskId"))}, ()

    def purges(request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        signal.setitimer(signal.ITIMER_REAL, _PURGES_WITHIN_S)
        answer = ask.get_json(client, request["url"], _PURGES_WITHIN_S, to_proxy=request["to_proxy"])
        return {"before": _latest(_at(answer, "requests"), set(request["names"]))}, ()

    def authorise(request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        ask.may_read(client, request["url"], limits.longest_s)
        return {}, ()

    places = Places(home)

    def directory(request: Mapping[str, Any], _received: Sequence[int]) -> Answer:
        descriptor, empty = places.directory(request["place"])
        return {"empty": empty}, (descriptor,)

    def file(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        with places.new_file(request["place"]) as target:
            if request["format"]:
                _decompress(request, received[0], target)
            else:
                copy(received[0], target)
        return {}, ()

    handlers = {
        "download": download, "find": find, "purges": purges, "authorise": authorise, "hash": _hash,
        "directory": directory, "file": file, "unpack": unpack.unpack,
    }  # fmt: skip
    return serve(handlers, limits.longest_s + _SLACK_S)


def _decompress(request: Mapping[str, Any], source: int, target: int) -> None:
    try:
        unpack.decompress(request, source, target)
    except Refused as refused:
        what = f"{request['format']} file {request['source']} to '{request['place']}'"
        raise Refused(f"Could not decompress {what}: {refused}") from refused


def _hash(_request: Mapping[str, Any], received: Sequence[int]) -> Answer:
    sha256, size_bytes = sha256_of(received[0])
    return {"sha256": sha256, "size": size_bytes}, ()


def _latest(requests: Any, names: set[str]) -> dict[str, str]:
    """Cache name → the latest ``before``, of those that are wanted."""
    before: dict[str, datetime] = {}
    try:
        for request in requests:
            name, when = str(_at(request, "cacheName")), parse_time(_at(request, "before"))
            if name in names:
                before[name] = max(before.get(name, when), when)
    except (TypeError, ValueError, AttributeError) as error:
        raise Refused("the answer is not understood") from error
    return {name: format_time(when) for name, when in before.items()}


def _at(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict) or name not in answer:
        raise Refused(f"the answer has no {name}")
    return answer[name]
