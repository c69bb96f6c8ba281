"""What ``taskward doctor`` says of the clock, in words, whatever the other side does."""

from dataclasses import dataclass
from typing import Any

import pytest

from simulators.listener import Listener, Request
from taskward.cli.doctor import Finding, deployment
from taskward.core.settings import Settings

from .conftest import WriteConfig


class Dated(Request):
    """Answers every request with one Date."""

    date = ""

    def do_GET(self) -> None:
        self.reply(b"{}")

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.date


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
