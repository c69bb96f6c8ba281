"""The audit log notices whatever is done to it afterwards, except by whoever writes all of it anew."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from signer import processes
from taskward.signer.audit import AuditLog, Head, check
from taskward.signer.errors import BrokenChainError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def log(file: Path) -> Iterator[AuditLog]:
    log = AuditLog(file)
    for number in range(3):
        log.append("sign", number=number, text="a\nü\u2028")
    yield log
    log.close()


def test_a_log_goes_on_where_it_ended(file: Path, log: AuditLog) -> None:
    again = AuditLog(file)
    assert again.append("sign").seq == 4
    again.close()
    assert check(file).seq == 4
    assert file.stat().st_mode & 0o777 == 0o600


Lines = list[bytes]


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace(b'"number":0', b'"number":9'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[2]],
        lambda lines: [*lines, b"{}\n"],
        lambda lines: [*lines, b"\n"],
        lambda lines: [lines[0].replace(b'"seq":1', b'"seq":1,"seq":1'), *lines[1:]],
    ],
    ids=["changed", "first gone", "middle gone", "swapped", "repeated", "foreign", "empty", "twice"],
)
def test_any_change_is_noticed(file: Path, log: AuditLog, change: Callable[[Lines], Lines]) -> None:
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(BrokenChainError):
        check(file)


def test_lines_cut_from_the_end_are_noticed_by_whoever_remembers_one(file: Path, log: AuditLog) -> None:
    newest = check(file)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    assert check(file).seq == 2
    with pytest.raises(BrokenChainError, match="cut short"):
        check(file, newest)


def test_a_log_written_anew_is_noticed_by_whoever_remembers_a_line(file: Path, log: AuditLog) -> None:
    newest = check(file)
    file.unlink()
    forged = AuditLog(file)
    for _ in range(3):
        forged.append("sign")
    forged.close()
    with pytest.raises(BrokenChainError, match="another line 3"):
        check(file, newest)
    assert check(file, Head(0, "")).seq == 3


def test_a_line_torn_by_a_crash_is_cut_off_and_that_is_recorded(file: Path, log: AuditLog) -> None:
    with open(file, "ab") as end:
        end.write(b'{"seq":4,"ti')
    AuditLog(file).close()
    last = json.loads(file.read_bytes().splitlines()[-1])
    assert (last["event"], last["bytes"], last["seq"]) == ("torn-line", 12, 4)
    assert check(file).seq == 4


def test_the_command_tells_whole_from_broken_by_its_exit_code(file: Path, log: AuditLog) -> None:
    command = [processes.PYTHON, "-m", "taskward.signer.audit", str(file)]
    whole = subprocess.run(command, capture_output=True, check=False)
    assert (whole.returncode, whole.stdout.startswith(b"whole: 3 lines")) == (0, True)
    file.write_bytes(file.read_bytes().replace(b'"number":1', b'"number":7'))
    broken = subprocess.run(command, capture_output=True, check=False)
    assert (broken.returncode, b"line 2" in broken.stderr) == (1, True)
    file.unlink()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
