"""An OpenPGP key that expires or goes while it is used: warned of, named by whoever cannot sign, and replaced."""

import json
import logging
import shutil
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from signer import processes
from signer.callers import get, other_signer
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from simulators.patience import until
from taskward.signer import wire
from taskward.signer.answers import TryLaterError
from taskward.signer.client import SignerClient, SignerUnavailable
from taskward.signer.errors import UnusableKeyError
from taskward.signer.keyholder.lifetime import Lifetime
from taskward.signer.keys import Keyholder

LATER_ON_DEMAND = """
import sys
from datetime import timedelta
from taskward.signer.keyholder.keyring import Keyring
from taskward.signer.keyholder.lifetime import utc_now
from taskward.signer.keyholder.server import serve
from taskward.signer.keyholder.settings import KeyholderSettings
from taskward.signer.process import run
from taskward.signer.sockets import listening

def hold(config):
    settings = KeyholderSettings.read(config)
    clock = lambda: utc_now() + timedelta(days=731 if config.with_name("late").exists() else 0)
    with Keyring(settings, clock) as keyring, listening(settings.door) as listener:
        serve(listener, keyring, settings.door.allowed_uids, look_every_s=LOOK)

sys.exit(run("keyholder", "", hold))
"""


class Aging:
    """A keyholder for whom two years pass when the test says so."""

    def __init__(self, config: Path, look_every_s: float) -> None:
        self.socket, self._late = config.with_name("keyholder.sock"), config.with_name("late")
        self.process = subprocess.Popen(
            [processes.PYTHON, "-c", LATER_ON_DEMAND.replace("LOOK", str(look_every_s)), "--config", str(config)],
            stderr=subprocess.PIPE,
        )
        until(self.socket.exists, "the keyholder")

    def grow_old(self) -> None:
        self._late.touch()

    def end(self) -> tuple[int, str]:
        """Its exit code, and the last line of its log."""
        _, log = self.process.communicate(timeout=15)
        return self.process.returncode, log.decode().splitlines()[-1]


@pytest.fixture
def config(keyholder: Service, directory: Path) -> Path:
    ignore = shutil.ignore_patterns("S.gpg-agent*", "*.lock", ".#*")
    shutil.copytree(keyholder.directory / "keys", directory / "keys", ignore=ignore)
    return processes.write_config(directory)


def test_a_key_that_expires_ends_a_keyholder_that_nobody_asks(config: Path) -> None:
    aging = Aging(config, look_every_s=0.05)
    aging.grow_old()
    code, line = aging.end()
    assert code == 78
    assert "expired at 20" in line
    assert f"move {config.parent / 'keys' / 'openpgp'} away and start again" in line


@pytest.mark.parametrize("form", [b"openpgp", b"ed25519"])
def test_a_key_that_expired_is_named_to_the_first_who_asks(config: Path, form: bytes) -> None:
    aging = Aging(config, look_every_s=60)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(15)
        connection.connect(str(aging.socket))
        aging.grow_old()
        wire.send_frames(connection, form, b"x")
        assert wire.receive_frame(connection, wire.MAX_WORD_BYTES) == wire.UNABLE
        reason = wire.receive_frame(connection, 10_000).decode()
    assert "expired at 20" in reason
    code, line = aging.end()
    assert code == 78
    assert reason in line
    assert "Traceback" not in line
    assert not aging.socket.exists()


def test_a_key_that_signs_no_more_ends_the_keyholder_with_gpg_s_words(config: Path) -> None:
    with processes.keyholder(config) as service, socket.socket(socket.AF_UNIX) as connection:
        for secret in (config.parent / "keys/openpgp/private-keys-v1.d").iterdir():
            secret.unlink()
        connection.settimeout(15)
        connection.connect(str(config.with_name("keyholder.sock")))
        wire.send_frames(connection, b"openpgp", b"x")
        assert wire.receive_frame(connection, wire.MAX_WORD_BYTES) == wire.UNABLE
        assert service.process.wait(15) == 78
        line = json.loads(service.log.read_text().splitlines()[-1])["event"]
    assert "cannot sign: gpg says: " in line
    assert "No secret key" in line


