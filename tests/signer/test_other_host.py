"""The signer on a host of its own: mutual TLS, and callers by the names in their certificates."""

import socket
import ssl
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from signer import processes
from signer.authority import Authority
from signer.callers import refusal
from signer.processes import Service
from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.client import SignerClient, SignerUnavailable, TlsAddress


@pytest.fixture
def authority(directory: Path) -> Authority:
    return Authority(directory, "authority")


@pytest.fixture
def config(directory: Path, authority: Authority, keyholder: Service, taskcluster: SimulatedTaskcluster) -> Path:
    """Of a signer that listens on loopback, and serves the bearer of one name."""
    certificate, key = authority.issue("signer", "127.0.0.1")
    keys = {
        "keyholder_socket": keyholder.directory / "keyholder.sock",
        "public_keys_dir": keyholder.directory / "public",
    }
    door = {"certificate_file": certificate, "key_file": key, "client_ca_file": authority.file}
    section = {name: str(path) for name, path in (keys | door).items()}
    more = {"listen": f"127.0.0.1:{_free_port()}", "allowed_clients": ["worker.example"], "socket": None}
    return processes.write_config(directory, taskcluster.root_url, signer={**section, **more})


@pytest.fixture
def address(config: Path, authority: Authority) -> Iterator[TlsAddress]:
    """A running signer, as the worker `worker.example` calls it."""
    port = _port_of(config)
    with processes.signer_on_port(config, port):
        yield TlsAddress("127.0.0.1", port, authority.file, *authority.issue("worker", "worker.example"))


def test_a_worker_with_its_certificate_gets_signatures(
    address: TlsAddress, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    client = SignerClient(address)
    credentials = taskcluster.run_credentials(task)
    documents = client.certify(task.task_id, 0, credentials, [])
    assert documents == client.certify(task.task_id, 0, credentials, [])
    assert client.keys()["openpgp"]["fingerprint"]


def test_a_certificate_for_another_name_is_refused_and_recorded(
    address: TlsAddress, authority: Authority, taskcluster: SimulatedTaskcluster, task: SimulatedTask, config: Path
) -> None:
    certificate, key = authority.issue("worker.example", "other.example")  # the common name does not count
    client = SignerClient(replace(address, certificate_file=certificate, key_file=key))
    assert refusal(client, task, taskcluster.run_credentials(task)) == "caller-not-allowed"
    assert "other.example" in (config.parent / "state/audit.jsonl").read_text()


def test_a_certificate_of_another_authority_gets_no_answer(address: TlsAddress, directory: Path) -> None:
    certificate, key = Authority(directory, "elsewhere").issue("intruder", "worker.example")
    with pytest.raises(SignerUnavailable):
        SignerClient(replace(address, certificate_file=certificate, key_file=key), timeout_s=10).keys()


def test_nobody_gets_an_answer_without_a_certificate(address: TlsAddress) -> None:
    with suppress(OSError):  # an alert, or the end of the connection
        assert _get(ssl.create_default_context(cafile=str(address.ca_file)), address.port, "/healthz") == b""
    assert _get(_certified(address), address.port, "/healthz").startswith(b"HTTP/1.1 200")


def test_the_worker_talks_to_no_other_signer(address: TlsAddress, directory: Path) -> None:
    """Whoever sits at the signer's address needs a certificate of the authority that the worker trusts."""
    other = Authority(directory, "elsewhere")
    with pytest.raises(SignerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        SignerClient(replace(address, ca_file=other.file), timeout_s=10).keys()


def test_nobody_takes_of_another_client_s_rate(
    config: Path, authority: Authority, taskcluster: SimulatedTaskcluster, task: SimulatedTask
) -> None:
    told = config.read_text().replace('["worker.example"]', '["worker.example", "second.example"]\nrate_per_minute = 3')
    config.write_text(told)
    port, credentials = _port_of(config), taskcluster.run_credentials(task)

    def client(name: str) -> SignerClient:
        return SignerClient(TlsAddress("127.0.0.1", port, authority.file, *authority.issue(name, f"{name}.example")))

    with processes.signer_on_port(config, port):
        stranger = client("stranger")
        for _ in range(9):
            assert refusal(stranger, task, credentials) == "caller-not-allowed"
        for allowed in (client("worker"), client("second")):
            for _ in range(3):
                assert allowed.certify(task.task_id, 0, credentials, [])
            with pytest.raises(SignerUnavailable, match="too-many"):
                allowed.certify(task.task_id, 0, credentials, [])
        assert refusal(stranger, task, credentials) == "caller-not-allowed"
    recorded = (config.parent / "state/audit.jsonl").read_text().count("stranger.example")
    assert 6 <= recorded <= 7  # a seventh if ten seconds have passed


def test_a_certificate_of_the_authority_for_another_name_sees_nothing(
    address: TlsAddress, authority: Authority
) -> None:
    """So the health check says beforehand that this worker would be refused, and why."""
    other = _certified(address, *authority.issue("other", "other.example"))
    for path in ("/healthz", "/metrics", "/v1/keys", "/v1/certify", "/", "/nothing", "//healthz"):
        answer = _get(other, address.port, path)
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"'other.example' is not one of allowed_clients" in answer


def test_the_signers_own_certificate_is_for_its_health_check_only(address: TlsAddress, config: Path) -> None:
    table = tomllib.loads(config.read_text())["signer"]
    own = _certified(address, Path(table["certificate_file"]), Path(table["key_file"]))
    first_lines = {path: _get(own, address.port, path)[:12] for path in ("/healthz", "/metrics", "/v1/keys")}
    assert first_lines == {"/healthz": b"HTTP/1.1 200", "/metrics": b"HTTP/1.1 200", "/v1/keys": b"HTTP/1.1 403"}
    log = (config.parent / "taskward.signer.log").read_text()
    assert f"listening at https://127.0.0.1:{address.port}" in log
    assert "http://" not in log


def test_a_renewed_certificate_is_used_at_once_and_a_broken_one_is_not(
    address: TlsAddress, authority: Authority
) -> None:
    def serial_number() -> str:
        with (
            socket.create_connection(("127.0.0.1", address.port), 10) as plain,
            _certified(address).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            return str((connection.getpeercert() or {})["serialNumber"])

    former = serial_number()
    certificate, _ = authority.issue("signer", "127.0.0.1")
    renewed = serial_number()
    assert renewed != former
    certificate.write_text("half a file")
    assert serial_number() == renewed


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('socket = "/run/x.sock"', "both socket and listen"),
        ('key_file = "/nonexistent"', "cannot be used"),
        ('listen = "60025"', "ADDRESS:PORT"),
        ('client_ca = "/x"', "did you mean 'client_ca_file'"),
    ],
)
def test_an_unusable_door_is_told_by_name(config: Path, line: str, told: str) -> None:
    name = line.split(" ")[0]
    kept = [
        each for each in config.read_text().splitlines() if not each.startswith(f"{name} = ") or "keyholder" in each
    ]
    place = kept.index("[signer]") + 1
    config.write_text("\n".join([*kept[:place], line, *kept[place:]]) + "\n")
    code, text = processes.failed_start("taskward.signer", config)
    assert code == 78
    assert told in text


def _certified(address: TlsAddress, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(address.ca_file))
    context.load_cert_chain(certificate or address.certificate_file, key or address.key_file)
    return context


def _get(context: ssl.SSLContext, port: int, path: str) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: signer\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(10_000), b""))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _port_of(config: Path) -> int:
    line = next(line for line in config.read_text().splitlines() if line.startswith("listen"))
    return int(line.strip('"').rpartition(":")[2])
