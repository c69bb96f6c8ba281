"""Containers and caches as artifacts: what they hold, what they do not, and that nothing of them stays behind."""

import io
import signal
import tarfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from docker.errors import ImageNotFound

from executor.bench import Result
from executor.docker.yard import Yard, task_output
from taskward.core.clock import format_time, parse_time
from taskward.core.ids import RunId
from taskward.executor.docker import download, labels, snapshot
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.snapshot import Snapshot, public_names

pytestmark = pytest.mark.root
IMAGE = "public/dockerImage.tar"
SAVE = {"dockerSave": True}
MOST_TOLD_BYTES = 1 << 16
"""Descriptions of an image have names of all sorts, by the daemon's version."""


def opened(result: Result, name: str) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(result.content(name)))


def saved_images(yard: Yard) -> list[str]:
    """Images of this worker's containers that are at the daemon."""
    repository = f"taskward/saved-{labels.worker_id(yard.bench.state_dir)}"
    return [name for each in yard.daemon.images(name=repository) for name in each["RepoTags"]]


def is_there(yard: Yard, name: str) -> bool:
    return bool(yard.daemon.images(name=name))


@pytest.fixture(scope="module")
def saved(yard: Yard) -> Result:
    """A container with a cache, of a task that is kept for long."""
    script = "echo kept > /kept; echo in > /c/file; ln -s /etc/shadow /c/link; ln -s / /c/root; chown 1000 /c/file"
    payload = yard.payload(script, features=SAVE, env={"COLOR": "blue"}, cache={"mine": "/c"})
    more: dict[str, Any] = {
        "scopes": ["docker-worker:cache:mine"],
        "expires": format_time(datetime.now(UTC) + timedelta(days=300)),
    }
    return yard.bench.run_payload(payload, **more)


def test_a_container_can_be_loaded_and_run_again(yard: Yard, saved: Result) -> None:
    names = public_names(saved.record.run)
    entry = saved.entries[IMAGE]

    assert saved.outcome.succeeded, saved.log
    assert "Warning: features.dockerSave: everything in the file system of this container" in saved.log
    assert (entry.content_type, entry.content_encoding) == ("application/x-tar", "gzip")
    assert saved_images(yard) == []
    assert not any(is_there(yard, name) for name in names)
    yard.daemon.load_image(saved.content(IMAGE))
    try:
        again = yard.bench.run_payload({**yard.payload("cat /kept; echo $COLOR"), "image": names[0]})
        assert task_output(again) == ["kept", "blue"]
        assert is_there(yard, names[1])
    finally:
        for name in names:
            yard.daemon.remove_image(name, force=True)