def test_what_the_keyholder_says_is_passed_on_printable_and_is_worth_asking_again(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "k"))
        listener.listen()
        with Keyholder(directory / "k").connect() as connection:
            answering, _ = listener.accept()
            with answering:
                wire.send_frames(answering, wire.UNABLE, b"gpg says:\nno \x1b[31m\xff")
                with pytest.raises(TryLaterError, match=r"gpg says:\\nno \\x1b\[31m\ufffd") as raised:
                    connection.sign("openpgp", b"x")
    assert raised.value.code == "keyholder-unable"


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def days() -> list[float]:
    """How many days have passed."""
    return [0.0]


@pytest.fixture
def lifetime(days: list[float]) -> Lifetime:
    """Of a key that expires on the hundredth day."""
    end = (NOW + timedelta(days=100)).isoformat()
    return Lifetime("the key K", end, "make another", lambda: NOW + timedelta(days=days[0]))


def test_the_last_thirty_days_are_told_once_a_day(
    lifetime: Lifetime, days: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for days[0] in (0, 69.9, 70, 70.1, 70.2, 99.5, 99.9):
            lifetime.check()
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(", in ")[2].partition(" ")[0] for text in told] == ["30", "29", "0"]
    assert told[0].startswith("the key K expires at 2026-04-11T00:00:00+00:00, in 30 days; before that, make another")


def test_from_the_very_second_of_its_expiry_a_key_is_unusable(lifetime: Lifetime, days: list[float]) -> None:
    days[0] = 100
    with pytest.raises(
        UnusableKeyError, match=r"the key K expired at 2026-04-11T00:00:00\+00:00; remedy: make another"
    ):
        lifetime.check()


def test_a_key_without_expiry_never_expires() -> None:
    Lifetime("the key", None, "", lambda: datetime.max.replace(tzinfo=UTC)).check()


@pytest.fixture
def published(keyholder: Service, directory: Path) -> Path:
    """A copy of what the keyholder published."""
    return Path(shutil.copytree(keyholder.directory / "public", directory / "published"))


@pytest.fixture
def signer_between(
    keyholder: Service, directory: Path, taskcluster: SimulatedTaskcluster, published: Path
) -> Iterator[Service]:
    """A signer whose keyholder and whose public keys a test may exchange."""
    (directory / "keyholder.sock").symlink_to(keyholder.directory / "keyholder.sock")
    told = {"keyholder_socket": str(directory / "keyholder.sock"), "public_keys_dir": str(published)}
    with processes.signer(other_signer(keyholder, directory, taskcluster, **told)) as service:
        yield service


def test_a_run_waits_visibly_until_there_is_a_good_key_again(
    signer_between: Service, published: Path, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    client, directory = SignerClient(signer_between.directory / "signer.sock"), signer_between.directory
    audit, keys = directory / "state" / "audit.jsonl", json.loads((published / "keys.json").read_text())
    good = keys["openpgp"]["expires"]
    keys["openpgp"]["expires"] = "2020-01-02T00:00:00+00:00"
    (published / "keys.json").write_text(json.dumps(keys))
    for _ in range(3):
        with pytest.raises(SignerUnavailable, match=r"key-expired: the OpenPGP key [0-9A-F]{40} expired at 2020-01-02"):
            client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    health = get(signer_between, "/healthz")
    assert health.startswith("HTTP/1.0 503")
    assert "expired at 2020-01-02" in health
    assert "taskward_signer_keyholder_up 0\n" in get(signer_between, "/metrics")

    (published / "keys.json").unlink()  # systemd removes it with the keyholder's directory
    with pytest.raises(SignerUnavailable, match="key-expired"):
        client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    keys["openpgp"]["expires"] = good
    (published / "keys.json").write_text(json.dumps(keys))
    (directory / "keyholder.sock").rename(directory / "away")
    for _ in range(3):
        with pytest.raises(SignerUnavailable, match="keyholder-unavailable"):
            client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    assert audit.read_bytes() == b""  # not a line for each attempt

    (directory / "away").rename(directory / "keyholder.sock")
    assert client.certify(task.task_id, 0, taskcluster.run_credentials(task), [])
    assert get(signer_between, "/healthz").startswith("HTTP/1.0 200")
    assert "taskward_signer_keyholder_up 1\n" in get(signer_between, "/metrics")
