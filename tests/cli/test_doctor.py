"""What ``taskward doctor`` says of the clock, in words, whatever the other side does; and of the worker's place."""

import json
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from simulators.listener import Listener, Request
from taskward.cli.config import show
from taskward.cli.doctor import Finding, deployment
from taskward.cli.doctor import doctor as doctor_command
from taskward.core.settings import Settings

from .conftest import WriteConfig, needs_root


class Dated(Request):
    """Answers every request with one Date."""

    date = ""

    def do_GET(self) -> None:
        self.reply(b"{}")

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.date


def findings(config: Path) -> dict[str, tuple[str, str]]:
    """State and text of each check."""
    found = json.loads(CliRunner().invoke(doctor_command, ["--json", "--config", str(config)]).stdout)
    return {each["check"]: (each["state"], each["text"]) for each in found}


@dataclass(frozen=True)
class Doctor:
    """Looks at a Taskcluster that is not what it should be."""

    write_config: WriteConfig

    def clock(self, root_url: str) -> Finding:
        settings = Settings.load(self.write_config(taskcluster={"root_url": root_url}))
        return next(each for each in deployment(settings) if each.check == "clock")

    def clock_at(self, date: str, scheme: str = "http") -> Finding:
        with Listener(Dated, date=date) as listening:
            return self.clock(f"{scheme}://127.0.0.1:{listening.port}")


@pytest.fixture
def doctor(write_config: WriteConfig) -> Doctor:
    return Doctor(write_config)


def _in_words(text: str) -> bool:
    raw: tuple[Any, ...] = ("HTTPConnectionPool", "HTTPSConnectionPool", "Max retries", "Errno", "object at 0x")
    return not any(word in text for word in raw)


def test_a_clock_that_cannot_be_compared_is_told_in_words(doctor: Doctor) -> None:
    found = doctor.clock("http://127.0.0.1:9")
    assert (found.state, _in_words(found.text)) == ("failed", True)
    assert found.text.startswith("cannot be compared with Taskcluster's: http://127.0.0.1:9 cannot be reached")


def test_a_root_url_without_tls_is_told_in_words(doctor: Doctor) -> None:
    found = doctor.clock_at("", scheme="https")
    assert (found.state, _in_words(found.text)) == ("failed", True)
    assert "no TLS with https://127.0.0.1" in found.text


@pytest.mark.parametrize("date", ["", "yesterday", "Sun, 99 Nov 2026 25:00:00 GMT"])
def test_an_answer_without_a_date_is_a_warning(doctor: Doctor, date: str) -> None:
    found = doctor.clock_at(date)
    assert (found.state, "no Date in its answer" in found.text) == ("warning", True)


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0200"])
def test_a_clock_that_is_years_off_is_found(doctor: Doctor, zone: str) -> None:
    found = doctor.clock_at(f"Sun, 22 Nov 2015 10:00:00 {zone}")
    assert found.state == "failed"
    assert "set the clock" in found.text


@pytest.mark.parametrize("state_dir", ["/etc/passwd/x", "/proc/x"])
def test_place_where_nothing_can_be_made_and_ports_that_are_taken_are_told(
    write_config: WriteConfig, state_dir: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = findings(write_config(worker={"state_dir": state_dir}, gateway={"port": port}))
    assert found["state directory"][0] == "failed"
    assert f"[worker] state_dir {state_dir}: " in found["state directory"][1]
    assert found["ports"][0] == "failed"
    assert f"[gateway] port {port}: another program uses that port" in found["ports"][1]


def test_nothing_is_left_where_the_worker_could_be(write_config: WriteConfig, place: Path) -> None:
    found = findings(write_config(worker={"state_dir": place / "lib/w"}))
    assert (found["state directory"][0], found["ports"][0]) == ("ok", "ok")
    assert {path.name for path in place.iterdir()} == {"token", "worker.toml"}


@pytest.mark.parametrize(
    ("mode", "owner", "group", "said"),
    [(0o600, 0, 0, ""), (0o640, 0, 0, ""), (0o644, 0, 0, "every user of this machine can read it (mode 0644)"),
     (0o640, 0, 4242, "group 4242 can read it"), (0o600, 4242, 0, "uid 4242 owns it, and can read it")],
)  # fmt: skip
@needs_root
def test_credentials_that_others_can_read_are_told(
    write_config: WriteConfig, place: Path, mode: int, owner: int, group: int, said: str
) -> None:
    config = write_config()
    (place / "token").chmod(mode)
    os.chown(place / "token", owner, group)
    state, text = findings(config).get("credentials file", ("", ""))
    assert state == ("warning" if said else "")
    assert said in text
    shown = CliRunner().invoke(show, ["--config", str(config)])
    assert (shown.exit_code, f"{place}/token: {said}" in shown.stderr) == (0, bool(said))


@pytest.mark.parametrize(
    ("days", "state", "said"),
    [(700.5, "ok", "in 700 days"), (20.5, "warning", "in 20 days; make a new one"), (0.5, "warning", "in 0 days"),
     (-0.01, "failed", "nothing is signed; make a new one and hand out its public half"), (None, "ok", "none")],
)  # fmt: skip
def test_a_signing_key_is_looked_at_before_it_expires(
    write_config: WriteConfig, place: Path, days: float | None, state: str, said: str
) -> None:
    config = write_config()
    assert findings(config)["OpenPGP key"] == ("ok", "there is none that expires")
    expires = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    keys = place / "w" / "public-keys"
    keys.mkdir(parents=True)
    (keys / "keys.json").write_text(json.dumps({"openpgp": {"expires": expires}}))
    found = findings(config)["OpenPGP key"]
    assert (found[0], said in found[1]) == (state, True)
    (keys / "keys.json").write_text("[]")
    assert findings(config)["OpenPGP key"][0] == "failed"
