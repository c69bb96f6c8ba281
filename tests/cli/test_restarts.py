from pathlib import Path

from taskward.cli.restarts import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Restarts, Revival, read


class Starts:
    """The supervisor's side: notes what it is asked to start."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, full_name: str) -> str:
        self.names.append(full_name)
        return ""


def test_starts_are_counted_in_a_file(tmp_path: Path) -> None:
    restarts = Restarts(tmp_path / "restarts.json")
    for name in ("services:proxy", "services:proxy", "services:signer"):
        restarts.started(name)
    assert read(tmp_path / "restarts.json")["starts"] == {"services:proxy": 2, "services:signer": 1}


def test_counts_begin_anew_with_a_new_supervisor(tmp_path: Path) -> None:
    file = tmp_path / "restarts.json"
    Restarts(file).started("a")
    Restarts(file).started("b")
    assert read(file)["starts"] == {"b": 1}


def test_broken_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "restarts.json").write_text("[1, 2")
    assert read(tmp_path / "restarts.json") == {}


def test_what_was_given_up_is_started_after_a_pause() -> None:
    starts, said = Starts(), list[str]()
    revival = Revival(starts, said.append)
    revival.fatal("a", 100.0)
    revival.tick(100.0 + FIRST_PAUSE_S - 0.1)
    assert starts.names == []
    revival.tick(100.0 + FIRST_PAUSE_S)
    revival.tick(100.0 + FIRST_PAUSE_S + 1)
    assert starts.names == ["a"]
    assert said == ["a failed to start again and again; the next attempt is in 5 s"]


def test_pauses_grow_up_to_a_limit() -> None:
    starts, said = Starts(), list[str]()
    revival, now_s = Revival(starts, said.append), 0.0
    pauses: list[float] = []
    for _ in range(9):
        revival.fatal("a", now_s)
        before = now_s
        while len(starts.names) == len(pauses):
            now_s += 1
            revival.tick(now_s)
        pauses.append(now_s - before)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_pause_is_short_again_after_a_steady_time() -> None:
    starts, said = Starts(), list[str]()
    revival = Revival(starts, said.append)
    for now_s in (0.0, 1000.0):
        revival.fatal("a", now_s)
        revival.tick(now_s + LONGEST_PAUSE_S)
    revival.running("a", 2000.0)
    revival.fatal("a", 2000.0 + STEADY_S)
    revival.tick(2000.0 + STEADY_S + FIRST_PAUSE_S)
    assert starts.names == ["a", "a", "a"]
