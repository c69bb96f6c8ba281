"""A worker that offers Docker in its tasks, and an image with busybox and the docker command."""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from docker.api.client import APIClient

from executor.docker.conftest import busybox, daemon, pytest_collection_modifyitems, redis_server, yard
from executor.docker.dind.quay import Quay
from executor.docker.dind.slip import Slip
from executor.docker.yard import Yard
from taskward.core.ids import RunId
from taskward.executor.docker import labels

__all__ = ["busybox", "daemon", "pytest_collection_modifyitems", "redis_server", "yard"]
_REPOSITORY = "taskward-test/docker-client"


@pytest.fixture(scope="module")
def shared_quay() -> Iterator[Quay]:
    directory = Path(tempfile.mkdtemp(prefix="tw"))
    quay = Quay(directory)
    yield quay
    quay.close()
    shutil.rmtree(directory)


@pytest.fixture
def quay(shared_quay: Quay) -> Quay:
    shared_quay.asked.clear()
    return shared_quay


@pytest.fixture
def slip() -> Iterator[Slip]:
    directory = Path(tempfile.mkdtemp(prefix="tw"))
    quay = Quay(directory)
    quay.holdings.most_containers, quay.holdings.most_bytes = 100, 0
    yield Slip(quay, directory)
    quay.close()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def client_image(daemon: APIClient, busybox: str) -> str:
    """Busybox with the docker command of this machine, and the libraries that it needs."""
    program = shutil.which("docker")
    if program is None:
        pytest.skip("there is no docker command")
    files = [Path(program), *_libraries(program)]
    state = "\n".join(f"{each} {each.stat().st_size} {each.stat().st_mtime_ns}" for each in files)
    tag = hashlib.sha256(f"{busybox} {state}".encode()).hexdigest()[:16]
    name = f"{_REPOSITORY}:{tag}"
    try:
        daemon.inspect_image(name)
    except docker.errors.ImageNotFound:
        _build(daemon, busybox, files, tag)
    return name


def _libraries(program: str) -> list[Path]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [Path(each) for each in re.findall(r"(/\S+) \(0x", listed)]


def _build(daemon: APIClient, busybox: str, files: list[Path], tag: str) -> None:
    container = daemon.create_container(busybox, "true")["Id"]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        for file in files:
            tar.add(file, "bin/docker" if file is files[0] else str(file)[1:])
    try:
        daemon.put_archive(container, "/", archive.getvalue())
        daemon.commit(container, repository=_REPOSITORY, tag=tag)
    finally:
        daemon.remove_container(container)


@pytest.fixture(scope="module")
def docking(yard: Yard) -> Iterator[Yard]:
    """The worker, with the feature switched on; runs of tests that failed are over in the end."""
    yard.use(docker={"enable_dind": True})
    yield yard
    yard.use()
    for run in yard.bench.records.active():
        yard.bench.records.resolved(run)


def dind_payload(yard: Yard, image: str, script: str, **more: Any) -> dict[str, Any]:
    """A task that has the docker command, and the feature."""
    return {**yard.payload(script, **more), "image": image, "features": {"dind": True}, "maxRunTime": 300}


def leavings(yard: Yard, run: RunId) -> list[str]:
    """What a run has left at the daemon and on this host: there should be nothing."""
    label = {"label": [f"{labels.RUN}={run.key}"]}
    volumes = [f"volume {each['Name']}" for each in yard.daemon.volumes(filters=label)["Volumes"] or ()]
    found = yard.daemon.images(name=f"taskward/dind-{labels.worker_id(yard.bench.state_dir)}")
    images = [name for each in found for name in each["RepoTags"] or () if run.directory in name]
    return [*yard.left_over(run), *volumes, *images]
