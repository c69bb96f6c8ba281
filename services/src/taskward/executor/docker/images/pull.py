"""Pulls from registries: by a process that can be ended at any time, tried again only where that may help."""

import base64
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from socket import socket
from typing import Any, Final

from taskward.core.settings import Settings
from taskward.executor.docker.daemon import Daemon, DaemonAway, DaemonRefused
from taskward.executor.docker.images.conversation import messages
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.logins import Login
from taskward.executor.docker.images.patience import insist
from taskward.executor.docker.images.progress import Progress, printable
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.images.turn import Turn
from taskward.executor.errors import EngineFailed
from taskward.executor.mounts.errands import Answer, serve

_PASSING: Final = re.compile(
    r"timeout|timed out|connection re(fused|set)|broken pipe|\beof\b|tls handshake|temporary failure|no route to host"
    r"|network is unreachable|server misbehaving|too ?many ?requests|http status: 5|\b50[234]\b|no such host|canceled"
)
_FINAL: Final = re.compile(
    r"manifest unknown|denied|unauthorized|no basic auth|not found|no matching manifest|verification failed"
)
_MEANS: Final = {
    "manifest unknown": "the registry has no such image or tag",
    "no basic auth": "the registry wants a login, and this worker has none for it: [images] registries",
}


class PullFailed(ImageFailed):
    """The registry cannot be reached, or is not in its right mind; another time may be better."""


def puller(settings: Settings) -> Callable[[socket], None]:
    """What to call in a process of ours; it answers to ``pull`` and writes progress to the descriptor that it gets.

    The answer is empty, or has the ``reason`` why not, or, as ``stalled``, that the registry fell silent, or, as
    ``away``, why the daemon could not be asked.
    """
    stall_s = max(1.0, settings.images.stall_s)

    def pull(request: Mapping[str, Any], received: Sequence[int]) -> Answer:
        daemon, progress = Daemon(replace(settings.docker, timeout_s=stall_s)), Progress()
        headers = {"X-Registry-Auth": request["login"]}
        try:
            for message in messages(daemon, "pull the image", "/images/create", request["params"], headers):
                for line in progress.lines(message):
                    os.write(received[0], json.dumps({"line": line}).encode() + b"\n")
        except DaemonRefused as error:
            return {"reason": error.reason}, ()
        except DaemonAway as error:
            if "timed out" in str(error):  # the daemon passes on whatever a registry sends
                return {"stalled": f"timeout: the registry has sent nothing for {stall_s:.0f} seconds"}, ()
            return {"away": str(error)}, ()
        return {}, ()

    return serve({"pull": pull}, float(settings.images.timeout_s))


def pull(
    site: Site, reference: Reference, login: Login | None, turn: Turn, look: Callable[[], None], within_s: float
) -> None:
    """The image is at the daemon when this returns; progress goes to `turn`, and `look` is called meanwhile.

    Raises:
        PullFailed: the registry cannot be reached now, and could not for about `within_s`.
        ImageFailed: it can never be had.
        EngineFailed: the daemon is gone.
        TaskEnded: the run must stop; so does the pull.
    """

    def attempt() -> str:
        return _attempt(site, reference, login, turn, look)

    def wait(reason: str, seconds: float) -> None:
        turn.say(f"{reason}; trying again in {seconds:.1f} seconds")
        look()
        site.pause(seconds)

    if reason := insist(attempt, within_s, wait):
        raise PullFailed(reason)


def _attempt(site: Site, reference: Reference, login: Login | None, turn: Turn, look: Callable[[], None]) -> str:
    """Why it did not succeed, but may; empty if it did."""
    params = {"fromImage": reference.repository, "tag": reference.digest or reference.tag}
    with site.as_ourselves(puller(site.task.settings)) as errands, site.looking(look):
        answer, _ = errands.ask("pull", turn.fd, params=params, login=_header(login))
    if "away" in answer:
        raise EngineFailed(answer["away"])
    if "stalled" in answer:
        raise PullFailed(f"{reference}: {answer['stalled']}")
    reason = str(answer.get("reason", ""))
    told = f"{reference}: {printable(reason)}{_meaning(reason)}" if reason else ""
    if reason and not _may_pass(reason):
        raise ImageFailed(told)
    return told


def _meaning(reason: str) -> str:
    return next((f" ({meaning})" for word, meaning in _MEANS.items() if word in reason), "")


def _header(login: Login | None) -> str:
    """An empty one says that nobody logs in, whatever files of logins lie about."""
    data = {} if login is None else {"username": login.username, "password": login.password}
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode()


def _may_pass(reason: str) -> bool:
    text = reason.lower()
    return not _FINAL.search(text) and bool(_PASSING.search(text))
