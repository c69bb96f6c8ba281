"""Real uploader processes on a real queue, killed in the middle."""

import pytest

from simulators.patience import until
from taskward.claimer.reaper import Reaper
from taskward.core.jobs import UPLOAD
from uploader.site import BACKING, Site, UploaderProcess


def sweep_until_uploaded(site: Site, timeout_s: float = 15.0) -> None:
    """What the reaper does each second."""
    reaper = Reaper(site.server.linked("claimer"), {UPLOAD: site.layout.locks("upload")})

    def uploaded() -> bool:
        reaper.sweep()
        return site.record.phase == "uploaded"

    until(uploaded, within_s=timeout_s, pause_s=0.02)


def test_a_process_takes_its_messages_from_the_queue(site: Site) -> None:
    site.left_by_the_executor(site.file("public/a", b"a"), site.file("public/b", b"b"), batches=[[0], [1]])
    process = site.process()
    until(lambda: site.record.phase == "uploaded")
    assert process.terminate() == 0
    assert site.cloud.puts == {"public/a": 1, "public/b": 1, BACKING: 1}
    assert site.inbox() == [site.run.key.encode()]


def test_a_killed_uploader_is_replaced_and_nothing_is_sent_twice(site: Site) -> None:
    site.cloud.put_pause_s = 0.05
    names = [f"public/{n}" for n in range(100)]
    site.left_by_the_executor(*(site.file(name, name.encode()) for name in names))
    first = site.process()
    until(lambda: len(site.recorded()) >= 30)
    first.kill()
    done = set(site.recorded())
    second = site.process()
    sweep_until_uploaded(site)
    second.terminate()
    assert all(site.cloud.puts[name] == 1 for name in done)
    under_way, about_to_be_recorded = 10, 10
    assert sum(site.cloud.puts[name] for name in names) <= 100 + under_way + about_to_be_recorded
    assert {name: site.cloud.stored[name].body for name in names} == {name: name.encode() for name in names}
    assert site.outcome.succeeded


@pytest.mark.parametrize("stage", ["create", "put"])
def test_a_kill_while_the_log_is_closed_is_made_good(site: Site, stage: str) -> None:
    site.left_by_the_executor()
    site.cloud.put_pause_s = 1.0
    first = site.process()
    until(lambda: site.cloud.creates[BACKING] if stage == "create" else site.cloud.puts[BACKING])
    first.kill()
    site.cloud.put_pause_s = 0.0
    second = site.process()
    sweep_until_uploaded(site)
    second.terminate()
    assert site.uploaded_log() == "hello\n"
    assert site.inbox() == [site.run.key.encode()]


def test_sigterm_lets_the_message_at_hand_be_finished(site: Site) -> None:
    site.cloud.put_pause_s = 0.5
    site.left_by_the_executor(site.file("public/a", b"a"))
    process = site.process()
    until(lambda: site.cloud.under_way)
    assert process.terminate() == 0
    assert site.sent("public/a").storage == "s3"
    assert site.record.phase == "finishing"


def test_redis_may_be_killed_in_the_middle(site: Site) -> None:
    site.cloud.put_pause_s = 0.05
    site.left_by_the_executor(*(site.file(f"public/{n}", b"x") for n in range(60)))
    process = site.process()
    until(lambda: len(site.recorded()) >= 10)
    site.server.restart()
    until(lambda: site.record.phase == "uploaded", within_s=20)
    process.terminate()
    assert len(site.cloud.stored) == 61


def test_a_missing_password_ends_with_64(site: Site) -> None:
    path = site.configuration()
    site.layout.redis_password("uploader").unlink()
    assert UploaderProcess(path).popen.wait(20) == 64


def test_a_new_process_sweeps_the_locks_of_dead_ones(site: Site) -> None:
    first = site.process()
    until(lambda: list(site.layout.locks("upload").glob("uploader-*")))
    first.kill()
    dead = next(site.layout.locks("upload").iterdir())
    second = site.process()
    until(lambda: list(site.layout.locks("upload").glob(f"*-{second.popen.pid}-*")))
    assert not dead.exists()


def test_a_bad_configuration_ends_with_64(site: Site) -> None:
    path = site.configuration()
    path.write_text(path.read_text().replace("concurrency", "concurency"))
    assert UploaderProcess(path).popen.wait(20) == 64
