"""What each part brings along: the keyholder and the client are small on purpose."""

import subprocess

import pytest

from signer import processes

NETWORK = {"flask", "werkzeug", "gunicorn", "urllib3", "mohawk", "http", "ssl", "sqlite3", "requests"}


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("taskward.signer.keyholder.__main__", NETWORK),
        ("taskward.signer.decrypter.__main__", {*NETWORK - {"http"}, "gnupg", "cryptography"}),
        ("taskward.signer.decrypter.client", {*NETWORK, "gnupg", "cryptography", "mohawk"}),
        ("taskward.signer.client", {"flask", "gunicorn", "urllib3", "cryptography", "gnupg", "sqlite3"}),
        ("taskward.signer.assembly", {"gnupg", "redis", "rq", "docker"}),
    ],
)
def test_a_part_does_not_load_what_it_does_not_need(module: str, foreign: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([processes.PYTHON, "-c", code], capture_output=True, check=True)
    assert not foreign & {name.partition(".")[0] for name in done.stdout.decode().split()}


def test_the_signer_never_loads_the_keyholder_s_code() -> None:
    code = "import sys, taskward.signer.__main__; print(*sys.modules)"
    done = subprocess.run([processes.PYTHON, "-c", code], capture_output=True, check=True)
    assert b"taskward.signer.keyholder" not in done.stdout
