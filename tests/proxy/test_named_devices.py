"""Phones of a device cloud: reserved, flashed and given back."""

import json

import pytest

from proxy.containers import status
from proxy.named import Named, content
from simulators.device_cloud import Phone

pytestmark = pytest.mark.root

BUILD = "/api/queue/v1/task/x/artifacts/public/build.zip"


def test_a_phone_is_reserved_and_released(named: Named) -> None:
    named.cloud.phones.append(Phone(2, {"Codename": "flame", "Build Identifier": "other"}))
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319", "sims": "1"}).encode()
    got = content(named.ask("testdroid/device", "POST", wish))
    assert (got["device"], got["proxyHost"]) == ({"id": 1, "displayName": "phone 1"}, "10.1.2.9")
    assert set(dict(got["proxies"])) == {"adb", "marionette"}  # type: ignore[call-overload]  # a dict
    assert named.run in named.devices()
    assert status(named.ask("testdroid/device", "POST", wish)) == 409
    assert content(named.ask("testdroid/device/properties"))["Codename"] == "flame"
    assert named.ask("testdroid/device/release", "POST").endswith(b"Device released")
    assert named.ask("testdroid/device/release", "POST").endswith(b"No device session to release")
    assert (named.cloud.sessions, len(named.cloud.released), named.devices()) == ({}, 1, {})
    assert named.ask("testdroid/").endswith(b"Server running")
    assert named.ask("testdroid/devices").endswith(b"]")


def test_a_phone_is_flashed_with_a_build_that_the_cloud_can_fetch(named: Named) -> None:
    wish = json.dumps({"type": "flame", "build": BUILD, "memory": "1024"}).encode()
    assert status(named.ask("testdroid/device", "POST", wish)) == 200
    parameters = named.cloud.runs[70]["parameters"]
    assert parameters["BUILD_LABEL"] == f"1024_{BUILD}"
    assert parameters["MEM_TOTAL"] == "1024"
    assert parameters["FLAME_ZIP_URL"].startswith(f"{named.pair.rig.taskcluster.root_url}{BUILD}?bewit=")


def test_a_flashing_that_does_not_begin_is_aborted_and_told(named: Named) -> None:
    named.cloud.flash_polls = 1000
    wish = json.dumps({"type": "flame", "build": "http://x/new", "memory": "1"}).encode()
    answer = named.ask("testdroid/device", "POST", wish)
    assert status(answer) == 500
    assert "could be flashed" in str(content(answer)["error"])
    assert [run["state"] for run in named.cloud.runs.values()] == ["ABORTED", "ABORTED"]


@pytest.mark.parametrize(
    "wish",
    [b"", b"[]", b"{}", b'{"type":"a","build":"b"}', b'{"type":"a","build":"b","memory":1}', b"[" * 60000,
     b'{"type":"a","build":"b","memory":"c","more":"d"}', b'{"type":"a","build":"b\\n","memory":"c"}'],
)  # fmt: skip
def test_a_strange_wish_is_refused(named: Named, wish: bytes) -> None:
    answer = named.ask("testdroid/device", "POST", wish, ["Content-Type: application/json"])
    assert status(answer) == 400
    assert named.cloud.calls == []


@pytest.mark.parametrize(
    "fault", [(500, {}), (200, b"garbage"), (200, []), (200, {"data": [1]}), (200, {"data": [{}]})]
)
@pytest.mark.parametrize("path", ["/api/v2/devices", "/api/v2/label-groups", "/api/v2/me/device-sessions"])
def test_a_cloud_that_misbehaves_costs_one_clear_answer_and_no_phone(
    named: Named, path: str, fault: tuple[int, object]
) -> None:
    named.cloud.faults = {path: fault}
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    answer = named.ask("testdroid/device", "POST", wish)
    assert status(answer) == 500
    assert "error" in content(answer)
    assert (named.devices(), named.cloud.sessions) == ({}, {})


def test_a_phone_whose_ports_do_not_open_goes_back(named: Named) -> None:
    named.cloud.faults = {"/api/v2/proxy-plugin/proxies": (200, {"data": []})}
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    assert status(named.ask("testdroid/device", "POST", wish)) == 500
    assert (named.devices(), named.cloud.sessions, len(named.cloud.released)) == ({}, {}, 1)


def test_the_executor_ends_what_a_run_has(named: Named) -> None:
    wish = json.dumps({"type": "flame", "build": "http://x/b.zip", "memory": "319"}).encode()
    named.ask("testdroid/device", "POST", wish)
    control = named.pair.rig.control
    assert control("POST", "/runs/bob/0/end").body == b'{"released":false}\n'
    named.cloud.faults = {f"/api/v2/me/device-sessions/{next(iter(named.cloud.sessions))}/release": (500, {})}
    assert control("POST", f"/runs/{named.run}/end").status == 503
    named.cloud.faults = {}
    assert control("POST", f"/runs/{named.run}/end").body == b'{"released":true}\n'
    assert (named.devices(), named.cloud.sessions) == ({}, {})
