"""The proxy's log: whatever it quotes, a line is one JSON object."""

import json
import logging
import subprocess
import sys
from pathlib import Path

from taskward.proxy.log import JsonLines


def test_nothing_that_is_quoted_makes_a_line() -> None:
    record = logging.makeLogRecord({"msg": 'a\n{"event": "FORGED"}\r\x1b[31m\x7f\u2028\ud800', "levelname": "WARNING"})
    line = JsonLines("proxy").format(record)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["event"] == record.msg
    assert json.loads(line)["level"] == "warning"


def test_an_exception_is_part_of_its_line() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError as error:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": (ValueError, error, error.__traceback__)})
    line = JsonLines("proxy").format(record)
    assert line.isprintable()
    assert "ValueError: a\nb" in json.loads(line)["exception"]


def test_a_proxy_that_cannot_start_says_why_in_a_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "taskward.proxy", "--config", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    line = json.loads(done.stderr)
    assert done.returncode == 78
    assert (line["level"], line["role"]) == ("critical", "proxy")
    assert "none.toml" in line["event"]
