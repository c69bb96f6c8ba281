"""A worker's machine with the Docker daemon, a registry, and a queue that has artifacts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from docker.api.client import APIClient

from executor.bench import Bench
from executor.conftest import bench, pytest_collection_modifyitems, redis_server, state_dir
from executor.docker_images.customer import Customer
from executor.mounts.web import Web
from simulators.docker import busybox, daemon
from simulators.registry import Registry
from taskward.executor.docker.daemon import Daemon
from taskward.executor.docker.images.images import Images

__all__ = ["bench", "busybox", "daemon", "pytest_collection_modifyitems", "redis_server", "state_dir"]

Configure = Callable[..., None]
Customers = Callable[..., Customer]


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as web:
        yield web


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def configure(bench: Bench, web: Web) -> Configure:
    """Settings of [images] that hold for customers from now on."""

    def use(**images: Any) -> None:
        bench.use(
            taskcluster={"root_url": web.url}, proxy={"port": web.port},
            executor={"required_disk_space_bytes": 0}, images={"timeout_s": 30, "stall_s": 5, **images},
        )  # fmt: skip

    return use


@pytest.fixture
def customers(bench: Bench, configure: Configure, daemon: APIClient) -> Iterator[Customers]:
    """Makes tasks that want images; whatever they have brought is removed at the end."""
    configure()
    with ExitStack() as stack:
        yield lambda scopes=(): stack.enter_context(Customer(bench, scopes))
    settings = replace(bench.settings, images=replace(bench.settings.images, expire_after_s=0.0))
    Images(Daemon(settings.docker), settings).sweep()


@pytest.fixture
def customer(customers: Customers) -> Customer:
    return customers()
