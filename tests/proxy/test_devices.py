"""A phone goes back whatever happens: also when the process that reserved it, or its run, is no more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.rig import RedisServer, running_redis
from simulators.device_cloud import DeviceCloud as SimulatedCloud
from simulators.device_cloud import Phone
from simulators.service import serving
from taskward.proxy.devices.cloud import CloudError, DeviceCloud
from taskward.proxy.devices.reservation import Reservation
from taskward.proxy.devices.sessions import Sessions
from taskward.proxy.devices.wish import Wish
from taskward.proxy.errors import ClientGone
from taskward.proxy.named.settings import DeviceCloudSettings
from taskward.proxy.redislink import Address, Links
from taskward.proxy.routes import RootUrl
from taskward.proxy.store import Store
from taskward.proxy.upstream import Pool

WISH = Wish("flame", "http://x/b.zip", "319", {})


@pytest.fixture
def simulated() -> Iterator[SimulatedCloud]:
    phones = [Phone(1, {"Codename": "flame", "Build Identifier": WISH.build_label})]
    with serving(SimulatedCloud(phones=phones)) as cloud:
        yield cloud


@pytest.fixture
def login(tmp_path: Path) -> Path:
    file = tmp_path / "login"
    file.write_text('{"username": "u", "password": "p"}')
    file.chmod(0o400)
    return file


@pytest.fixture
def cloud(simulated: SimulatedCloud, login: Path) -> DeviceCloud:
    return DeviceCloud("testdroidProxy", login, Pool(RootUrl.parse(simulated.url), 1, 1, None), 1.0)


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def sessions(redis_server: RedisServer, cloud: DeviceCloud) -> Sessions:
    with redis_server.client as client:
        client.flushall()
        client.set("tw:creds:T/0", "{}")
    return Sessions(Store(redis_server.links), {"testdroidProxy": cloud})


def reservation(cloud: DeviceCloud, login: Path, pauses: list[float]) -> Reservation:
    return Reservation(cloud, DeviceCloudSettings(login), pauses.append, lambda url: url)


def reserve(cloud: DeviceCloud, sessions: Sessions, login: Path) -> None:
    session, device = reservation(cloud, login, []).open(WISH)
    sessions.keep("T/0", "testdroidProxy", session, device.id)


def test_the_next_life_of_the_proxy_gives_back_what_the_last_reserved(
    cloud: DeviceCloud, sessions: Sessions, simulated: SimulatedCloud, redis_server: RedisServer, login: Path
) -> None:
    reserve(cloud, sessions, login)
    next_life = Sessions(Store(redis_server.links), {"testdroidProxy": cloud})
    next_life.sweep()
    assert simulated.sessions, "its run goes on"
    with redis_server.client as client:
        client.delete("tw:creds:T/0")
    next_life.sweep()
    assert (simulated.sessions, redis_server.client.hgetall("tw:devices")) == ({}, {})


def test_a_phone_that_comes_after_the_end_of_its_run_goes_back_at_once(
    cloud: DeviceCloud, sessions: Sessions, simulated: SimulatedCloud, redis_server: RedisServer, login: Path
) -> None:
    with redis_server.client as client:
        client.delete("tw:creds:T/0")
    with pytest.raises(CloudError, match="the task is over"):
        reserve(cloud, sessions, login)
    assert simulated.sessions == {}


def test_a_phone_that_cannot_be_remembered_goes_back_at_once(
    cloud: DeviceCloud, simulated: SimulatedCloud, login: Path
) -> None:
    away = Links(Address(Path("/nonexistent"), timeout_s=1))
    sessions = Sessions(Store(away), {"testdroidProxy": cloud})
    with pytest.raises(CloudError, match="cannot remember"):
        reserve(cloud, sessions, login)
    assert simulated.sessions == {}


def test_a_cloud_that_forgets_its_tokens_is_logged_in_to_again(cloud: DeviceCloud, simulated: SimulatedCloud) -> None:
    cloud.devices()
    simulated.logins += 1  # access-1 means nothing any more
    assert [device.id for device in cloud.devices()] == [1]


def test_sessions_are_tried_five_times_with_pauses(cloud: DeviceCloud, simulated: SimulatedCloud, login: Path) -> None:
    simulated.faults = {"/api/v2/me/device-sessions": (500, {})}
    pauses: list[float] = []
    with pytest.raises(CloudError):
        reservation(cloud, login, pauses).open(WISH)
    assert pauses == [2.0] * 4


def test_a_flashing_is_looked_at_every_ten_seconds_for_ten_minutes_twice(
    cloud: DeviceCloud, simulated: SimulatedCloud, login: Path
) -> None:
    simulated.phones[0].labels["Build Identifier"] = "another"
    simulated.flash_polls = 1000
    pauses: list[float] = []
    with pytest.raises(CloudError, match="could be flashed"):
        reservation(cloud, login, pauses).open(WISH)
    assert pauses == [10.0] * 120


def test_a_task_that_leaves_aborts_its_flashing(cloud: DeviceCloud, simulated: SimulatedCloud, login: Path) -> None:
    simulated.phones[0].labels["Build Identifier"] = "another"
    simulated.flash_polls = 3

    def leave(_seconds: float) -> None:
        raise ClientGone("gone")

    with pytest.raises(ClientGone):
        Reservation(cloud, DeviceCloudSettings(login), leave, lambda url: url).open(WISH)
    assert [run["state"] for run in simulated.runs.values()] == ["ABORTED"]


def test_a_locked_or_absent_phone_is_not_taken(cloud: DeviceCloud, simulated: SimulatedCloud, login: Path) -> None:
    for state in ({"locked": True}, {"online": False}):
        vars(simulated.phones[0]).update(online=True, locked=False)
        vars(simulated.phones[0]).update(state)
        with pytest.raises(CloudError, match="no device of type flame is free"):
            reservation(cloud, login, []).open(WISH)
