"""The logs of signer, keyholder and decrypter: whatever they quote, a line is one JSON object of theirs."""

import json
import logging
import subprocess
from typing import Any

import pytest

from signer import processes
from signer.callers import RawCaller, get
from signer.processes import Service
from signer.simulated_queue import SimulatedTask
from taskward.signer.log import JsonLines

FORGED = '2026-11-22 18:00:00,000 INFO taskward.signer.app: FORGED \x1b[31m "}'


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_caller_forges_no_line(caller: RawCaller, task: SimulatedTask, signer: Service) -> None:
    status, answer = caller.send(caller.body(task, **{f"k\n{FORGED}": 1}))
    assert status == 400
    assert answer["error"]["message"].isprintable()
    told = [line for line in lines(signer.log.read_text()) if "FORGED" in line["event"]]
    assert told
    assert all(line["event"].startswith("refused: ") and line["event"].isprintable() for line in told)


def test_everything_they_say_is_json_with_time_level_and_role(
    keyholder: Service, signer: Service, decrypter_service: Service
) -> None:
    get(signer, "/nothing")
    for service, role in ((keyholder, "keyholder"), (signer, "signer"), (decrypter_service, "decrypter")):
        told = lines(service.log.read_text())
        assert {line["role"] for line in told} == {role}
        assert all(line["time"].endswith("Z") and line["level"] and line["event"] for line in told)
    assert f"listening at {signer.directory / 'signer.sock'}" in {
        line["event"] for line in lines(signer.log.read_text())
    }


@pytest.mark.parametrize("module", ["taskward.signer", "taskward.signer.keyholder", "taskward.signer.decrypter"])
def test_a_start_that_fails_says_so_in_the_last_line(signer: Service, module: str) -> None:
    code, text = processes.failed_start(module, signer.directory / "none.toml")
    assert code == 78
    assert lines(text)[-1]["level"] == "critical"
    assert "none.toml" in lines(text)[-1]["event"]


UNEXPECTED = "from taskward.signer import log; log.configure('x'); raise ValueError('a\\nb')"


def test_an_unexpected_end_is_one_line_too() -> None:
    done = subprocess.run([processes.PYTHON, "-c", UNEXPECTED], capture_output=True, text=True, check=False)
    [line] = lines(done.stderr)
    assert (done.returncode, line["event"]) == (1, "ended by ValueError")
    assert "ValueError: a\nb" in line["exception"]


def test_nothing_unprintable_gets_through() -> None:
    record = logging.makeLogRecord({"msg": "a\n\r\x1b[31m\x7f\x85\u2028\u202e\ud800 ü", "levelname": "INFO"})
    line = JsonLines("x").format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == record.msg
