import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.verify.downloads import LOG, Checker, put
from signer import processes
from signer.simulated_queue import SimulatedTaskcluster, running_taskcluster
from taskward.cli.verify import VerificationReport, verify_directory
from taskward.signer.client import SignerClient


@pytest.fixture(scope="session")
def signed() -> Iterator[Path]:
    """A directory with the downloads `run/` and `other/`, `public/` with the keys, `keys/` with the private ones."""
    with processes.short_directory() as directory:
        _sign(directory)
        yield directory


def _sign(directory: Path) -> None:
    with running_taskcluster() as taskcluster:
        config = processes.write_config(directory, taskcluster.root_url)
        with processes.keyholder(config), processes.signer(config):
            for name in ("run", "other"):
                _download(directory / name, taskcluster, SignerClient(directory / "signer.sock"))


def _download(target: Path, taskcluster: SimulatedTaskcluster, client: SignerClient) -> None:
    key = (
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----END PGP PUBLIC KEY BLOCK-----"  # as for apt; the document quotes it
    )
    task = taskcluster.create_task({"chainOfTrust": True, "generateCertificate": True}, env={"KEY": key})
    artifacts = [task.upload("public/a.txt", b"ay"), task.upload("public/build/b c.bin", b"\0\1")]
    documents = client.certify(task.task_id, 0, taskcluster.run_credentials(task), artifacts)
    for document in documents:
        put(target, document.name, document.content)
    for name, (_, content) in task.artifacts.items():
        put(target, name, content)
    put(target, LOG, b"goes on after signing")


@pytest.fixture
def run(signed: Path, tmp_path: Path) -> Path:
    """A copy of the downloaded run that a test may spoil."""
    return Path(shutil.copytree(signed / "run", tmp_path / "run"))


@pytest.fixture
def check(signed: Path, run: Path) -> Checker:
    def verified(**options: object) -> VerificationReport:
        given = {
            "openpgp_key": signed / "public" / "openpgp.asc",
            "ed25519_keys": [(signed / "public" / "ed25519.pub").read_text()],
            "dsse_keys": [(signed / "public" / "dsse.pub").read_text()],
            **options,
        }
        return verify_directory(run, **given)  # type: ignore[arg-type]  # a test gives what it likes

    return verified
