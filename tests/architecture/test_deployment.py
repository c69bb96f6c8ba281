"""What lies in ops/ and docker-compose.yml agrees with the code; what systemd says of the units."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskward.cli.accounts import GROUPS, ROLE_USERS
from taskward.cli.cluster import SHELVES, SIGNER
from taskward.cli.directories import DIRECTORIES
from taskward.signer.door import TlsDoor
from taskward.signer.keyholder.settings import KeyholderSettings
from taskward.signer.settings import SignerSettings

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DOCKERFILE = (ROOT / "ops/images/Dockerfile").read_text()
MADE_LATER = {"run/taskward.toml", *SHELVES, "secrets/signer", ""}
"""Not in `DIRECTORIES`: a file, what the executor makes itself, what only a cluster has, and the state directory."""

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")


def test_images_have_the_users_and_groups_of_the_roles() -> None:
    users = [line.split(":") for line in (ROOT / "ops/images/passwd").read_text().splitlines()]
    assert {fields[0] for fields in users} == set(ROLE_USERS.values())
    assert all(fields[2] == fields[3] for fields in users)
    lines = [line.split(":") for line in (ROOT / "ops/images/group").read_text().splitlines()]
    members = {fields[0]: set(filter(None, fields[3].split(","))) for fields in lines}
    assert {name: members.pop(name) for name in GROUPS} == {
        group: {ROLE_USERS[role] for role in roles} for group, roles in GROUPS.items()
    }
    assert members == {user: set() for user in ROLE_USERS.values()}
    assert len({fields[2] for fields in lines}) == len(lines)


def test_every_role_has_an_image_and_a_service() -> None:
    targets = set(re.findall(r"^FROM taskward AS (\w+)$", DOCKERFILE, re.MULTILINE))
    assert targets == set(SERVICES)
    assert targets == {*ROLE_USERS, "executor", "setup", "taskhost"}
    assert {name: service["build"]["target"] for name, service in SERVICES.items()} == {name: name for name in targets}


@pytest.mark.parametrize("role", sorted(ROLE_USERS))
def test_image_runs_as_the_role_s_user(role: str) -> None:
    stage = DOCKERFILE.partition(f"FROM taskward AS {role}\n")[2].partition("\nFROM")[0]
    assert f"USER {ROLE_USERS[role]}\n" in stage


@pytest.mark.parametrize("role", sorted(SERVICES))
def test_service_mounts_what_the_worker_knows_at_the_same_path(role: str) -> None:
    known = {directory.path for directory in DIRECTORIES} | MADE_LATER
    for mount in SERVICES[role].get("volumes", ()):
        source, target, *_ = mount.split(":")
        if source.startswith("${TASKWARD_DIR}"):
            assert source == target
            assert source.removeprefix("${TASKWARD_DIR}").lstrip("/") in known


def test_signer_is_in_a_network_with_only_the_uploader_and_in_one_with_only_the_queue() -> None:
    members: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for network in service.get("networks", ()):
            members.setdefault(network, set()).add(name)
    mine = {network: found for network, found in members.items() if "signer" in found}
    assert mine == {"signing": {"signer", "uploader"}, "verifying": {"signer", "devcluster"}}
    assert SERVICES["signer"]["networks"]["signing"] == {"aliases": [SIGNER]}
    assert "ports" not in SERVICES["signer"]


def test_what_may_be_chosen_of_the_cluster_has_a_default() -> None:
    used = set(re.findall(r"\$\{(\w+)\}", (ROOT / "docker-compose.yml").read_text()))
    given = dict(line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if "=" in line)
    assert used == set(given)
    assert f"ARG BASE_IMAGE={given['BASE_IMAGE']}\n" in DOCKERFILE


def test_example_of_a_signing_host_is_understood(tmp_path: Path) -> None:
    text = (ROOT / "ops/systemd/signing.example.toml").read_text()
    file = tmp_path / "w-1.toml"
    file.write_text(text.replace('"tw-signer"', '"root"'))  # which every machine has
    signer, keyholder = SignerSettings.read(file), KeyholderSettings.read(file)
    assert isinstance(signer.door, TlsDoor)
    assert signer.door.port == 60025
    assert signer.keyholder_socket == keyholder.door.path
    assert signer.public_keys_dir == keyholder.keys.public_dir


@needs_systemd
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for unit in (ROOT / "ops/systemd").glob("*.service"):
        text = unit.read_text().replace("/opt/taskward/src/.venv/bin/python", "/bin/sh")
        for name in {unit.name, unit.name.replace("@", "@w-1")}:
            (tmp_path / name).write_text(text.replace("/usr/local/bin/taskward", "/bin/sh"))
    units = [str(path) for path in tmp_path.iterdir() if "@." not in path.name]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize(("unit", "most"), [("taskward-keyholder@.service", 10), ("taskward-signer@.service", 20)])
def test_units_of_the_signing_host_expose_little(unit: str, most: int) -> None:
    """In tenths of what `systemd-analyze security` says, from 0 to 100."""
    argv = ["systemd-analyze", "security", "--offline=true", f"--threshold={most}", str(ROOT / "ops/systemd" / unit)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
