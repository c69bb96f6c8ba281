"""A cloud of phones with Testdroid's API, as far as testdroid-proxy used it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.service import Call, Service

GROUPS = ("Codename", "Build Identifier", "SIMs", "IMEI", "Phone Number")


@dataclass
class Phone:
    id: int
    labels: dict[str, str]
    online: bool = True
    locked: bool = False


@dataclass
class DeviceCloud(Service):
    """`flash_polls` is how often a run must be looked at until it has finished; `faults` path → answer."""

    phones: list[Phone] = field(default_factory=list)
    sessions: dict[int, int] = field(default_factory=dict)
    released: list[int] = field(default_factory=list)
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    flash_polls: int = 1
    faults: dict[str, tuple[int, Any]] = field(default_factory=dict)
    logins: int = 0
    during: Callable[[str], None] = lambda _path: None

    def label_id(self, group: str, label: str) -> int:
        return 1000 * (GROUPS.index(group) + 1) + self._labels(group).index(label)

    def answer(self, call: Call) -> tuple[int, Any]:
        self.during(call.path)
        if call.path in self.faults:
            return self.faults[call.path]
        if (call.method, call.path) == ("POST", "/oauth/token"):
            return self._log_in(call.form)
        if call.fields.get("authorization") != f"Bearer access-{self.logins}" or self.logins == 0:
            return 401, {"error": "invalid_token"}
        for method, pattern, handle in self._routes():
            match = re.fullmatch(f"/api/v2/{pattern}", call.path)
            if match and method == call.method:
                return handle(call, *map(int, match.groups()))
        return 404, {}

    def _routes(self) -> list[tuple[str, str, Callable[..., tuple[int, Any]]]]:
        run = r"me/projects/(\d+)/runs"
        return [
            ("GET", "devices", self._devices),
            ("GET", r"devices/(\d+)/properties", self._properties),
            ("GET", "label-groups", lambda _: _list([{"id": n, "displayName": g} for n, g in enumerate(GROUPS)])),
            ("GET", r"label-groups/(\d+)/labels", self._group),
            ("GET", "me/projects", lambda call: _list([{"id": 5, "name": dict(call.query)["search"]}])),
            ("POST", run, self._create),
            ("POST", run + r"/(\d+)/config/parameters", self._parameter),
            ("POST", run + r"/(\d+)/start", self._start),
            ("POST", run + r"/(\d+)/abort", self._abort),
            ("GET", run + r"/(\d+)", self._state),
            ("POST", "me/device-sessions", self._open),
            ("POST", r"me/device-sessions/(\d+)/release", self._release),
            ("GET", "proxy-plugin/proxies", self._ports),
        ]

    def _log_in(self, form: dict[str, str]) -> tuple[int, Any]:
        expected = {"client_id": "testdroid-cloud-api", "grant_type": "password", "username": "u", "password": "p"}
        if form != expected:
            return 400, {"error": "invalid_grant"}
        self.logins += 1
        return 200, {"access_token": f"access-{self.logins}", "refresh_token": "r", "expires_in": 3600}

    def _labels(self, group: str) -> list[str]:
        return sorted({phone.labels[group] for phone in self.phones if group in phone.labels})

    def _group(self, _: Call, number: int) -> tuple[int, Any]:
        labels = self._labels(GROUPS[number])
        return _list([{"id": self.label_id(GROUPS[number], label), "displayName": label} for label in labels])

    def _devices(self, call: Call) -> tuple[int, Any]:
        wanted = {int(value) for name, value in call.query if name == "label_id[]"}
        found = [phone for phone in self.phones if wanted <= {self.label_id(*each) for each in phone.labels.items()}]
        return _list([
            {"id": each.id, "displayName": f"phone {each.id}", "online": each.online, "locked": each.locked}
            for each in found
        ])  # fmt: skip

    def _properties(self, _: Call, number: int) -> tuple[int, Any]:
        labels = self._phone(number).labels
        return _list([{"propertyGroupName": group, "displayName": label} for group, label in labels.items()])

    def _create(self, _call: Call, _project: int) -> tuple[int, Any]:
        number = len(self.runs) + 70
        self.runs[number] = {"state": "NEW", "parameters": {}, "polls": 0}
        return 201, {"id": number}

    def _parameter(self, call: Call, _project: int, run: int) -> tuple[int, Any]:
        self.runs[run]["parameters"][call.form["key"]] = call.form["value"]
        return 201, {}

    def _start(self, call: Call, _project: int, run: int) -> tuple[int, Any]:
        self.runs[run] |= {"state": "WAITING", "device": int(call.form["usedDeviceIds[]"])}
        return 200, {}

    def _abort(self, _call: Call, _project: int, run: int) -> tuple[int, Any]:
        self.runs[run]["state"] = "ABORTED"
        return 200, {}

    def _state(self, _call: Call, _project: int, number: int) -> tuple[int, Any]:
        run = self.runs[number]
        run["polls"] += 1
        if run["state"] == "WAITING" and run["polls"] >= self.flash_polls:
            run["state"] = "FINISHED"
            self._phone(run["device"]).labels["Build Identifier"] = run["parameters"]["BUILD_LABEL"]
        return 200, {"id": number, "state": run["state"]}

    def _open(self, call: Call) -> tuple[int, Any]:
        phone = self._phone(int(call.form["deviceModelId"]))
        if phone.locked:
            return 409, {}
        phone.locked = True
        number = len(self.sessions) + len(self.released) + 900
        self.sessions[number] = phone.id
        return 201, {"id": number, "deviceModelId": phone.id}

    def _release(self, _: Call, number: int) -> tuple[int, Any]:
        if number not in self.sessions:
            return 404, {}
        self._phone(self.sessions.pop(number)).locked = False
        self.released.append(number)
        return 200, {}

    def _ports(self, call: Call) -> tuple[int, Any]:
        where = json.loads(dict(call.query)["where"])
        known = where["sessionId"] in self.sessions
        return _list([{"host": "10.1.2.9", "port": 5037, "type": where["type"]}] if known else [])

    def _phone(self, number: int) -> Phone:
        return next(phone for phone in self.phones if phone.id == number)


def _list(items: list[dict[str, Any]]) -> tuple[int, Any]:
    return 200, {"data": items, "total": len(items)}
