"""What a person sees of `make` in a checkout where something is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """\
#!/bin/sh
# a Python that can do all but reach the network
case "$*" in
  *"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *"-m pip"*) echo "ERROR: Could not find a version that satisfies the requirement" >&2; exit 1 ;;
  *sys.executable*) echo "$0" ;;
esac
"""


@pytest.fixture
def checkout(place: Path) -> Path:
    """The files that make needs, and none of what it makes."""
    shutil.copy(ROOT / "Makefile", place)
    shutil.copytree(ROOT / "ops/locks", place / "ops/locks")
    shutil.copy(ROOT / "ops/setup.sh", place / "ops")
    for project in ("services", "uploader", "signer", "proxy"):
        (place / project).mkdir()
    (place / "python").write_text(PYTHON)
    (place / "python").chmod(0o755)
    return place


def _make(checkout: Path, target: str) -> subprocess.CompletedProcess[str]:
    told = {**os.environ, "TASKWARD_PYTHON": str(checkout / "python"), "PIP_INDEX_URL": "https://mirror.example/simple"}
    argv = ["make", "--no-print-directory", target]
    return subprocess.run(argv, cwd=checkout, env=told, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("target", ["status", "down"])
def test_nothing_can_be_asked_before_it_is_set_up(checkout: Path, target: str) -> None:
    done = _make(checkout, target)
    assert (done.returncode, done.stdout, done.stderr) == (0, "not set up\n", "")


def test_setup_without_network_says_so(checkout: Path) -> None:
    done = _make(checkout, "setup")
    assert done.returncode == 2
    assert "setup: error: pip could not install ops/locks/build.txt" in done.stderr
    assert "needs the network, or an index that it can reach: https://mirror.example/simple" in done.stderr
