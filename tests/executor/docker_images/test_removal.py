"""What this worker has brought and nobody uses is removed; nothing else is."""

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from docker.api.client import APIClient
from docker.errors import ImageNotFound

from executor.bench import Bench, JobProcess
from executor.docker_images.archives import Picture
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer
from executor.docker_images.pushing import OTHER, artifact, push
from executor.mounts.web import Web
from simulators.registry import Registry
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.images.images import Images
from taskward.executor.docker.images.library import Library
from taskward.executor.docker.request import Image

pytestmark = pytest.mark.root

Sweep = Callable[..., None]


@pytest.fixture
def sweep(bench: Bench, customers: Customers) -> Iterator[Sweep]:
    """As an executor with these settings does it."""
    daemons: list[Daemon] = []

    def run(required_bytes: int = 0, **images: Any) -> None:
        settings = replace(
            bench.settings,
            images=replace(bench.settings.images, **images),
            executor=replace(bench.settings.executor, required_disk_space_bytes=required_bytes),
        )
        daemons.append(Daemon(settings.docker))
        Images(daemons[-1], settings).sweep()

    yield run
    for daemon in daemons:
        daemon.close()


def is_here(daemon: APIClient, name: str) -> bool:
    try:
        daemon.inspect_image(name)
    except ImageNotFound:
        return False
    return True


@pytest.fixture
def made(web: Web) -> Image:
    return artifact(web, Picture().saved())


def test_what_was_not_used_for_long_is_removed(
    customers: Customers, registry: Registry, made: Image, sweep: Sweep, daemon: APIClient
) -> None:
    loaded, pulled = customers().get(made), customers().get(push(registry, Picture()))
    sweep(expire_after_s=60.0)
    assert is_here(daemon, loaded.image_id)
    assert is_here(daemon, pulled.image_id)
    sweep(expire_after_s=0.0)

    assert not is_here(daemon, loaded.image_id)
    assert not is_here(daemon, pulled.image_id)


def test_when_the_disk_is_full_whatever_nobody_uses_may_go(
    customers: Customers, registry: Registry, made: Image, sweep: Sweep, daemon: APIClient
) -> None:
    loaded, pulled = customers().get(made), customers().get(push(registry, Picture()))
    sweep(required_bytes=1 << 60)

    assert not is_here(daemon, loaded.image_id)
    assert not is_here(daemon, pulled.image_id)


def test_an_image_that_a_container_uses_stays_until_it_is_gone(
    customers: Customers, made: Image, sweep: Sweep, daemon: APIClient
) -> None:
    ensured = customers().get(made)
    container = daemon.create_container(ensured.image_id, ["x"], labels={"taskward-test": "images"})["Id"]
    try:
        sweep(expire_after_s=0.0)
        assert is_here(daemon, ensured.image_id)
    finally:
        daemon.remove_container(container, force=True)
    sweep(expire_after_s=0.0)

    assert not is_here(daemon, ensured.image_id)


def test_one_content_of_two_tasks_stays_for_the_one_that_used_it_last(
    customers: Customers, web: Web, sweep: Sweep, bench: Bench, daemon: APIClient
) -> None:
    data = Picture().saved()
    ensured = customers().get(artifact(web, data))
    for path in (bench.state_dir / "images" / "brought").glob("*/item.json"):
        path.write_text(path.read_text().replace('"last_used_s": 1', '"last_used_s": 0'))
    customers().get(artifact(web, data, task_id=OTHER))
    sweep(expire_after_s=60.0)

    assert is_here(daemon, f"taskward/artifact:{ensured.artifact_hash[7:]}")
    assert len(list((bench.state_dir / "images" / "brought").iterdir())) == 1


def test_a_name_that_somebody_has_given_to_another_image_is_theirs(
    customers: Customers, registry: Registry, sweep: Sweep, daemon: APIClient, busybox: str
) -> None:
    image = push(registry, Picture())
    brought = customers().get(image)
    daemon.tag(busybox, image.name.rpartition(":")[0], "1")
    try:
        sweep(expire_after_s=0.0)
        assert not is_here(daemon, brought.image_id)
        assert daemon.inspect_image(image.name)["Id"] == daemon.inspect_image(busybox)["Id"]
    finally:
        daemon.remove_image(image.name)


def test_an_image_that_somebody_has_given_another_name_stays_under_that(
    customers: Customers, configure: Configure, registry: Registry, sweep: Sweep, daemon: APIClient
) -> None:
    configure(pull_again_after_s=0.0)
    mine, old = f"taskward-test/mine:{secrets.token_hex(4)}", Picture()
    image = push(registry, old)
    customers().get(image)
    daemon.tag(old.id, mine)
    try:
        push(registry, Picture())
        customers().get(image)
        sweep(expire_after_s=0.0)
        assert daemon.inspect_image(mine)["Id"] == old.id
        assert not is_here(daemon, image.name)
    finally:
        daemon.remove_image(mine)
        daemon.remove_image(old.id)


def test_what_a_crash_has_left_is_cleared_up(
    bench: Bench, sweep: Sweep, made: Image, customers: Customers, daemon: APIClient
) -> None:
    ensured = customers().get(made)
    brought = bench.state_dir / "images" / "brought"
    (brought / "unfinished").mkdir()
    next(brought.glob("*/content")).write_text("{")
    sweep(expire_after_s=0.0)

    daemon.remove_image(ensured.image_id)  # nobody knows any more that it was ours
    assert list(brought.iterdir()) == []
    assert list((bench.state_dir / "images" / "turns").iterdir()) == []
    assert [path.name for path in (bench.state_dir / "images").iterdir() if path.is_file()] == []


def test_without_images_the_daemon_is_not_needed(bench: Bench) -> None:
    bench.use(docker={"host": "unix:///nowhere"})

    Images(Daemon(bench.settings.docker), bench.settings).sweep()


def test_what_was_pulled_by_a_process_that_died_is_removed(
    customers: Customers, registry: Registry, sweep: Sweep, daemon: APIClient
) -> None:
    picture, customer = Picture(), customers()
    image = push(registry, picture)
    job = JobProcess(lambda: killed_after_pull(customer, image))
    job_status = os.waitpid(job.pid, 0)[1]
    assert os.WTERMSIG(job_status) == signal.SIGKILL
    assert is_here(daemon, image.name)
    sweep(expire_after_s=0.0)

    assert not is_here(daemon, image.name)


def killed_after_pull(customer: Customer, image: Image) -> None:
    """At the worst moment: the daemon has it, and nothing says so yet."""
    Library.misfit = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, method-assign]
    customer.get(image)


def test_an_image_for_another_machine_is_removed_too(
    customers: Customers, registry: Registry, sweep: Sweep, daemon: APIClient
) -> None:
    image = push(registry, Picture(architecture="s390x"))
    assert customers().fails(image) == customers().fails(image)
    sweep(expire_after_s=0.0)

    assert not is_here(daemon, image.name)
