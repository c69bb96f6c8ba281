"""Where mounts may be, in the face of links and of other mounts."""

from pathlib import Path

import pytest

from executor.bench import Bench, shell
from executor.mounts.downloading import file


@pytest.mark.parametrize("path", [".", "x/..", "./"])
def test_a_file_cannot_be_where_the_task_directory_is(mounting: Bench, path: str) -> None:
    result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, path)])

    assert result.outcome.state == "failed"
    assert "since it already exists as a directory" in result.log


def test_a_file_cannot_be_where_a_directory_is(mounting: Bench) -> None:
    result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "d/f"), file({"raw": "x"}, "d")])

    assert result.outcome.state == "failed"
    assert "/d since it already exists as a directory" in result.log


def test_a_directory_cannot_be_where_a_file_is(mounting: Bench) -> None:
    result = mounting.run(
        shell("true"),
        mounts=[file({"raw": "x"}, "d"), {"directory": "d", "cacheName": "c"}],
    )

    assert result.outcome.reason == "malformed-payload"  # no scope


@pytest.mark.parametrize("second", ["a/f", "./a/f", "a//f", "a/b/../f"])
def test_two_mounts_cannot_have_one_place(mounting: Bench, second: str) -> None:
    result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "a/f"), file({"raw": "y"}, second)])

    assert result.outcome.state == "failed"
    assert "[mounts] two mounts want the same place: /" in result.log


@pytest.mark.root
@pytest.mark.parametrize("path", ["/etc/x", "/x", "../x", "/root/x", "/proc/x", "/etc/passwd"])
def test_a_place_that_is_not_the_tasks_is_refused(mounting: Bench, path: str) -> None:
    before = Path("/etc/passwd").read_bytes().count(b"\n")

    result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, path)])

    assert result.outcome.state == "failed"
    assert "[mounts] cannot make /" in result.log
    assert abs(Path("/etc/passwd").read_bytes().count(b"\n") - before) < 20


@pytest.mark.root
def test_an_absolute_place_that_the_tasks_user_can_make_is_made(mounting: Bench) -> None:
    place = mounting.state_dir / "open/f"
    place.parent.mkdir()
    place.parent.chmod(0o777)

    assert mounting.run(shell(f"cat {place}"), mounts=[file({"raw": "x\n"}, str(place))]).output == ["x"]


def test_a_long_name_is_an_error_of_the_task(mounting: Bench) -> None:
    result = mounting.run(shell("true"), mounts=[file({"raw": "x"}, "n" * 300)])

    assert result.outcome.state == "failed"
    assert "File name too long" in result.log
