"""``taskward keys encrypt-env``: what it makes can be opened with the private key, and says what was asked for."""

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from taskward.cli.publickeys import keys

from .conftest import WriteConfig

TASK_ID = "fN1SbArXTPSVFNUvaOlinQ"


class Worker:
    """Has an encryption key in `key`."""

    def __init__(self, home: Path) -> None:
        self._home, self.key = home, home / "encryption.asc"
        self.gpg("--passphrase", "", "--quick-gen-key", "taskward", "rsa2048", "cert,encr")
        self.key.write_bytes(self.gpg("--armor", "--export"))

    def gpg(self, *options: str, text: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self._home), "--batch", *options]
        return subprocess.run(argv, input=text, capture_output=True, check=True, timeout=60).stdout

    def opened(self, entry: str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.gpg("--decrypt", text=base64.b64decode(entry)))
        return message


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with tempfile.TemporaryDirectory(prefix="twk") as home:
        yield Worker(Path(home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, timeout=60)


def ask(*words: str, value: str | bytes = "v") -> Result:
    return CliRunner().invoke(keys, ["encrypt-env", "--name", "TOKEN", *words], input=value)


def test_the_entry_opens_to_the_six_keys_of_the_message(worker: Worker) -> None:
    begun = datetime.now(UTC).timestamp() * 1000
    result = ask("--key", str(worker.key), "--task-id", TASK_ID, value="ü\nb\n")

    assert (result.exit_code, result.stderr) == (0, "")
    message = worker.opened(result.stdout)
    assert message.pop("startTime") <= begun <= message.pop("endTime") - 86_399_000
    assert message == {"messageVersion": 1, "taskId": TASK_ID, "name": "TOKEN", "value": "ü\nb"}


def test_times_and_line_ends_are_kept_where_that_is_asked_for(worker: Worker) -> None:
    end = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)
    times = ("--start", "2026-01-31T12:00:00Z", "--end", end.isoformat())
    message = worker.opened(ask("--key", str(worker.key), "--task-id", TASK_ID, "--exact", *times, value="b\n").stdout)

    assert (message["value"], message["startTime"]) == ("b\n", 1769860800000)
    assert message["endTime"] == end.timestamp() * 1000


def test_without_a_task_id_a_new_one_is_made_and_told(worker: Worker) -> None:
    result = ask("--key", str(worker.key), "--json")

    told = json.loads(result.stdout)
    assert worker.opened(told["encryptedEnv"][0])["taskId"] == told["taskId"]
    plain = ask("--key", str(worker.key))
    assert worker.opened(plain.stdout)["taskId"] in plain.stderr


def test_a_value_comes_from_a_file_and_never_out_again(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("from-the-file\n")
    result = ask("--key", str(worker.key), "--value-file", str(file), "--task-id", TASK_ID)

    assert worker.opened(result.stdout)["value"] == "from-the-file"
    assert "from-the-file" not in result.output


@pytest.mark.parametrize(
    ("words", "value", "code", "text"),
    [
        (["--task-id", "x"], "v", 2, "not a taskId"),
        (["--name", "A=B"], "v", 2, "not a name for a variable"),
        (["--name", "TASK_ID"], "v", 2, "no task may set it"),
        (["--end", "tomorrow"], "v", 2, "not a time of the form"),
        (["--end", "2020-01-01T00:00:00Z"], "v", 2, "over already"),
        (["--start", "2099-01-01T00:00:00Z"], "v", 2, "before --start"),
        ([], "a\0b", 1, "NUL"),
        ([], "x" * 131_073, 1, "more than 131072"),
        ([], b"\xff", 1, "not UTF-8"),
    ],
)
def test_what_no_worker_would_take_is_refused_here(
    worker: Worker, words: list[str], value: str | bytes, code: int, text: str
) -> None:
    result = ask("--key", str(worker.key), *words, value=value)

    assert result.exit_code == code
    assert text in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("content", ["", "no key", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    key = tmp_path / "key"
    key.write_text(content)

    result = ask("--key", str(key), "--task-id", TASK_ID)
    assert (result.exit_code, "holds 0 OpenPGP keys" in result.stderr) == (1, True)


def test_a_file_that_is_no_text_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\x99\x01")
    result = ask("--key", str(tmp_path / "key"), "--task-id", TASK_ID)
    assert (result.exit_code, "no armored key" in result.stderr) == (1, True)


def test_where_there_is_no_key_the_remedy_is_told(write_config: WriteConfig) -> None:
    config = str(write_config())
    for words in (["encrypt-env", "--name", "A"], ["export", "--purpose", "encryption"]):
        result = CliRunner().invoke(keys, [*words, "--config", config], input="v")
        assert (result.exit_code, "enable_encrypted_env" in result.stderr) == (69, True)


def test_encryption_has_one_format(write_config: WriteConfig) -> None:
    words = ["export", "--purpose", "encryption", "--format", "dsse", "--config", str(write_config())]
    assert CliRunner().invoke(keys, words).exit_code == 2
