"""Control groups that go while they are looked at, as those of containers do."""

import threading
from pathlib import Path

from taskward.executor.cgroup import Cgroup, Hierarchies, parent_name


def test_groups_below_may_go_at_any_moment(tmp_path: Path) -> None:
    group = tmp_path / "freezer" / parent_name(tmp_path) / "run"
    group.mkdir(parents=True)
    cgroup = Cgroup(tmp_path, "run", Hierarchies(None, tmp_path / "freezer", None, (tmp_path / "freezer",)))
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (group / "container").mkdir()
            (group / "container").rmdir()

    container = threading.Thread(target=come_and_go)
    container.start()
    try:
        for _ in range(500):
            assert cgroup.members() == set()
    finally:
        over.set()
        container.join()
    cgroup.remove()
    assert not group.exists()
