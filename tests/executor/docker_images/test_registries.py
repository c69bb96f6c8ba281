"""Registries that are in trouble, or mean harm, are given up in time."""

import gzip
import threading
import time

import pytest

from executor.docker_images.archives import Picture, tar
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer
from executor.docker_images.pushing import push
from simulators.registry import Registry, fails, garbage, hangs
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.request import Image
from taskward.executor.errors import TaskEnded

pytestmark = pytest.mark.root


def test_an_image_that_does_not_exist_fails_at_once(customer: Customer, registry: Registry) -> None:
    text = customer.fails(Image("docker-image", name=f"{registry.host}/people/nothing"))

    assert text.endswith(
        f"Error: {registry.host}/people/nothing:latest: manifest unknown (the registry has no such image or tag)"
    )
    assert registry.pulls("people/nothing") == 1


def test_an_image_for_another_processor_fails_at_once(customer: Customer, registry: Registry) -> None:
    single = push(registry, Picture(architecture="s390x"))
    several = Image("docker-image", name=registry.push_list("people/list", "1", [("linux", "s390x")]))

    assert "the image is for linux/s390x, but this worker runs linux/" in customer.fails(single)
    assert "no matching manifest for linux/" in customer.fails(several)


def test_a_registry_that_has_trouble_is_asked_again(customer: Customer, registry: Registry) -> None:
    picture = Picture()
    image = push(registry, picture)
    registry.behaviour = fails(503, 2)

    assert customer.get(image).image_id == picture.id
    assert "; trying again in " in customer.told


def test_a_registry_that_is_not_there_is_given_up_soon(customers: Customers, configure: Configure) -> None:
    configure(stall_s=2)
    text = customers().fails(Image("docker-image", name="127.0.0.1:1/people/image"))

    assert "connection refused" in text
    assert " attempts)" in text


def test_a_pause_before_the_next_attempt_ends_with_its_run(customers: Customers, configure: Configure) -> None:
    configure(stall_s=1000)
    customer, begun_s = customers(), time.monotonic()
    customer.abort_when = lambda: "trying again in" in customer.told

    assert "canceled" in customer.fails(Image("docker-image", name="127.0.0.1:1/people/image"))
    with Site(customer.task) as site, pytest.raises(TaskEnded):
        site.pause(20)
    assert time.monotonic() - begun_s < 10


def test_a_registry_that_never_answers_is_given_up(
    customers: Customers, configure: Configure, registry: Registry
) -> None:
    configure(stall_s=1)
    image, released = push(registry, Picture()), threading.Event()
    registry.behaviour = hangs("/manifests/", released)

    text = customers().fails(image)
    released.set()

    assert "timeout: " in text


def test_a_registry_that_answers_garbage_fails_at_once(customer: Customer, registry: Registry) -> None:
    image = push(registry, Picture())
    registry.behaviour = garbage
    text = customer.fails(image)

    assert "\x1b" not in text + customer.told
    assert len(registry.requests) < 10


def test_a_layer_with_another_content_than_its_digest_fails(customer: Customer, registry: Registry) -> None:
    picture = Picture()
    image = push(registry, picture)
    layer = next(name for name, blob in registry.blobs.items() if blob[:2] == b"\x1f\x8b")
    registry.blobs[layer] = gzip.compress(tar({"another": b"content"}))

    text = customer.fails(image)

    assert "filesystem layer verification failed for digest" in text
    assert "attempts" not in text


def test_an_image_that_was_pulled_before_serves_while_its_registry_is_away(
    customers: Customers, configure: Configure, registry: Registry
) -> None:
    configure(pull_again_after_s=0.0, stall_s=1)
    picture = Picture()
    image = push(registry, picture)
    customers().get(image)
    registry.behaviour = fails(503, 100)
    customer = customers()

    assert customer.get(image).image_id == picture.id
    assert "using the image that was pulled before" in customer.told
