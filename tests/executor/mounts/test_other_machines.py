"""Mounts where the worker is not root, and where mounts cannot show another owner."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, JobProcess, Result, shell
from executor.mounts.archives import Entry, mount, tar
from executor.mounts.web import Web
from taskward.executor.mounts import kernel

ORDINARY_UID = 61_235
PLAIN = [Entry("f", b"hello\n"), Entry("deep/er/g", b"x", mode=0o600)]
CACHE = {"cacheName": "one", "directory": "c"}

Run = Callable[..., Result]


def in_process(bench: Bench, script: str, prepare: Callable[[], None], **payload: Any) -> Result:
    """A run whose job process begins with `prepare`."""
    claimed = bench.claim({"command": shell(script), "maxRunTime": 20, **payload}, scopes=["generic-worker:cache:*"])

    def execute() -> None:
        prepare()
        bench.execute(claimed)

    assert JobProcess(execute).wait() == 0
    return bench.result(claimed)


class TestOrdinaryUser:
    @pytest.fixture
    def run(self, mounting: Bench) -> Run:
        if os.geteuid() == 0:
            os.chown(mounting.state_dir, ORDINARY_UID, ORDINARY_UID)
            address = mounting.server.address("executor")
            for path in (address.socket.parent, address.socket, address.password_file):
                os.chown(path, ORDINARY_UID, ORDINARY_UID)
        return lambda script, **payload: in_process(mounting, script, self.lose_rights, **payload)

    @staticmethod
    def lose_rights() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
            os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)

    def test_files_and_directories_are_there(self, run: Run, web: Web) -> None:
        file = {"file": "f", "content": {"raw": "raw\n"}}

        result = run("cat f d/f; touch d/new", mounts=[file, mount(web, tar(PLAIN), "tar")])

        assert result.output == ["raw", "hello"], result.log
        assert result.outcome.succeeded

    def test_directories_that_nobody_may_change_are_removed(self, run: Run, mounting: Bench) -> None:
        result = run("mkdir -p go/pkg/mod && touch go/pkg/mod/f && chmod 500 go/pkg/mod && chmod 0 go/pkg")

        assert result.outcome.succeeded, result.log
        assert not list((mounting.state_dir / "tasks").iterdir())

    def test_a_cache_moves_in_and_out(self, run: Run, mounting: Bench) -> None:
        outputs = [run("echo x >> c/count; wc -l < c/count", mounts=[CACHE]).output for _ in range(3)]

        assert outputs == [["1"], ["2"], ["3"]]

    def test_a_cache_that_the_task_moved_away_fails_it_and_the_next_gets_a_new_one(self, run: Run) -> None:
        run("echo x >> c/count", mounts=[CACHE])

        result = run("mv c elsewhere", mounts=[CACHE])

        assert result.outcome.state == "failed"
        assert '[mounts] could not persist cache "one" due to' in result.log
        assert run("ls c | wc -l", mounts=[CACHE]).output == ["0"]

    def test_a_cache_that_became_a_link_is_not_followed(self, run: Run, tmp_path: Path) -> None:
        result = run("mv c elsewhere; ln -s /etc c", mounts=[CACHE])

        assert result.outcome.state == "failed"
        assert Path("/etc/passwd").exists()
        assert run("ls c | wc -l", mounts=[CACHE]).output == ["0"]


@pytest.mark.root
class TestWithoutOwnersOfItsOwn:
    """The file system of the worker's state, or the kernel, has no mounts that show another owner."""

    @pytest.fixture
    def run(self, mounting: Bench, monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.setattr(kernel, "can_map_owners", lambda _directory: False)
        return lambda script, **payload: in_process(mounting, script, lambda: None, **payload)

    def test_a_cache_changes_its_owner(self, run: Run) -> None:
        first = run("mkdir -p c/d && echo x > c/d/f && chmod 600 c/d/f; ls -n c/d", mounts=[CACHE])
        second = run("cat c/d/f; stat -c %U c/d/f; id -un", mounts=[CACHE])

        assert first.outcome.succeeded
        assert second.output[0] == "x", second.log
        assert second.output[1] == second.output[2]

    def test_a_cache_changes_its_owner_however_deep_it_is(self, run: Run) -> None:
        go_deep = f"cd c; for i in $(seq 12); do mkdir -p {'d/' * 100}; cd {'d/' * 100}; done; echo x >f"
        run(go_deep, mounts=[CACHE])

        result = run("find c -name f -user $(id -u) | wc -l", mounts=[CACHE])

        assert result.output == ["1"], result.log

    def test_hard_links_to_files_of_others_stay_theirs(self, run: Run, mounting: Bench) -> None:
        run("touch c/f", mounts=[CACHE])
        content = next((mounting.state_dir / "caches").glob("*/content"))
        roots = mounting.state_dir / "roots"
        roots.write_text("secret")
        roots.chmod(0o600)
        os.link(roots, content / "link")

        result = run("cat c/link", mounts=[CACHE])

        assert "Permission denied" in result.log
        assert roots.stat().st_uid == 0

    def test_a_read_only_directory_is_unpacked_for_each_task_and_still_read_only(
        self, run: Run, mounting: Bench, web: Web
    ) -> None:
        archive = mount(web, tar(PLAIN), "tar")

        results = [run("cat d/f d/deep/er/g; touch d/x", mounts=[archive]) for _ in range(2)]

        assert all("Extracting" in result.log and "Read-only file system" in result.log for result in results)
        assert results[0].output[:2] == ["hello", "xtouch: cannot touch 'd/x': Read-only file system"]
        mounting.sweep()
        assert not list((mounting.state_dir / "unpacked").iterdir())
