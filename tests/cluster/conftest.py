import os
import subprocess
from collections.abc import Iterator

import pytest
from docker.api.client import APIClient

from simulators import docker as daemons

from .compose import ROOT, Cluster

TAG = "cluster-test"


@pytest.fixture(scope="session")
def images() -> str:
    """The tag of the images, made by debootstrap and from this checkout."""
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    done = subprocess.run([ROOT / "ops/images/build.sh", TAG], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return TAG


@pytest.fixture(scope="session")
def daemon() -> Iterator[APIClient]:
    """A client of the machine's Docker daemon; without one the tests are skipped, or, with ``CI``, fail."""
    client = daemons.connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def cluster(daemon: APIClient, images: str) -> Iterator[Cluster]:
    """A running cluster that all tests share."""
    with Cluster(daemon, images) as cluster:
        yield cluster
