"""The command `taskward verify`: its keys, what it prints, and its exit codes."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.verify.downloads import PROVENANCE, command, key_options, put, stranger_s
from signer import processes
from taskward.cli.errors import Unavailable


def test_command_exits_0_with_the_run_named(signed: Path, run: Path) -> None:
    keys = signed / "public"
    arguments: list[str | Path] = ["--openpgp-key", keys / "openpgp.asc", "--ed25519-key", keys / "ed25519.pub"]
    result = command(run, *arguments, "--dsse-key", (keys / "dsse.pub").read_text())
    assert result.exit_code == 0
    assert "verified: task " in result.output


def test_command_reports_json_and_exits_1_for_a_changed_artifact(signed: Path, run: Path) -> None:
    put(run, "public/a.txt", b"changed")
    result = command(run, "--json", *key_options(signed))
    report = json.loads(result.output)
    assert result.exit_code == 1
    assert not report["ok"]
    assert [entry["subject"] for entry in report["checks"] if not entry["ok"]] == ["public/a.txt"]


@pytest.mark.parametrize("configured", ["nowhere", "without-keys"])
def test_command_exits_2_when_there_is_nothing_to_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    system = tmp_path / "taskward.toml"
    monkeypatch.delenv("TASKWARD_CONFIG", raising=False)
    monkeypatch.setattr("taskward.cli.places.SYSTEM_CONFIG", system)
    monkeypatch.setattr("taskward.cli.places.dev_state_dir", lambda: tmp_path / "dev")
    if configured == "without-keys":
        system.write_text(worker_configuration(Path("/var/tmp/none"), system))
    result = command(tmp_path)
    assert "no key was given, and this machine has none" in result.output
    assert result.exit_code == 2
    assert "no signed document" in result.output


def worker_configuration(state_dir: Path, token: Path) -> str:
    return (
        f'[taskcluster]\nroot_url = "https://tc.example"\nclient_id = "c"\naccess_token_file = "{token}"\n'
        f'[worker]\ntask_queue_id = "a/b"\nworker_group = "g"\nworker_id = "w"\nstate_dir = "{state_dir}"\n'
    )


@pytest.fixture
def home() -> Iterator[Path]:
    with processes.short_directory() as directory:
        yield directory


def test_without_keys_those_of_the_worker_here_are_taken(signed: Path, run: Path, tmp_path: Path, home: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_configuration(home, config))
    assert command(run, "--config", config).exit_code == Unavailable.exit_code

    shutil.copytree(signed / "public", home / "public-keys")
    result = command(run, "--config", config)
    assert result.exit_code == 0, result.output
    assert f"with the keys of the worker on this machine, in {home / 'public-keys'}" in result.output
    assert command(run, "--config", config, "--dsse-key", home / "public-keys/dsse.pub").exit_code == 2

    put(run, "public/a.txt", b"changed")
    assert command(run, "--config", config).exit_code == 1


def test_keys_that_nobody_gave_demand_no_document(signed: Path, run: Path, tmp_path: Path, home: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_configuration(home, config))
    shutil.copytree(signed / "public", home / "public-keys")
    (run / PROVENANCE).unlink()
    assert command(run, "--config", config).exit_code == 0
    assert command(run, *key_options(signed)).exit_code == 1


def test_without_keys_and_without_a_worker_nothing_is_good(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKWARD_CONFIG", str(tmp_path / "none.toml"))
    result = command(run)
    assert result.exit_code == 1
    assert "no key was given, and this machine has none" in result.output


@pytest.mark.parametrize("option", ["--openpgp-key", "--ed25519-key", "--dsse-key"])
@pytest.mark.parametrize("content", [b"", b"AAAA", b"\xff\0"])
def test_command_exits_2_for_a_key_that_is_none(run: Path, tmp_path: Path, option: str, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    result = command(run, option, tmp_path / "key")
    assert result.exit_code == 2
    assert "key" in result.output


@pytest.mark.parametrize("option", ["--openpgp-key", "--ed25519-key", "--dsse-key"])
def test_a_key_file_without_end_is_not_read_to_it(run: Path, tmp_path: Path, option: str) -> None:
    with open(tmp_path / "key", "wb") as file:
        file.truncate(2**40)
    for endless in (tmp_path / "key", "/dev/zero"):
        result = command(run, option, endless)
        assert result.exit_code == 2
        assert "key" in result.output
        assert len(result.output) < 1000


def test_a_worker_s_own_key_without_end_is_not_read_to_it(signed: Path, run: Path, tmp_path: Path, home: Path) -> None:
    config = tmp_path / "worker.toml"
    config.write_text(worker_configuration(home, config))
    shutil.copytree(signed / "public", home / "public-keys")
    for name in ("openpgp.asc", "ed25519.pub"):
        with open(home / "public-keys" / name, "wb") as file:
            file.truncate(2**40)
        assert command(run, "--config", config).exit_code == 2


def test_a_key_may_come_out_of_a_pipe(signed: Path, run: Path) -> None:
    """As a shell's ``<(…)`` hands it over."""
    receiver, sender = os.pipe()
    os.write(sender, (signed / "public" / "openpgp.asc").read_bytes())
    os.close(sender)
    try:
        result = command(run, *key_options(signed)[2:], "--openpgp-key", f"/dev/fd/{receiver}")
    finally:
        os.close(receiver)
    assert result.exit_code == 0, result.output


def test_command_exits_2_for_two_openpgp_keys_in_one_file(signed: Path, run: Path, tmp_path: Path) -> None:
    both = (signed / "public/openpgp.asc").read_bytes() + stranger_s(["--armor", "--export"])
    (tmp_path / "keys.asc").write_bytes(both)
    result = command(run, "--openpgp-key", tmp_path / "keys.asc")
    assert result.exit_code == 2
    assert "exactly one OpenPGP public key, it holds 2" in result.output
