"""No caller takes all threads."""

from hypothesis import given
from hypothesis import strategies as st

from taskward.proxy.fairness import FairShare


def test_one_caller_gets_its_share_and_waits_beyond_it() -> None:
    share: FairShare[int] = FairShare(threads=10, per_caller=3)
    started = [item for number in range(6) for item in share.offer("a", number)]
    assert started == [0, 1, 2]
    assert share.finished("a") == [3]


def test_a_newcomer_is_served_while_others_wait() -> None:
    share: FairShare[str] = FairShare(threads=10, per_caller=8)
    for number in range(50):
        share.offer("greedy", f"g{number}")
    assert share.offer("newcomer", "n") == ["n"]


def test_callers_take_turns_when_threads_become_free() -> None:
    share: FairShare[str] = FairShare(threads=2, per_caller=1)
    assert share.offer("a", "a1") == ["a1"]
    assert share.offer("b", "b1") == ["b1"]
    assert share.offer("a", "a2") == []
    assert share.offer("c", "c1") == []
    assert share.finished("b") == ["c1"]
    assert share.finished("a") == ["a2"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=200))
def test_everything_is_started_once_in_order_and_within_the_limits(steps: list[tuple[str, bool]]) -> None:
    share: FairShare[tuple[str, int]] = FairShare(threads=5, per_caller=3)
    offered: dict[str, int] = {}
    running: list[tuple[str, int]] = []
    started: dict[str, list[int]] = {caller: [] for caller in "abcd"}

    def note(items: list[tuple[str, int]]) -> None:
        for caller, number in items:
            running.append((caller, number))
            started[caller].append(number)
        assert len(running) <= 5
        assert all(sum(caller == other for other, _ in running) <= 3 for caller in "abcd")

    for caller, finish in steps:
        if finish and running:
            note(share.finished(running.pop(0)[0]))
        elif not finish:
            number = offered[caller] = offered.get(caller, -1) + 1
            note(share.offer(caller, (caller, number)))
    while running:
        note(share.finished(running.pop(0)[0]))
    for caller, last in offered.items():
        assert started[caller] == list(range(last + 1))
    assert share.running == 0
