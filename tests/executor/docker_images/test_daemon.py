"""What a daemon may do while it gets an image."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from executor.bench import Bench
from executor.docker_images.archives import Picture
from executor.docker_images.customer import Customer
from executor.docker_images.pushing import artifact
from executor.mounts.web import Web
from simulators.dockerd import Behaviour, Dockerd, hangs, hangs_up, says
from taskward.executor.docker.request import Image

pytestmark = pytest.mark.root

NAMED: Final = Image("docker-image", name="example.com/people/image:1")
Meet = Callable[[Behaviour], tuple[Customer, Dockerd]]


@pytest.fixture
def meet(bench: Bench, web: Web) -> Iterator[Meet]:
    """A task, and a daemon with that behaviour."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tw")))

        def make(behaviour: Behaviour) -> tuple[Customer, Dockerd]:
            daemon = stack.enter_context(Dockerd(directory / secrets.token_hex(4), behaviour))
            bench.use(
                taskcluster={"root_url": web.url}, proxy={"port": web.port}, docker={"host": daemon.url},
                executor={"required_disk_space_bytes": 0}, images={"stall_s": 1, "timeout_s": 30},
            )  # fmt: skip
            return stack.enter_context(Customer(bench)), daemon

        yield make


def test_an_error_that_follows_a_good_status_is_an_error(meet: Meet, web: Web) -> None:
    customer, _ = meet(
        says(b'{"stream": "x"}\r\n{"errorDetail": {"message": "no space\\u001b[2J left"}, "error": "x"}\r\n')
    )

    text = customer.fails(artifact(web, Picture().saved()))

    assert text.endswith("Error: Error loading docker image. no space\\x1b[2J left")


def test_an_image_that_is_not_there_after_all_is_told(meet: Meet, web: Web) -> None:
    customer, _ = meet(says(b'{"stream": "Loaded image: another:latest"}\r\n'))

    assert customer.fails(artifact(web, Picture().saved())).endswith("Image did not load properly.")
    assert customer.fails(NAMED).endswith("image missing after pulling")


def test_a_daemon_that_fails_is_not_the_tasks_fault(meet: Meet, web: Web) -> None:
    customer, _ = meet(hangs_up)

    assert customer.fails(artifact(web, Picture().saved())).startswith("EngineFailed: the Docker daemon at unix://")
    assert customer.fails(NAMED).startswith("EngineFailed: the Docker daemon at unix://")


def test_a_pull_of_which_nothing_is_heard_is_given_up(meet: Meet) -> None:
    customer, _ = meet(hangs)

    assert "timeout: the registry has sent nothing for 1 seconds" in customer.fails(NAMED)


@pytest.mark.parametrize("named", [True, False])
def test_a_run_that_is_cancelled_leaves_the_daemon_at_once(meet: Meet, web: Web, named: bool) -> None:
    customer, daemon = meet(hangs)
    object.__setattr__(customer.settings.images, "stall_s", 30.0)
    customer.abort_when = daemon.asked.is_set
    begun_s = time.monotonic()

    text = customer.fails(NAMED if named else artifact(web, Picture().saved()))

    assert text.startswith("TaskEnded: ")
    assert daemon.hung_up.wait(3)
    assert time.monotonic() - begun_s < 5
