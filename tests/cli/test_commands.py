import importlib.metadata
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taskward.cli.group import LazyGroup, taskward

from .conftest import WriteConfig, needs_root

TASKWARD = (sys.executable, "-m", "taskward.cli")
COMMANDS = LazyGroup().list_commands(None)  # type: ignore[arg-type]  # the table needs no context


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*TASKWARD, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    result = CliRunner().invoke(taskward, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output or "Commands:" in result.output


def test_help_is_quick_because_nothing_is_imported() -> None:
    began = time.monotonic()
    argv = [sys.executable, "-X", "importtime", "-m", "taskward.cli", "--help"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert time.monotonic() - began < 5
    assert not any(name in text.stderr for name in ("redis", "taskcluster", "flask", "taskward.core"))


def test_unknown_command_is_wrong_usage() -> None:
    assert _run("strat").returncode == 2


@pytest.mark.parametrize("command", [["up", "-d"], ["status"], ["down"], ["config", "show"], ["drain"]])
def test_unknown_key_is_named_with_a_suggestion(write_config: WriteConfig, command: list[str]) -> None:
    done = _run(*command, "--config", str(write_config(worker={"capactiy": 2})))
    assert done.returncode == 64
    assert "capactiy" in done.stderr
    assert "did you mean capacity?" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_configuration_is_named(place: Path) -> None:
    done = _run("status", "--config", str(place / "nowhere.toml"))
    assert done.returncode == 64
    assert "nowhere.toml" in done.stderr


def test_status_of_a_stopped_worker_says_so(write_config: WriteConfig) -> None:
    done = _run("status", "--json", "--config", str(write_config()))
    assert done.returncode == 69
    report = json.loads(done.stdout)
    assert report["taskQueueId"] == "proj-x/linux"
    assert report["running"] is False
    assert report["roles"] == []


def test_down_of_a_stopped_worker_is_no_error(write_config: WriteConfig) -> None:
    done = _run("down", "--config", str(write_config()))
    assert (done.returncode, done.stdout) == (0, "was not running\n")


@pytest.mark.parametrize("arguments", [("--version",), ("version",)])
def test_the_version_is_told_either_way(arguments: tuple[str, ...]) -> None:
    assert _run(*arguments).stdout.startswith(f"taskward {importlib.metadata.version('taskward')}")


def test_config_show_tells_where_a_value_comes_from(write_config: WriteConfig) -> None:
    file = write_config()
    text = _run("config", "show", "--origin", "--config", str(file)).stdout
    assert f'worker.worker_id = "w-1"  # {file}' in text
    assert "worker.capacity = 1  # default" in text
    assert "a-very-secret-token" not in text


@pytest.mark.parametrize(
    ("section", "given", "said"),
    [
        ("gateway", {"port": 99999}, "[gateway] port: must be 0 to 65535, not 99999"),
        ("gateway", {"port": 60024}, "[gateway] port: 60024 is [proxy] port, too; choose another one"),
        ("proxy", {"prot": 1}, "[proxy] prot is not a setting; did you mean 'port'?"),
        ("signer", {"verify_artifacts": "sometimes"}, "has to be one of never, always, not 'sometimes'"),
        ("executor", {"max_memory_usage_percent": float("nan")}, "max_memory_usage_percent: must be a finite number"),
        ("taskcluster", {"client_id": ""}, "[taskcluster] client_id: must be the name of a client"),
    ],
)
def test_config_show_refuses_what_up_refuses_and_names_the_users_file(
    write_config: WriteConfig, place: Path, section: str, given: dict[str, Any], said: str
) -> None:
    file = str(write_config(**{"proxy": {"port": 60024}, section: given}))
    for command in (["config", "show"], ["up", "--detach"]):
        error = str(CliRunner().invoke(taskward, [*command, "--config", file]).exception)
        assert said in error
        assert file in error
        assert "taskward.toml" not in error
    assert not (place / "w").exists()  # nothing was made


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read: No such file"), ("\n", "is empty")])
@pytest.mark.parametrize("key", ["access_token_file", "certificate_file"])
def test_config_show_refuses_credentials_that_are_not_there(
    write_config: WriteConfig, place: Path, key: str, content: str | None, said: str
) -> None:
    config = str(write_config(taskcluster={key: place / "secret"}))
    if content is not None:
        (place / "secret").write_text(content)
    error = str(CliRunner().invoke(taskward, ["config", "show", "--config", config]).exception)
    assert f"[taskcluster] {key}: {place}/secret" in error
    assert said in error


@needs_root
def test_config_show_says_what_it_may_not_check(write_config: WriteConfig) -> None:
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
    argv = [*as_nobody, *TASKWARD, "config", "show", "--config", str(write_config())]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "not checked, it is hidden from you" in done.stderr) == (0, True)


def test_date_where_there_is_none_is_told(write_config: WriteConfig) -> None:
    file = write_config()
    file.write_text(file.read_text() + "[keyholder]\nuser_id = 2026-01-01\n")
    done = _run("config", "show", "--config", str(file))
    assert (done.returncode, "date has no form in TOML; write it as a string" in done.stderr) == (64, True)


def test_schema_is_json_schema() -> None:
    schema = json.loads(_run("schema").stdout)
    assert schema["type"] == "object"
    assert "command" in schema["properties"]


def test_containers_have_a_schema_of_their_own() -> None:
    schema = json.loads(_run("schema", "docker-worker").stdout)
    assert schema["required"] == ["image", "maxRunTime"]


def test_keys_are_not_there_before_the_first_start(write_config: WriteConfig) -> None:
    done = _run("keys", "export", "--config", str(write_config()))
    assert done.returncode == 69
    assert "first start" in done.stderr


def test_doctor_names_an_unreachable_root_url(write_config: WriteConfig) -> None:
    done = _run("doctor", "--json", "--config", str(write_config()))
    findings = {each["check"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert findings["redis"]["state"] == "ok"
    assert findings["root URL"]["state"] == "failed"
    assert "127.0.0.1:9" in findings["root URL"]["text"]


@needs_root
@pytest.mark.parametrize(("proxy", "warns"), [({}, True), ({"container": "auto"}, False)])
def test_doctor_warns_of_what_containers_lack_to_reach_the_proxy(
    write_config: WriteConfig, place: Path, monkeypatch: pytest.MonkeyPatch, proxy: dict[str, str], warns: bool
) -> None:
    (place / "docker.sock").touch()
    monkeypatch.setenv("PATH", str(place))
    config = write_config(docker={"host": f"unix://{place}/docker.sock"}, proxy=proxy)
    findings = {each["check"]: each for each in json.loads(_run("doctor", "--json", "--config", str(config)).stdout)}
    assert ("iptables" in findings) is warns
    if warns:
        assert findings["iptables"]["state"] == "warning"
        assert "apt-get install iptables" in findings["iptables"]["text"]


def test_dev_env_without_a_cluster_says_how_to_start_one(place: Path) -> None:
    done = _run("dev", "env", "--state-dir", str(place / "dev"))
    assert done.returncode == 69
    assert "taskward dev" in done.stderr
