"""The configuration file: what is refused, and by which name."""

import os
from pathlib import Path
from typing import Any

import pytest

from taskward.core.errors import ConfigurationError
from taskward.core.settings import Settings

NEEDED: dict[str, dict[str, Any]] = {
    "taskcluster": {"root_url": "https://tc.example", "client_id": "me", "access_token_file": "/token"},
    "worker": {"task_queue_id": "proj/pool", "worker_group": "g", "worker_id": "w", "state_dir": "/s"},
}


def parsed(**given: Any) -> Settings:
    sections = {name: NEEDED.get(name, {}) | given.get(name, {}) for name in {*NEEDED, *given}}
    return Settings.parse(sections, "w.toml")


def test_what_is_not_given_has_its_default() -> None:
    settings = parsed()
    assert settings.worker.capacity == 1
    assert settings.layout.redis_socket == Path("/s/run/redis/redis.sock")


def test_sections_that_their_processes_read_are_passed_on() -> None:
    assert parsed(proxy={"port": 80}).others == {"proxy": {"port": 80}}


@pytest.mark.parametrize(
    ("section", "key", "value", "text"),
    [
        ("taskcluster", "root_url", "tc.example", "must be http(s)://host[:port], not 'tc.example'"),
        ("worker", "task_queue_id", "proj", "must be <provisionerId>/<workerType>, each of at most 38 letters"),
        ("worker", "worker_id", "a.b", "must be 1 to 38 letters, digits, - and _, no dots"),
        ("worker", "capacity", 0, "must be 1 to 255"),
        ("worker", "capacity", True, "must be int, not True"),
        ("worker", "grace_s", 3601, "must be 1 to 3600"),
        ("worker", "state_dir", "relative", "must be an absolute path, not 'relative'"),
        ("worker", "state_dir", "/" + "s" * 90, "too long for Unix sockets; choose a shorter path"),
        ("executor", "rdp_session", [], "must have at least the program"),
        ("executor", "os_groups_allowed", [1], "must be an array of strings, not [1]"),
        ("executor", "rdp_first_port", 65_535, "must leave a port for each executor"),
        ("images", "pull", "never", "must be 'always' or 'if-missing'"),
        ("images", "registries", {"h": "login"}, "'h' must name the absolute path of a JSON file"),
        ("uploader", "concurrency", 65, "must be 1 to 64"),
        ("uploader", "processes", 0, "must be 1 to 64"),
        ("claimer", "status_poll_s", float("inf"), "must be a finite number"),
        ("claimer", "pause_s", float("nan"), "must be a finite number"),
        ("executor", "max_memory_usage_percent", 400, "must be 0 to 100, not 400"),
        ("executor", "max_log_bytes", -1, "must be 0 or more, not -1"),
        ("taskcluster", "client_id", "", "must be the name of a client"),
        ("claimer", "renew_before_s", -5.0, "must be more than 0"),
        ("uploader", "storage", "tape", "must be 's3' or 'object'"),
        ("uploader", "signer_url", "http://host:1", "must be https://host:port, not 'http://host:1'"),
    ],
)
def test_value_that_cannot_be_is_refused_by_file_section_and_key(
    section: str, key: str, value: object, text: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parsed(**{section: {key: value}})
    assert str(refused.value).startswith(f"w.toml: [{section}] {key}: {text}")


def test_negative_limits_of_desktops_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\[executor\] rdp_retention_s: must be 0 or more"):
        parsed(executor={"rdp_retention_s": -1})


def test_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^w.toml: \[worker\]: unknown key 'capactiy'; did you mean capacity\?"
    ):
        parsed(worker={"capactiy": 1})


def test_unknown_section_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"^w.toml: unknown section 'dokcer'; did you mean docker\?"):
        parsed(dokcer={})


def test_missing_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^w.toml: \[worker\]: worker_id is missing"):
        Settings.parse(NEEDED | {"worker": {"task_queue_id": "a/b", "worker_group": "g", "state_dir": "/s"}}, "w.toml")


def test_signer_elsewhere_needs_certificates() -> None:
    with pytest.raises(ConfigurationError, match=r"\[uploader\] signer_ca_file is missing; signer_url needs it"):
        parsed(uploader={"signer_url": "https://host:1"})


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none.toml: cannot be read: No such file"):
        Settings.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "x = " + "[" * 100_000, "x = " + "{b=" * 3000, f"[executor.metadata]\n{'a.' * 3000}a = 1"]
)
def test_nesting_that_nobody_can_walk_through_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "w.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"w.toml: (not TOML|tables and arrays are nested too deeply)"):
        Settings.load(tmp_path / "w.toml")


def test_what_has_no_end_or_nobody_writes_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match=f"{path}: not a regular file"):
            Settings.load(path)
    (tmp_path / "w.toml").write_text("#" * ((1 << 20) + 1))
    with pytest.raises(ConfigurationError, match=r"w.toml: larger than 1048576 bytes"):
        Settings.load(tmp_path / "w.toml")


def test_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"w.toml: not UTF-8: "):
        Settings.load(tmp_path / "w.toml")
