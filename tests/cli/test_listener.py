import io
from pathlib import Path

from taskward.cli.listener import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Restarts, Revival, read, serve


class Starts:
    """The supervisor's side: notes what it is asked to start."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, full_name: str) -> str:
        self.names.append(full_name)
        return ""


def _event(name: str, process: str) -> str:
    payload = f"processname:{process} groupname:services from_state:STOPPED"
    return (
        f"ver:3.0 server:supervisor serial:1 pool:listener poolserial:1 eventname:{name} len:{len(payload)}\n{payload}"
    )


def test_every_event_is_answered_and_starts_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "restarts.json"
    source = io.StringIO(_event("PROCESS_STATE_STARTING", "proxy") * 3 + _event("PROCESS_STATE_STARTING", "signer"))
    sink = io.StringIO()
    serve(Restarts(file, "1-1"), Revival(Starts()), source, sink)
    assert sink.getvalue() == "READY\nRESULT 2\nOK" * 4 + "READY\n"
    assert read(file)["starts"] == {"services:proxy": 3, "services:signer": 1}


def test_counts_go_on_after_the_listener_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "restarts.json"
    Restarts(file, "1-1").started("a")
    Restarts(file, "1-1").started("a")
    assert read(file)["starts"] == {"a": 2}


def test_counts_begin_anew_with_a_new_supervisor(tmp_path: Path) -> None:
    file = tmp_path / "restarts.json"
    Restarts(file, "1-1").started("a")
    Restarts(file, "2-2").started("b")
    assert read(file)["starts"] == {"b": 1}


def test_broken_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "restarts.json").write_text("[1, 2")
    assert read(tmp_path / "restarts.json") == {}


def test_what_was_given_up_is_started_after_a_pause() -> None:
    starts = Starts()
    revival = Revival(starts)
    revival.fatal("a", 100.0)
    revival.tick(100.0 + FIRST_PAUSE_S - 0.1)
    assert starts.names == []
    revival.tick(100.0 + FIRST_PAUSE_S)
    revival.tick(100.0 + FIRST_PAUSE_S + 1)
    assert starts.names == ["a"]


def test_pauses_grow_up_to_a_limit() -> None:
    starts = Starts()
    revival, now_s = Revival(starts), 0.0
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
    starts = Starts()
    revival = Revival(starts)
    for now_s in (0.0, 1000.0):
        revival.fatal("a", now_s)
        revival.tick(now_s + LONGEST_PAUSE_S)
    revival.running("a", 2000.0)
    revival.fatal("a", 2000.0 + STEADY_S)
    revival.tick(2000.0 + STEADY_S + FIRST_PAUSE_S)
    assert starts.names == ["a", "a", "a"]
