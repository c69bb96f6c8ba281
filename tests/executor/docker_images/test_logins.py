"""Private images: who may have them, and where logins come from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from executor.docker_images.archives import Picture
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer
from executor.docker_images.pushing import push
from simulators.registry import Registry

pytestmark = pytest.mark.root

LOGIN: Final = "worker:s3cret-of-registry"


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
