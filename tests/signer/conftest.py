from collections.abc import Iterator
from pathlib import Path

import pytest

from signer import processes
from signer.callers import RawCaller
from signer.processes import Service
from signer.sealing import Author
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster, running_taskcluster
from taskward.signer.client import SignerClient
from taskward.signer.decrypter.client import Decrypter


@pytest.fixture(scope="session")
def shared_taskcluster() -> Iterator[SimulatedTaskcluster]:
    with running_taskcluster() as taskcluster:
        yield taskcluster


@pytest.fixture
def taskcluster(shared_taskcluster: SimulatedTaskcluster) -> Iterator[SimulatedTaskcluster]:
    """The queue that the shared signer reads, well-behaved again after each test."""
    yield shared_taskcluster
    shared_taskcluster.failures_to_come.clear()
    shared_taskcluster.page_entries = 1000
    shared_taskcluster.redirect_artifacts_to = None
    shared_taskcluster.anonymous_reads = True


@pytest.fixture
def directory() -> Iterator[Path]:
    with processes.short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def shared_directory() -> Iterator[Path]:
    with processes.short_directory() as path:
        yield path


@pytest.fixture(scope="session")
def keyholder(shared_directory: Path, shared_taskcluster: SimulatedTaskcluster) -> Iterator[Service]:
    config = processes.write_config(
        shared_directory,
        shared_taskcluster.root_url,
        signer={"environment": {"region": "north", "publicIpAddress": "192.0.2.1"}},
    )
    with processes.keyholder(config) as service:
        yield service


@pytest.fixture(scope="session")
def signer(keyholder: Service) -> Iterator[Service]:
    with processes.signer(keyholder.directory / "worker.toml") as service:
        yield service


@pytest.fixture
def client(signer: Service) -> SignerClient:
    return SignerClient(signer.directory / "signer.sock")


@pytest.fixture
def task(taskcluster: SimulatedTaskcluster) -> SimulatedTask:
    return taskcluster.create_task()


@pytest.fixture
def caller(signer: Service, taskcluster: SimulatedTaskcluster, task: SimulatedTask) -> RawCaller:
    return RawCaller(signer.directory / "signer.sock", taskcluster.run_credentials(task))


@pytest.fixture(scope="session")
def decrypter_service(shared_taskcluster: SimulatedTaskcluster) -> Iterator[Service]:
    with (
        processes.short_directory() as directory,
        processes.decrypter(processes.write_config(directory, shared_taskcluster.root_url)) as service,
    ):
        yield service


@pytest.fixture(scope="session")
def author(decrypter_service: Service) -> Iterator[Author]:
    directory = decrypter_service.directory
    author = Author(directory / "author", directory / "public-encryption" / "encryption.asc")
    yield author
    author.close()


@pytest.fixture
def decrypter(decrypter_service: Service) -> Decrypter:
    return Decrypter(decrypter_service.directory / "decrypter.sock")
