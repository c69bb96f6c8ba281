"""Places of mounts that a hostile task thinks of, and whether everything comes off again."""

from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.archives import Entry, tar
from executor.mounts.web import Web

FAR = "d/" * 2100


def file(path: str) -> dict[str, Any]:
    return {"file": path, "content": {"raw": "x\n"}}


def cache(path: str, name: str = "c") -> dict[str, Any]:
    return {"directory": path, "cacheName": name}


def directory(web: Web, path: str) -> dict[str, Any]:
    return {"directory": path, "format": "tar", "content": {"url": web.page("/t", tar([Entry("f", b"1\n")]))}}


def run(bench: Bench, script: str, *mounts: dict[str, Any]) -> Result:
    payload = {"command": shell(script), "maxRunTime": 9, "mounts": list(mounts)}
    return bench.run_payload(payload, scopes=["generic-worker:cache:*"])


def mounted(bench: Bench) -> int:
    return Path("/proc/self/mountinfo").read_bytes().count(str(bench.state_dir).encode())


def test_nothing_can_be_where_the_root_is(mounting: Bench, web: Web) -> None:
    for mount in (file("/."), cache("//.."), directory(web, "a/../" + "../" * 40)):
        result = run(mounting, "echo ran", mount)

        assert (result.outcome.state, result.outcome.reason) == ("failed", "failed"), result.log
        assert "[mounts] cannot mount on /, which is not the task's" in result.log
        assert result.output == []


@pytest.mark.root
def test_more_slashes_in_front_lead_nowhere_else(mounting: Bench, web: Web) -> None:
    for mount in (file("//etc/x"), cache("//etc/x"), directory(web, "///etc/x")):
        result = run(mounting, "echo ran", mount)

        assert result.outcome.state == "failed"
        assert "[mounts] cannot make /etc/x: Permission denied" in result.log


@pytest.mark.root
def test_names_that_look_like_more_than_one_line_of_the_kernels_table(mounting: Bench, web: Web) -> None:
    ends = ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", " ", "\t", "\n", "\\040", "#"]
    mounts = [cache(f"a{end}b{end}", f"c{number}") for number, end in enumerate(ends)]

    results = [run(mounting, 'cat a*/log; for d in a*; do echo x >> "$d/log"; done', *mounts) for _ in range(2)]
    read_only = run(mounting, "cat r*/f", *(directory(web, f"r{end}") for end in ends))

    assert results[1].output.count("x") == len(ends), results[1].log
    assert read_only.output.count("1") == len(ends), read_only.log
    assert mounted(mounting) == 0


@pytest.mark.root
def test_a_path_that_is_too_long_for_a_system_call_is_unmounted(mounting: Bench, web: Web) -> None:
    result = run(mounting, "true", cache(f"{FAR}c"), directory(web, f"{FAR}r"), file(f"{FAR}f"))

    assert result.outcome.succeeded, result.log
    assert mounted(mounting) == 0
    mounting.sweep()
    assert not list((mounting.state_dir / "tasks").iterdir())


@pytest.mark.root
def test_mounts_that_the_task_moves_too_far_away_are_unmounted(mounting: Bench, web: Web) -> None:
    go_far = f"top=$PWD; mkdir far; cd far; for i in $(seq 22); do mkdir -p {'d/' * 100}; cd {'d/' * 100}; done"

    result = run(mounting, f"echo x > a/c/f; {go_far}; mv $top/a . && echo moved", cache("a/c"), directory(web, "a/r"))

    assert "moved" in result.output, result.log
    assert mounted(mounting) == 0
    assert run(mounting, "cat c/f", cache("c")).output == ["x"]


@pytest.mark.root
@pytest.mark.parametrize(
    ("mounts", "script", "output"),
    [
        ([cache("a"), file("a/b/f")], "cat a/b/f", ["x"]),
        ([cache("a", "outer"), cache("a/b", "inner")], "echo y > a/b/new; ls -A a a/b", ["a:", "b", "", "a/b:", "new"]),
        ([cache("a/b", "inner"), cache("a", "outer")], "", "is not empty"),
        ([file("f"), cache(".")], "", "is not empty"),
        ([cache("."), file("f"), cache("a", "inner")], "echo y > a/new; cat f a/new", ["x", "y"]),
        ([cache("a", "same"), cache("b", "same")], "echo y > a/new; ls b | wc -l", ["0"]),
    ],
)
def test_a_mount_in_another(
    mounting: Bench, mounts: list[dict[str, Any]], script: str, output: list[str] | str
) -> None:
    result = run(mounting, script, *mounts)

    if isinstance(output, str):
        assert result.outcome.state == "failed"
        assert output in result.log
    else:
        assert result.output == output, result.log
    assert mounted(mounting) == 0


@pytest.mark.root
def test_a_name_is_not_what_a_shell_would_make_of_it(mounting: Bench) -> None:
    names = ["~", "$HOME", "-rf", "*", "\u202e"]

    result = run(mounting, "find . -type f", *map(file, names), *(cache(f"{name}d", name) for name in names))

    assert set(result.output) == {f"./{name}" for name in names}, result.log
