"""Whether the owner of a run lives, in this container and in others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskward.core.locks import held
from taskward.core.process import is_alive, pid_here, start_time, this_life

ELSEWHERE = "1-7-4711"
"""No pid namespace has the number 1."""


def test_this_process_lives(tmp_path: Path) -> None:
    assert is_alive(this_life(), tmp_path)
    assert pid_here(f"executor-{this_life()}") == os.getpid()


def test_a_process_lives_whatever_its_name() -> None:
    rename = r"printf '\377) Z 1' > /proc/$$/comm; echo; read -r end"
    with subprocess.Popen(["bash", "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert start_time(process.pid) is not None


def test_an_earlier_process_with_this_pid_is_dead(tmp_path: Path) -> None:
    namespace, pid, start = this_life().split("-")
    assert not is_alive(f"{namespace}-{pid}-{int(start) - 1}", tmp_path)


def test_the_same_pid_in_another_container_is_somebody_else(tmp_path: Path) -> None:
    _, pid, start = this_life().split("-")
    assert pid_here(f"1-{pid}-{start}") is None
    assert not is_alive(f"1-{pid}-{start}", tmp_path)


def test_an_owner_in_another_container_lives_as_long_as_it_holds_its_lock(tmp_path: Path) -> None:
    with held(tmp_path, ELSEWHERE):
        assert is_alive(ELSEWHERE, tmp_path)
    assert not is_alive(ELSEWHERE, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("life", ["", "someone", "../../etc/passwd", "1-2", "1-2-3-4", "1-2-x"])
def test_what_names_no_life_is_dead(life: str, tmp_path: Path) -> None:
    assert not is_alive(life, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="making pid namespaces needs root")
def test_two_containers_share_no_name() -> None:
    program = "from taskward.core.process import this_life; print(this_life())"
    argv = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lives = [process.communicate(timeout=30)[0].strip() for process in both]
    assert [life.split("-")[1] for life in lives] == ["1", "1"]
    assert lives[0].split("-")[0] != lives[1].split("-")[0]
