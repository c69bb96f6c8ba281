"""What the configuration may say."""

from pathlib import Path

import pytest

from gateway.rig import worker_file
from taskward.core.errors import ConfigurationError
from taskward.gateway.settings import DEFAULT_PORT, Settings


def load(tmp_path: Path, **keys: object) -> Settings:
    file = tmp_path / "worker.toml"
    file.write_text(worker_file(keys))
    return Settings.load(file)


def test_everything_follows_from_the_state_directory(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.logs_dir == Path("/nonexistent/logs")
    assert settings.redis_socket == Path("/nonexistent/run/redis/redis.sock")
    assert settings.base_url == f"http://127.0.0.1:{DEFAULT_PORT}"


def test_section_may_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "worker.toml"
    file.write_text(worker_file({}).replace("[gateway]", ""))
    assert Settings.load(file).port == DEFAULT_PORT


def test_public_url_is_what_readers_use(tmp_path: Path) -> None:
    assert load(tmp_path, public_url="https://logs.example/w1/").base_url == "https://logs.example/w1"


def test_ipv6_host_stands_in_brackets(tmp_path: Path) -> None:
    assert load(tmp_path, host="::1", port=80).base_url == "http://[::1]:80"


def test_limits_are_passed_on(tmp_path: Path) -> None:
    assert load(tmp_path, max_readers=7, idle_timeout_s=60).limits.max_readers == 7


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("max_reader", 5, "did you mean max_readers"),
        ("logs_dir", "logs", "absolute path"),
        ("logs_dir", "/a/../b", r"'\.\.'"),
        ("port", 70000, "0 to 65535"),
        ("port", "80", "must be int"),
        ("port", True, "must be int"),
        ("host", "", "must not be empty"),
        ("max_readers", 0, "1 to 1000000"),
        ("idle_timeout_s", 0, "above 0"),
        ("stall_timeout_s", -1.5, "above 0"),
        ("public_url", "ftp://x", "http or https"),
        ("public_url", "https://x/?a=b", "without a query"),
        ("public_url", "http://[", "http or https"),
        ("status_socket", "/" + "x" * 200, "longer than"),
    ],
)
def test_wrong_key_is_named_with_the_remedy(tmp_path: Path, key: str, value: object, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[gateway\].*{key}.*{remedy}|\[gateway\].*{remedy}"):
        load(tmp_path, **{key: value})
