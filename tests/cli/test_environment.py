"""Settings from the environment: which come first, which are refused, where each value is said to come from."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskward.cli import places, resolved
from taskward.cli.config import show
from taskward.cli.configuration import Configuration
from taskward.cli.environment import overrides
from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

from .conftest import WriteConfig


def value(variable: str, text: str) -> object:
    (only,) = overrides({variable: text})
    return only.value


@pytest.mark.parametrize(
    ("variable", "text", "meant"),
    [
        ("TASKWARD_WORKER__CAPACITY", "4", 4),
        ("TASKWARD_WORKER__WORKER_ID", "17", "17"),
        ("TASKWARD_WORKER__STATE_DIR", "/var/lib/x", "/var/lib/x"),
        ("TASKWARD_EXECUTOR__ENABLE_RDP", "true", True),
        ("TASKWARD_DOCKER__CPUS", "1.5", 1.5),
        ("TASKWARD_EXECUTOR__OS_GROUPS_ALLOWED", '["docker", "kvm"]', ["docker", "kvm"]),
        ("TASKWARD_GATEWAY__PORT", "60001", 60001),
        ("TASKWARD_GATEWAY__HOST", "10.0.0.1", "10.0.0.1"),
        ("TASKWARD_GATEWAY__HOST", "1\n[worker]\ncapacity = 2", "1\n[worker]\ncapacity = 2"),
    ],
)
def test_a_value_has_the_type_of_its_setting(variable: str, text: str, meant: object) -> None:
    assert value(variable, text) == meant


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("project/x/other\n")
    assert value("TASKWARD_TASKCLUSTER__CLIENT_ID_FILE", str(tmp_path / "id")) == "project/x/other"
    assert value("TASKWARD_TASKCLUSTER__ACCESS_TOKEN_FILE", "/run/secrets/token") == "/run/secrets/token"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"TASKWARD_WORKER__WORKER_ID_FILE: .*/none: cannot be read"):
        value("TASKWARD_WORKER__WORKER_ID_FILE", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("TASKWARD_WORKER__CAPACTY", "did you mean TASKWARD_WORKER__CAPACITY?"),
        ("TASKWARD_WORKR__CAPACITY", "did you mean TASKWARD_WORKER__CAPACITY?"),
        ("TASKWARD_WORKER_CAPACITY", "did you mean TASKWARD_WORKER__CAPACITY?"),
        ("TASKWARD_worker__capacity", "did you mean TASKWARD_WORKER__CAPACITY?"),
        ("TASKWARD_TASKCLUSTER__ACCESS_TOKEN", "did you mean TASKWARD_TASKCLUSTER__ACCESS_TOKEN_FILE?"),
        ("TASKWARD_CONFIGS", "did you mean TASKWARD_CONFIG?"),
        ("TASKWARD_GATEWAY__", "settings are|did you mean"),
        ("TASKWARD_", "settings are|did you mean"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one_and_without_its_value(variable: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=nearest) as refused:
        overrides({variable: "perhaps-a-secret"})
    assert variable in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_value_of_another_type_is_refused_by_the_name_of_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="TASKWARD_WORKER__CAPACITY: must be int, not 'many'"):
        overrides({"TASKWARD_WORKER__CAPACITY": "many"})


def test_what_is_no_setting_and_none_of_ours_is_left_alone() -> None:
    assert overrides({"TASKWARD_CONFIG": "/x", "TASKWARD_TAG": "1", "PATH": "/bin", "TASKWARDEN": "x"}) == ()


def test_a_value_out_of_range_names_the_variables(write_config: WriteConfig) -> None:
    given = Configuration.read(write_config(), {"TASKWARD_WORKER__CAPACITY": "0"})
    with pytest.raises(
        ConfigurationError, match=r"worker.toml with TASKWARD_WORKER__CAPACITY: .*capacity: must be 1 to"
    ):
        _ = given.settings


def test_the_environment_comes_first_and_the_roles_read_it_from_the_resolved_file(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TASKWARD_WORKER__CAPACITY", "7")
    monkeypatch.setenv("TASKWARD_PROXY__PORT", "50123")
    monkeypatch.setenv("TASKWARD_WORKER__GRACE_S", "9")
    settings = places.load(write_config(worker={"capacity": 2}))
    (tmp_path / "resolved.toml").write_text(resolved.text(settings))
    for name in ("TASKWARD_WORKER__CAPACITY", "TASKWARD_PROXY__PORT", "TASKWARD_WORKER__GRACE_S"):
        monkeypatch.delenv(name)
    read = Settings.load(tmp_path / "resolved.toml")
    assert (read.worker.capacity, read.worker.grace_s, read.others["proxy"]["port"]) == (7, 9, 50123)


def test_config_show_tells_where_each_value_is_from(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKWARD_WORKER__CAPACITY", "4")
    monkeypatch.setenv("TASKWARD_GATEWAY__STALL_TIMEOUT_S", "60")
    file = write_config(worker={"capacity": 2})
    lines = CliRunner().invoke(show, ["--config", str(file), "--origin"]).output.splitlines()
    assert "worker.capacity = 4  # TASKWARD_WORKER__CAPACITY" in lines
    assert "gateway.stall_timeout_s = 60  # TASKWARD_GATEWAY__STALL_TIMEOUT_S" in lines
    assert f"worker.grace_s = 5  # {file}" in lines
    assert "worker.max_run_time_s = 86400  # default" in lines
    report = json.loads(CliRunner().invoke(show, ["--config", str(file), "--origin", "--json"]).output)
    assert report["worker"]["capacity"] == {"value": 4, "origin": "TASKWARD_WORKER__CAPACITY"}
