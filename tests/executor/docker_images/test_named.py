"""Images of registries: pulled once, shared between tasks."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from docker.api.client import APIClient

from executor.docker_images.archives import Picture, tar
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer, at_once
from executor.docker_images.pushing import push
from simulators.patience import until
from simulators.registry import Registry, Request, slowly
from taskward.executor.docker.request import Image
from taskward.executor.errors import TaskEnded

pytestmark = pytest.mark.root


def test_an_image_is_pulled_and_its_progress_is_told(customer: Customer, registry: Registry) -> None:
    picture = Picture([tar({"x": os.urandom(300_000)}), tar({"z": os.urandom(9)})])  # layers that nobody has yet
    image = push(registry, picture)

    ensured = customer.get(image)

    assert ensured.image_id == picture.id
    assert ensured.facts == {"imageHash": picture.id}
    told = customer.told.splitlines()
    assert "1: Pulling from people/image" in told
    assert sum(" - Downloaded in " in line and line.endswith(" seconds") for line in told) == 2
    assert any(line.startswith("Digest: sha256:") for line in told)
    assert f"Status: Downloaded newer image for {image.name}" in told


def test_an_image_that_is_here_is_not_asked_for_again_for_a_while(customers: Customers, registry: Registry) -> None:
    image = push(registry, Picture())
    first, customer = customers().get(image), customers()

    assert customer.get(image) == first
    assert f"{image.name} exists in the cache." in customer.told
    assert registry.pulls("people/image") == 1


@pytest.mark.parametrize(("images", "moved"), [({"pull_again_after_s": 0.0}, True), ({"pull": "if-missing"}, False)])
def test_a_tag_that_has_moved_is_followed_as_the_settings_say(
    customers: Customers,
    configure: Configure,
    registry: Registry,
    daemon: APIClient,
    images: dict[str, Any],
    moved: bool,
) -> None:
    configure(**images)
    old, new = Picture(), Picture()
    customers().get(push(registry, old))
    image = push(registry, new)

    customer = customers()
    assert customer.get(image).image_id == (new.id if moved else old.id)
    customer.images.sweep()
    assert {found["Id"] for found in daemon.images(all=True)}.isdisjoint({old.id} if moved else {new.id})


def test_a_digest_is_always_the_same_image(customers: Customers, configure: Configure, registry: Registry) -> None:
    configure(pull_again_after_s=0.0)
    picture = Picture()
    push(registry, picture)
    name = next(name for _, name in registry.manifests if name.startswith("sha256:"))
    image = Image("docker-image", name=f"{registry.host}/people/image@{name}")

    assert customers().get(image).image_id == customers().get(image).image_id == picture.id
    assert len([line for line in registry.requests if line.startswith("HEAD") or "/manifests/" in line]) <= 2


def test_what_an_administrator_has_put_there_is_used_as_it_is(
    customer: Customer, daemon: APIClient, busybox: str
) -> None:
    assert customer.get(Image("docker-image", name=busybox)).image_id == daemon.inspect_image(busybox)["Id"]
    customer.images.sweep()
    assert daemon.inspect_image(busybox)


def test_a_run_that_is_cancelled_ends_its_pull(customer: Customer, registry: Registry) -> None:
    image, hung_up = push(registry, Picture()), threading.Event()

    def cancel(request: Request) -> bool:
        if "/blobs/" not in request.path:
            return False
        customer.abort = "canceled"
        request.send_response(200)
        request.send_header("Content-Length", "1000000000")
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 1000)
                time.sleep(0.02)
        except OSError:
            hung_up.set()
        return True

    registry.behaviour = cancel

    assert customer.fails(image).startswith("TaskEnded: ")
    assert hung_up.wait(5), "the daemon goes on"


def test_tasks_that_want_the_same_pull_it_once_and_all_see_how_far_it_is(
    customers: Customers, registry: Registry, tmp_path: Path
) -> None:
    picture = Picture()
    image = push(registry, picture)
    registry.behaviour = slowly("/blobs/", 0.4)
    everybody = [customers() for _ in range(3)]

    got = at_once(tmp_path, everybody, lambda customer: customer.get(image).image_id)

    assert got == [picture.id] * 3
    assert registry.pulls("people/image") == 1
    assert all(" - Downloaded in " in each.told for each in everybody)
    assert sum("Waiting for another task that is getting" in each.told for each in everybody) == 2


def test_tasks_that_wait_fail_with_the_one_that_pulls(customers: Customers, registry: Registry, tmp_path: Path) -> None:
    everybody = [customers() for _ in range(3)]
    image = Image("docker-image", name=f"{registry.host}/people/nothing")

    def behave(request: Request) -> bool:
        if "/manifests/" in request.path:
            until(lambda: sum("Waiting for another task" in each.told for each in everybody) == 2)
        return False

    registry.behaviour = behave
    wrong = at_once(tmp_path, everybody, lambda customer: customer.fails(image))

    assert len(set(wrong)) == 1
    assert "manifest unknown" in wrong[0]
    assert registry.pulls("people/nothing") == 1


def test_an_image_without_a_command_needs_one_from_the_payload(customer: Customer, registry: Registry) -> None:
    ensured = customer.get(push(registry, Picture(command=None)))

    ensured.require_command(("true",))
    with pytest.raises(TaskEnded, match="the image names no command"):
        ensured.require_command(())
