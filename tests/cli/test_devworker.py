"""The configuration of a development worker: made once, edited afterwards, and overridden by the environment."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskward.cli.devworker import DevWorker
from taskward.core.errors import ConfigurationError


@pytest.fixture
def worker() -> Iterator[DevWorker]:
    with tempfile.TemporaryDirectory(prefix="tw") as directory:
        Path(directory).chmod(0o755)
        yield DevWorker(Path(directory) / "st")


def test_variables_come_before_the_file(worker: DevWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.prepare().worker.capacity == 2

    monkeypatch.setenv("TASKWARD_WORKER__CAPACITY", "3")
    monkeypatch.setenv("TASKWARD_DOCKER__ENABLE_DIND", "true")
    settings = worker.prepare()

    assert (settings.worker.capacity, settings.docker.enable_dind) == (3, True)
    assert "enable_dind" not in worker.config.read_text()


def test_a_misspelt_variable_is_refused(worker: DevWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKWARD_WORKER__CAPACTIY", "3")

    with pytest.raises(ConfigurationError, match="TASKWARD_WORKER__CAPACITY"):
        worker.prepare()


@pytest.mark.parametrize("name", ["WORKER__STATE_DIR", "TASKCLUSTER__ROOT_URL", "TASKCLUSTER__CLIENT_ID"])
def test_variables_make_it_no_other_clusters_worker(
    worker: DevWorker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"TASKWARD_{name}", {"TASKCLUSTER__ROOT_URL": "https://tc.example.com"}.get(name, "/other"))

    with pytest.raises(ConfigurationError, match="has its own directory and Taskcluster"):
        worker.prepare()
