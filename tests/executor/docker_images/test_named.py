"""Images of registries: pulled once, with the right login, and given up in time."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from docker.api.client import APIClient

from executor.docker_images.archives import Picture, tar
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer, at_once
from simulators.registry import Registry, Request, fails, garbage, hangs, slowly
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.request import Image

pytestmark = pytest.mark.root

LOGIN: Final = "worker:s3cret-of-registry"


def push(registry: Registry, picture: Picture, repository: str = "people/image", tag: str = "1") -> Image:
    return Image("docker-image", name=registry.push(repository, tag, picture.config, picture.layers))


@pytest.fixture
def private() -> Iterator[Registry]:
    """A registry with a login."""
    with Registry(LOGIN) as registry:
        yield registry


@pytest.fixture
def login(private: Registry, state_dir: Path) -> dict[str, str]:
    """The setting that names it."""
    username, _, password = LOGIN.partition(":")
    path = state_dir / "registry.json"
    path.touch(0o600)
    path.write_text(json.dumps({"username": username, "password": password}))
    return {f"{private.host}/people": str(path)}


def test_an_image_is_pulled_and_its_progress_is_told(customer: Customer, registry: Registry) -> None:
    picture = Picture([tar({"x": b"y" * 300_000}), tar({"z": b"1"})])
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


def test_a_private_image_needs_the_scope_and_gets_the_login(
    customers: Customers, configure: Configure, private: Registry, login: dict[str, str]
) -> None:
    configure(registries=login)
    picture = Picture()
    image = push(private, picture)

    refusal = customers().fails(image)
    other = customers(["docker-worker:image:another:1"]).fails(image)
    customer = customers([f"docker-worker:image:{private.host}/people/*"])

    assert customer.get(image).image_id == picture.id
    assert refusal == other
    assert refusal.endswith(
        f'Not authorized to use {{"type": "docker-image", "name": "{image.name}"}}.  Ensure that the task scopes are '
        "correctly defined in the task definition"
    )
    assert customers().fails(image) == refusal, "it is here now, which is no right to have it"
    assert "s3cret" not in customer.told


def test_without_a_login_a_private_image_fails_at_once(customer: Customer, private: Registry) -> None:
    text = customer.fails(push(private, Picture()))

    assert "no basic auth credentials" in text
    assert len(private.requests) <= 4


def test_logins_that_lie_about_in_the_administrators_home_are_not_for_tasks(
    customer: Customer, private: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = private.expected.removeprefix("Basic ")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {private.host: {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    assert "no basic auth credentials" in customer.fails(push(private, Picture()))


def test_a_wrong_login_fails_at_once_and_is_not_told(
    customers: Customers, configure: Configure, private: Registry, login: dict[str, str]
) -> None:
    configure(registries=login)
    private.login = "worker:another"
    customer = customers([f"docker-worker:image:{private.host}/people/image:1"])

    text = customer.fails(push(private, Picture()))

    assert "unauthorized" in text
    assert "s3cret" not in text + customer.told


def test_a_login_that_is_configured_no_longer_gives_nothing_that_it_has_brought(
    customers: Customers, configure: Configure, private: Registry, login: dict[str, str]
) -> None:
    configure(registries=login)
    image = push(private, Picture())
    customers([f"docker-worker:image:{image.name}"]).get(image)
    configure()

    assert "no basic auth credentials" in customers().fails(image)


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
    assert "attempts)" in text


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
        deadline = time.monotonic() + 10
        while "/manifests/" in request.path and time.monotonic() < deadline:
            if sum("Waiting for another task" in each.told for each in everybody) == 2:
                break
            time.sleep(0.01)
        return False

    registry.behaviour = behave
    wrong = at_once(tmp_path, everybody, lambda customer: customer.fails(image))

    assert len(set(wrong)) == 1
    assert "manifest unknown" in wrong[0]
    assert registry.pulls("people/nothing") == 1


def test_an_image_without_a_command_needs_one_from_the_payload(customer: Customer, registry: Registry) -> None:
    ensured = customer.get(push(registry, Picture(command=None)))

    ensured.require_command(("true",))
    with pytest.raises(ImageFailed, match="the image names no command"):
        ensured.require_command(())
