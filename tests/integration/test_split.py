"""A worker whose signer and keys are on another host: they meet by mutual TLS alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from signer import processes
from signer.authority import Authority
from simulators.patience import until

from .stack import QUEUE, Stack, free_port

WORKER = {"task_queue_id": QUEUE, "worker_group": "group", "worker_id": "worker"}


@pytest.fixture
def signing_host() -> Iterator[Path]:
    """What lies on the signing host, and its authority's files."""
    with processes.short_directory() as path:
        path.chmod(0o755)
        yield path


def test_a_run_is_certified_by_a_signer_on_another_host(signing_host: Path) -> None:
    authority, port = Authority(signing_host, "authority"), free_port()
    certificate, key = authority.issue("worker", "worker.example")
    for path in (authority.file, certificate, key):
        path.chmod(0o644)  # the uploader has a user of its own
    access = {"signer_ca_file": authority.file, "signer_certificate_file": certificate, "signer_key_file": key}
    told = {"signer_url": f"https://127.0.0.1:{port}", **{name: str(path) for name, path in access.items()}}
    with Stack(uploader=told) as stack:
        assert {"signer", "keyholder"}.isdisjoint(row["name"] for row in stack.status()["roles"])
        run = stack.create([["/bin/bash", "-c", "echo x >x"]], features={"chainOfTrust": True})
        stack.phase(run, "finishing")  # nobody signs: it waits, and is never resolved unsigned
        config = _configuration(signing_host, stack.cluster.root_url, port, authority)
        with processes.keyholder(config), processes.signer_on_port(config, port):
            assert stack.resolution(run) == ("completed", "completed")
        names = until(lambda: stack.artifacts(run), "its artifacts are listed")
        assert {"public/chainOfTrust.json.asc", "public/chain-of-trust.json.sig"} <= set(names)


def _configuration(directory: Path, root_url: str, port: int, authority: Authority) -> Path:
    certificate, key = authority.issue("signer", "127.0.0.1")
    files = {"certificate_file": certificate, "key_file": key, "client_ca_file": authority.file}
    door = {"listen": f"127.0.0.1:{port}", "allowed_clients": ["worker.example"]}
    told = {name: str(path) for name, path in files.items()} | door
    return processes.write_config(directory, root_url, signer={"socket": None, **told}, worker=WORKER)
