"""Remote desktops: who gets one, and who gets in."""

import pwd
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, shell
from executor.desk import NAME, NEEDS, SCOPES, SESSION, Desk, closed, offer, program, uid_of
from simulators.rdp import RdpClient, person, size_of_display
from taskward.core.outcome import COMPLETED

pytestmark = NEEDS


@pytest.fixture
def desks(bench: Bench) -> Bench:
    offer(bench)
    return bench


@pytest.fixture(scope="module")
def someone() -> Iterator[RdpClient]:
    with person() as client:
        yield client


def test_a_real_client_logs_in_during_the_task_and_afterwards(desks: Bench, someone: RdpClient) -> None:
    desk = Desk.open(desks, artifacts=[{"type": "file", "path": "kept", "name": "public/kept"}])
    info = desk.info
    desk.wait_for_session()
    with someone.connect(info, "800x600"):
        assert size_of_display(desk.environment, "800x600") == "800x600"

    result = desk.finish()
    assert (result.outcome, result.content("public/kept")) == (COMPLETED, b"kept\n")
    desks.records.resolved(desk.run)
    desk.wait_for_session()
    with someone.connect(info, "640x480"):
        assert size_of_display(desk.environment, "640x480") == "640x480"
    assert (desk.home / "kept").read_text() == "kept\n", "artifacts are there to be looked at"

    uid = uid_of(desk)
    desk.end()
    assert desks.processes_of(uid) == set()
    assert not desk.home.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((info["host"], info["port"]), 5).close()
    desks.sweep()
    assert not desks.layout.desktop(desk.run).exists()
    assert not [path for path in Path("/tmp/.X11-unix").iterdir() if path.lstat().st_uid == uid]
    with pytest.raises(KeyError):
        pwd.getpwuid(uid)


