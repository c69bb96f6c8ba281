"""A file of certificates that cannot be used is found before anything starts, and named."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from signer.authority import Authority
from taskward.cli import trust
from taskward.cli.group import taskward
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

from .conftest import WriteConfig, needs_root

IN_VAIN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def good(place: Path) -> Path:
    return Authority(place, "authority").file


def _settings(write_config: WriteConfig, ca_file: Path) -> Settings:
    return Settings.load(write_config(taskcluster={"ca_file": ca_file}))


def _refusal(write_config: WriteConfig, ca_file: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        trust.check(_settings(write_config, ca_file))
    return str(refused.value)


def test_a_certificate_that_all_can_read_is_taken(write_config: WriteConfig, good: Path) -> None:
    trust.check(_settings(write_config, good))


def test_the_systems_certificates_need_no_file(settings: Settings) -> None:
    trust.check(settings)


def test_a_missing_file_is_named_with_the_key_and_the_remedy(write_config: WriteConfig, place: Path) -> None:
    said = _refusal(write_config, place / "nowhere.pem")
    assert said.startswith(f"{place}/worker.toml: [taskcluster] ca_file: {place}/nowhere.pem: is missing; put")


@pytest.mark.parametrize("content", ["", "no certificate", IN_VAIN, "\0\1\2"])
def test_a_file_without_a_certificate_is_refused(write_config: WriteConfig, place: Path, content: str) -> None:
    (place / "ca.pem").write_text(content)
    assert "ca.pem: holds no certificate that can be read; it must be in PEM form" in _refusal(
        write_config, place / "ca.pem"
    )


def test_a_directory_is_no_file(write_config: WriteConfig, place: Path) -> None:
    assert "is not a file" in _refusal(write_config, place)


def test_what_nobody_ever_finishes_to_read_is_not_read(write_config: WriteConfig, place: Path) -> None:
    os.mkfifo(place / "pipe")
    assert "is not a file" in _refusal(write_config, place / "pipe")


def test_a_path_through_a_file_leads_nowhere(write_config: WriteConfig, good: Path) -> None:
    assert f"{good}/ca.pem: " in _refusal(write_config, good / "ca.pem")


@needs_root
@pytest.mark.parametrize("shut", ["file", "directory"])
def test_what_only_root_can_read_is_of_no_use_for_the_workers_users(
    write_config: WriteConfig, place: Path, shut: str
) -> None:
    (place / "private").mkdir(mode=0o755)
    file = Authority(place / "private", "authority").file
    (file if shut == "file" else file.parent).chmod(0o600 if shut == "file" else 0o700)
    said = _refusal(write_config, file)
    assert "cannot be read by tw-claimer and tw-uploader: chmod a+r the file, and a+x the directories" in said


@pytest.mark.parametrize("command", [["config", "show"], ["config", "supervisord"], ["up", "--detach"]])
def test_every_command_that_needs_the_file_refuses_a_bad_one_and_makes_nothing(
    write_config: WriteConfig, place: Path, command: list[str]
) -> None:
    file = write_config(taskcluster={"ca_file": place / "nowhere.pem"})
    error = CliRunner().invoke(taskward, [*command, "--config", str(file)]).exception
    assert f"{file}: [taskcluster] ca_file: {place}/nowhere.pem: is missing" in str(error)
    assert not (place / "w").exists()


def test_doctor_shows_a_bad_file_as_a_failed_finding(write_config: WriteConfig, place: Path) -> None:
    (place / "ca.pem").write_text("no certificate")
    config = write_config(taskcluster={"root_url": "https://127.0.0.1:9", "ca_file": place / "ca.pem"})
    done = CliRunner().invoke(taskward, ["doctor", "--json", "--config", str(config)])
    assert done.exit_code == 1
    finding = next(each for each in json.loads(done.output) if each["check"] == "configuration")
    assert finding["state"] == "failed"
    assert "[taskcluster] ca_file" in finding["text"]