def test_an_image_that_a_dead_process_left_without_a_name_goes(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    state_dir, made = yard.bench.state_dir, []
    for told in ("", "somebody/0"):
        config = {labels.STATE: str(state_dir), labels.RUN: told}
        container = yard.daemon.create_container(yard.image, ["true"])["Id"]
        made.append(yard.daemon.commit(container, conf={"Labels": config})["Id"])
        yard.daemon.remove_container(container)
    daemon = Daemon(yard.bench.settings.docker)
    try:
        snapshot.sweep(daemon, state_dir, ())
        assert all(yard.daemon.inspect_image(image) for image in made), "it may be on its way"
        monkeypatch.setattr(snapshot, "_UNNAMED_FOR_S", -5.0)
        snapshot.sweep(daemon, state_dir, ())
        with pytest.raises(ImageNotFound):
            yard.daemon.inspect_image(made[0])
        assert yard.daemon.inspect_image(made[1]), "a task's own, by its Docker socket"
    finally:
        yard.daemon.remove_image(made[1])
        daemon.close()


def test_no_variable_that_is_not_in_the_task_is_published(saved: Result) -> None:
    with opened(saved, IMAGE) as image:
        told = [image.extractfile(member) for member in image if member.size < MOST_TOLD_BYTES]
        texts = [stream.read().decode(errors="replace") for stream in told if stream is not None]
    assert not any(f"TASK_ID={saved.record.run.task_id}" in text for text in texts)
    assert any("COLOR=blue" in text and '"TASK_ID="' in text for text in texts)


def test_a_cache_is_an_archive_whose_links_lead_nowhere(saved: Result) -> None:
    with opened(saved, "public/cache/mine.tar") as archive:
        found = {member.name: member for member in archive}
        content = archive.extractfile("./file")
        assert content is not None
        assert content.read() == b"in\n"
    assert set(found) == {".", "./file", "./link", "./root"}
    assert found["./link"].issym()
    assert found["./root"].issym()
    assert found["./file"].uid == 1000


def test_a_place_that_the_task_has_replaced_shows_nothing_of_the_host(yard: Yard) -> None:
    script = "mv /a /b; ln -s / /a; echo own > /etc/own"
    result = yard.run(script, ("docker-worker:cache:mine",), cache={"mine": "/a/etc"}, features=SAVE)

    with opened(result, "public/cache/mine.tar") as archive:
        assert "./machine-id" not in archive.getnames()
        assert "./shadow" not in archive.getnames()


def test_what_is_saved_expires_soon(saved: Result) -> None:
    week = datetime.now(UTC) + timedelta(days=7)
    for name in (IMAGE, "public/cache/mine.tar"):
        assert abs(parse_time(saved.entries[name].expires) - week) < timedelta(minutes=10)


def test_a_container_that_is_too_large_is_an_error_artifact_and_a_failure(yard: Yard) -> None:
    yard.use(docker={"max_saved_bytes": 100_000})
    result = yard.run("true", features=SAVE)
    yard.use()

    assert result.outcome.state == "failed"
    assert result.entries[IMAGE].reason == "too-large-file-on-worker"
    assert "image could not be uploaded" in result.log
    assert not list(result.outbox.glob("*docker-image*"))
    assert saved_images(yard) == []


def test_a_failed_task_is_saved_and_a_canceled_one_is_not(yard: Yard) -> None:
    failed = yard.run("exit 3", features=SAVE)
    run = yard.claim("echo started; sleep 1000", features=SAVE)
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    yard.bench.records.abort(run, "canceled")
    assert job.wait() == 0

    assert failed.outcome.state == "failed"
    assert failed.entries[IMAGE].expires == failed.index.expires  # the task's own is sooner than in a week
    assert IMAGE not in yard.bench.result(run).entries


def test_a_cache_that_no_artifact_can_be_named_after_is_malformed(yard: Yard) -> None:
    result = yard.run("true", ("docker-worker:cache:*",), cache={"../up": "/c"}, features=SAVE)

    assert result.outcome.reason == "malformed-payload"
    assert "no artifact can be named 'public/cache/../up.tar'" in result.log


def test_a_process_that_dies_while_it_saves_leaves_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop_here(*_unused: object) -> None:
        signal.pause()

    run = yard.claim("true", features=SAVE)
    with monkeypatch.context() as patch:
        patch.setattr(download, "save", stop_here)
        job = yard.bench.start(run)
        yard.bench.wait_until(lambda: is_there(yard, public_names(run)[1]))
        job.kill()
    assert yard.bench.start(run).wait() == 0

    result = yard.bench.result(run)
    assert result.outcome.succeeded, result.log
    assert IMAGE in result.entries
    assert saved_images(yard) == []
    assert yard.left_over(run) == []


def test_a_sweep_removes_what_nobody_owns(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "remove", lambda _self: None)
        result = yard.run("true", features=SAVE)
    left, names = saved_images(yard), public_names(result.record.run)

    yard.bench.records.resolved(result.record.run)
    yard.bench.sweep()

    assert len(left) == 2
    assert saved_images(yard) == []
    assert not any(is_there(yard, name) for name in names)


def test_another_runs_image_of_the_same_name_is_not_published(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Snapshot.take

    def and_another(self: Snapshot, container: str, variables: dict[str, str]) -> tuple[str, str]:
        found = take(self, container, variables)
        yard.daemon.tag(yard.image, found[0], "latest", force=True)
        return found

    monkeypatch.setattr(Snapshot, "take", and_another)
    result = yard.run("true", features=SAVE)
    name = public_names(result.record.run)[0]

    assert result.outcome.reason == "internal-error"
    assert IMAGE not in result.entries
    assert is_there(yard, name)
    yard.daemon.remove_image(f"{name}:latest")
    assert saved_images(yard) == []


def test_names_are_what_a_registry_bears() -> None:
    assert public_names(RunId("A_b-CDEFQGCHIJKLMNOPQA", 3)) == (
        "a0b0cdefqgchijklmnopqa-3", "task-a0b0cdefqgchijklmnopqa-3",
    )  # fmt: skip
