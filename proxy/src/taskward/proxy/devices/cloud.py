"""The device cloud's HTTP API, as far as it is needed here."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from taskward.proxy.errors import StartError, UpstreamError
from taskward.proxy.named import secretfile
from taskward.proxy.named.exchange import Reply, ask
from taskward.proxy.upstream import Pool

log = logging.getLogger(__name__)

_CLIENT_ID: Final = "testdroid-cloud-api"
_RENEW_BEFORE_S: Final = 60.0
_UNAUTHORIZED: Final = 401
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")


class CloudError(Exception):
    """The cloud did not do what was asked; the text says what, and why."""


@dataclass(frozen=True)
class Device:
    """A phone of the cloud."""

    id: int
    name: str
    free: bool


class DeviceCloud:
    """One account at one cloud; usable by many threads. Every method raises CloudError."""

    def __init__(
        self, name: str, login_file: Path, pool: Pool, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._login_file = login_file
        self._where = f"[proxy.upstreams.{name}.device_cloud] login_file"
        self._pool = pool
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._token, self._renew_at_s = "", float("-inf")
        self._login()

    def log_in(self) -> None:
        """Make sure that the cloud knows us."""
        with self._lock:
            if self._clock() < self._renew_at_s:
                return
            try:
                username, password = self._login()
            except StartError as error:
                log.error("%s", error)
                raise CloudError("this worker has no login for the device cloud") from error
            form = {"client_id": _CLIENT_ID, "grant_type": "password", "username": username, "password": password}
            reply = self._ask("POST", "/oauth/token", [_FORM], urlencode(form).encode())
            granted = _json(reply, "POST oauth/token")
            try:
                self._token, lasts_s = str(granted["access_token"]), float(granted.get("expires_in", 600))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise CloudError("the device cloud gave no access token") from error
            self._renew_at_s = self._clock() + max(1.0, lasts_s - _RENEW_BEFORE_S)

    def devices(self, labels: Sequence[int] = ()) -> list[Device]:
        """The phones that have all these labels."""
        query = [("label_id[]", str(label)) for label in labels] + [("limit", "0")]
        found = self._list(f"devices?{urlencode(query)}")
        return [
            Device(_id(each), str(each.get("displayName", "")), bool(each.get("online")) and not each.get("locked"))
            for each in found
        ]

    def properties(self, device: int) -> dict[str, str | list[str]]:
        """Label group → the phone's label in it, or several."""
        groups: dict[str, list[str]] = {}
        for each in self._list(f"devices/{device}/properties?limit=0"):
            groups.setdefault(str(each.get("propertyGroupName")), []).append(str(each.get("displayName")))
        return {group: labels[0] if len(labels) == 1 else labels for group, labels in groups.items()}

    def label(self, group: str, label: str) -> int | None:
        """The number of a label; None when the cloud has no such label, or no such group."""
        for each in self._list("label-groups"):
            if each.get("displayName") == group:
                labels = self._list(f"label-groups/{_id(each)}/labels")
                return next((_id(found) for found in labels if found.get("displayName") == label), None)
        return None

    def project(self, name: str) -> int:
        """The number of one of our projects."""
        found = self._list(f"me/projects?search={quote(name, safe='')}")
        for each in found:
            if each.get("name") == name:
                return _id(each)
        raise CloudError(f"the device cloud has no project {name}")

    def create_run(self, project: int, parameters: Mapping[str, str]) -> int:
        """A test run that has not been started."""
        run = _id(self._call("POST", f"me/projects/{project}/runs", {}))
        for key, value in parameters.items():
            self._call("POST", f"me/projects/{project}/runs/{run}/config/parameters", {"key": key, "value": value})
        return run

    def start_run(self, project: int, run: int, device: int) -> None:
        """On this phone."""
        self._call("POST", f"me/projects/{project}/runs/{run}/start", {"usedDeviceIds[]": str(device)})

    def run_state(self, project: int, run: int) -> str:
        """``WAITING``, ``RUNNING``, ``FINISHED``."""
        return str(self._call("GET", f"me/projects/{project}/runs/{run}").get("state"))

    def abort_run(self, project: int, run: int) -> None:
        """It shall not go on."""
        self._call("POST", f"me/projects/{project}/runs/{run}/abort", {})

    def open_session(self, device: int) -> dict[str, Any]:
        """Reserve a phone; has the session's ``id``."""
        session = self._call("POST", "me/device-sessions", {"deviceModelId": str(device)})
        _id(session)
        return session

    def release_session(self, session: int) -> None:
        """Give a phone back; one that is back already is no error."""
        reply = self._authorized("POST", f"me/device-sessions/{session}/release", {})
        if reply.status not in (404, 409):
            _json(reply, "release of a device session")

    def ports(self, kind: str, session: int) -> list[dict[str, Any]]:
        """Where ``adb`` or ``marionette`` of a session can be reached; empty while it cannot."""
        where = json.dumps({"type": kind, "sessionId": session}, separators=(",", ":"))
        return self._list(f"proxy-plugin/proxies?where={quote(where, safe='')}")

    def _list(self, path: str) -> list[dict[str, Any]]:
        found = _json(self._authorized("GET", path), f"GET {path.partition('?')[0]}")
        listed = found.get("data") if isinstance(found, dict) else found
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise CloudError(f"the device cloud answered GET {path.partition('?')[0]} with something that is no list")
        return listed

    def _call(self, method: str, path: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        answer = _json(self._authorized(method, path, form), f"{method} {path}")
        if not isinstance(answer, dict):
            raise CloudError(f"the device cloud answered {method} {path} with something that is no object")
        return answer

    def _authorized(self, method: str, path: str, form: Mapping[str, str] | None = None) -> Reply:
        for attempt in (1, 2):
            self.log_in()
            token = ("Authorization", f"Bearer {self._token}")
            body = urlencode(form or {}).encode()
            reply = self._ask(method, f"/api/v2/{path}", [token, _FORM] if form is not None else [token], body)
            if reply.status != _UNAUTHORIZED or attempt == 2:
                return reply
            self._renew_at_s = float("-inf")  # forgotten by the cloud: log in again, once
        raise AssertionError("unreachable")

    def _ask(self, method: str, target: str, fields: list[tuple[str, str]], body: bytes) -> Reply:
        accept = [("Host", self._pool.root.authority), ("Accept", "application/json")]
        try:
            return ask(self._pool, method, target, accept + fields, self._timeout_s, body)
        except UpstreamError as error:
            raise CloudError(f"the device cloud did not answer: {error}") from error

    def _login(self) -> tuple[str, str]:
        text = secretfile.read(self._login_file, self._where)
        try:
            login = json.loads(text)
            return str(login["username"]), str(login["password"])
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{self._where}: must hold JSON with username and password") from error


def _json(reply: Reply, what: str) -> Any:
    if reply.status >= 300:
        raise CloudError(f"the device cloud answered {what} with status {reply.status}")
    try:
        return json.loads(reply.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise CloudError(f"the device cloud answered {what} with something that is not JSON") from error


def _id(thing: Mapping[str, Any]) -> int:
    value = thing.get("id")
    if type(value) is not int:
        raise CloudError("the device cloud named something without a number")
    return value
