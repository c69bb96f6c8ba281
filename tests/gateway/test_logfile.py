"""Which files are opened, and what is known of them."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.rig import TaskLog
from taskward.gateway.errors import LogRefused
from taskward.gateway.logfile import LogFile, components


@pytest.fixture
def log(tmp_path: Path) -> TaskLog:
    return TaskLog(tmp_path, 0)


@pytest.fixture
def opened(log: TaskLog) -> Iterator[LogFile]:
    with LogFile(log.folder.parent, (log.folder.name, "live.log")) as file:
        yield file


def test_components_lead_from_the_logs_to_the_log() -> None:
    assert components(Path("/var/logs"), "/var/logs/a-0/live.log") == ("a-0", "live.log")


@pytest.mark.parametrize(
    "path", ["/var/logs/a/../../x/y", "/var/log/a/b", "/var/logs/a", "/var/logs", "a/b", "", "/var/logs/a/b\0c"]
)
def test_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(LogRefused):
        components(Path("/var/logs"), path)


def test_growth_and_end_are_seen(log: TaskLog, opened: LogFile) -> None:
    opened.refresh()
    assert (opened.size_bytes, opened.finished) == (0, False)
    log.write(b"12345")
    log.finish()
    opened.refresh()
    assert (opened.size_bytes, opened.finished) == (5, True)


def test_log_to_come_is_empty_and_unfinished(tmp_path: Path) -> None:
    log = TaskLog(tmp_path, 1, prepared=False)
    with LogFile(tmp_path, (log.folder.name, "live.log")) as file:
        file.refresh()
        assert (file.fd, file.size_bytes, file.finished) == (None, 0, False)
        log.prepare()
        log.write(b"1")
        file.refresh()
        assert file.size_bytes == 1


def test_deleted_log_is_finished(log: TaskLog, opened: LogFile) -> None:
    opened.refresh()
    log.path.unlink()
    opened.refresh()
    assert opened.finished


def test_cut_is_counted(log: TaskLog, opened: LogFile) -> None:
    log.write(b"12345")
    opened.refresh()
    os.truncate(log.path, 2)
    opened.refresh()
    opened.refresh()
    assert (opened.size_bytes, opened.shrinkages) == (2, 1)


def test_file_that_replaces_an_open_log_is_not_followed(log: TaskLog, opened: LogFile) -> None:
    log.write(b"mine")
    opened.refresh()
    other = log.folder / "other"
    other.write_bytes(b"something else")
    other.rename(log.path)
    opened.refresh()
    assert opened.size_bytes == 4


def test_nothing_stays_open(log: TaskLog) -> None:
    for name in ("live.log", "missing", "link", "folder"):
        with LogFile(log.folder.parent, (log.folder.name, name)) as file:
            if name == "link":
                (log.folder / name).symlink_to("live.log")
            if name == "folder":
                (log.folder / name).mkdir()
            try:
                file.refresh()
            except LogRefused:
                assert name in {"link", "folder"}
    open_files = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert [path for path in open_files if path.startswith(str(log.folder.parent))] == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user to become")
def test_log_that_may_not_be_read_is_refused() -> None:
    with tempfile.TemporaryDirectory(prefix="tw") as logs_dir:
        Path(logs_dir).chmod(0o755)
        log = TaskLog(Path(logs_dir), 0)
        log.path.chmod(0o600)
        with LogFile(log.folder.parent, (log.folder.name, "live.log")) as file:
            os.seteuid(65534)
            try:
                with pytest.raises(LogRefused, match=r"live\.log: Permission denied"):
                    file.refresh()
            finally:
                os.seteuid(0)