def test_a_wrong_password_and_the_password_of_another_task_are_refused(desks: Bench, someone: RdpClient) -> None:
    desk, other = Desk.open(desks), Desk.open(desks)
    desk.wait_for_session()

    with (
        someone.connect(desk.info, "800x600", password="wrong") as client,
        someone.connect(desk.info, "640x480", password=other.info["password"]),
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            client.wait(1.5)  # long enough to be let in, see the test above
        assert size_of_display(desk.environment) == "1280x800"
    for each in (desk, other):
        each.end()


def test_another_task_reaches_neither_display_nor_secrets(desks: Bench) -> None:
    desk = Desk.open(desks)
    desk.wait_for_session()
    site, display = desks.layout.desktop(desk.run), desk.environment["DISPLAY"]
    prey = f"import os; os.environ['DISPLAY'] = '{display}'; os.environ.pop('XAUTHORITY', None)"

    attempts = desks.run(
        shell(
            f"""cat {site}/password {site}/key.pem {site}/Xauthority {site}/xrdp.ini; ls {site} {site.parent}
            echo -n >{site}/x; rm -rf {site}; python3 -c "{prey}
import ctypes
x = ctypes.CDLL('libX11.so.6'); x.XOpenDisplay.restype = ctypes.c_void_p
print('display', x.XOpenDisplay(None))"
            exit 0"""
        )
    )

    assert attempts.log.count("Permission denied") >= 6
    assert "display None" in attempts.output
    assert (site / "key.pem").exists()
    desk.end()


def test_the_task_cannot_change_what_its_servers_read_nor_take_it_away(desks: Bench) -> None:
    desk = Desk.open(
        desks, command=shell('cd "${XAUTHORITY%/*}"; rm -f *; echo x >>xrdp.ini; touch ~/running ~/stop; exit 0')
    )

    result = desk.finish()

    site = desks.layout.desktop(desk.run)
    assert {path.name for path in site.iterdir()} >= {"xrdp.ini", "key.pem", "password", "Xauthority"}
    assert "Permission denied" in result.log or "Operation not permitted" in result.log
    desk.end()


def test_the_artifact_says_how_to_log_in_and_nothing_else_does(desks: Bench) -> None:
    desk = Desk.open(desks, rdpInfo="public/rdp.json", artifacts=[{"type": "directory", "path": ".", "name": "public"}])
    info, uid = desk.info, uid_of(desk)
    visible = b"".join(
        Path(f"/proc/{pid}/{name}").read_bytes() for pid in desks.processes_of(uid) for name in ("cmdline", "environ")
    )

    result = desk.finish()

    assert set(info) == {"host", "port", "username", "password", "certificateSha256"}
    assert (info["host"], info["username"]) == ("127.0.0.1", pwd.getpwuid(uid).pw_name)
    assert info["password"].encode() not in visible
    assert info["password"] not in result.log
    assert "Artifact public/rdp.json is public: everybody can log in to this task" in result.log
    assert result.index.entries[0].name == "public/rdp.json"
    contents = [(result.outbox / entry.file).read_bytes() for entry in result.index.entries[1:]]
    assert all(info["password"].encode() not in content for content in contents)
    assert b"PRIVATE KEY" not in b"".join(contents)
    desk.end()


def test_no_user_of_the_system_gets_a_password(desks: Bench) -> None:
    desk = Desk.open(desks)

    shadow = next(
        line for line in Path("/etc/shadow").read_text().splitlines() if line.startswith(desk.info["username"])
    )

    assert shadow.split(":")[1] in ("!", "*", "!!")
    desk.end()


def test_a_flood_of_connections_stops_at_the_relay(desks: Bench) -> None:
    desk = Desk.open(desks)
    address = (desk.info["host"], desk.info["port"])

    crowd = [socket.create_connection(address, 5) for _ in range(40)]
    desks.wait_until(lambda: sum(closed(each) for each in crowd) >= 24)
    servers = [pid for pid in desks.processes_of(uid_of(desk)) if program(pid) == "xrdp"]

    assert len(servers) <= 17
    for each in crowd:
        each.close()
    desk.end()


@pytest.mark.parametrize(
    ("settings", "payload", "scopes", "text"),
    [
        ({"enable_rdp": False}, {}, SCOPES, "requires feature RDP, which is not enabled on this worker pool"),
        ({}, {}, [], "generic-worker:allow-rdp:proj-x/linux"),
        ({}, {"rdpInfo": "a/../b"}, SCOPES, "payload.rdpInfo: no artifact can be named 'a/../b'"),
        ({}, {"rdpInfo": "public/logs/live.log"}, SCOPES, "has already reserved this artifact name"),
        (
            {"enable_run_task_as_current_user": True},
            {"features": {"runTaskAsCurrentUser": True}},
            ["*"],
            "payload.rdpInfo cannot go with feature runTaskAsCurrentUser",
        ),
    ],
)
def test_a_desktop_that_cannot_be_had_is_refused(
    desks: Bench, settings: Mapping[str, Any], payload: Mapping[str, Any], scopes: list[str], text: str
) -> None:
    offer(desks, **settings)

    result = desks.run_payload(
        {"command": shell("echo never"), "maxRunTime": 9, "rdpInfo": NAME, **payload}, scopes=scopes
    )

    assert result.outcome.reason == "malformed-payload"
    assert text in result.log
    assert result.output == []


@pytest.mark.parametrize(("settings", "wanted"), [({}, "cliprdr=false"), ({"rdp_clipboard": True}, "cliprdr=true")])
def test_the_clipboard_is_a_persons_own_unless_the_worker_shares_it(
    desks: Bench, settings: Mapping[str, Any], wanted: str
) -> None:
    offer(desks, **settings)
    desk = Desk.open(desks)

    configuration = (desks.layout.desktop(desk.run) / "xrdp.ini").read_text()

    assert wanted in configuration.splitlines()
    assert {"rdpdr=false", "rdpsnd=false"} <= set(configuration.splitlines())
    desk.end()


def test_a_session_that_does_not_exist_leaves_an_empty_desktop(desks: Bench) -> None:
    offer(desks, rdp_session=["/does/not/exist"], rdp_retention_s=0)

    result = desks.run_payload({"command": shell("echo $DISPLAY"), "maxRunTime": 9, "rdpInfo": NAME}, scopes=SCOPES)

    assert result.outcome == COMPLETED
    assert result.output[0].startswith(":")


def test_ports_are_taken_from_the_range_that_a_firewall_lets_through(desks: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = taken.getsockname()[1]
        desks.use(
            executor={"enable_rdp": True, "rdp_first_port": first, "rdp_retention_s": 0, "rdp_session": SESSION},
            worker={"capacity": 8},
        )
        desk = Desk.open(desks)

        assert first < desk.info["port"] < first + 8
        desk.end()
