"""``taskward metrics``: the files of some processes, the sockets of others, and what they may not say."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest
from click.testing import CliRunner, Result

from taskward.cli.metrics import NoMetrics, believed, metrics
from taskward.core.metrics import LARGEST_BYTES, Metrics

from .conftest import WriteConfig, needs_root

SAID = 'taskward_proxy_requests_total{status="2xx"} 5'


class Say(BaseHTTPRequestHandler):
    text = SAID

    def do_GET(self) -> None:
        data = self.text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self) -> str:
        return "here"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def saying(path: Path, said: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = type("Said", (Say,), {"text": said})
    with UnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def directory(place: Path) -> Path:
    path = place / "w/metrics/executor"
    path.mkdir(parents=True)
    return path


def shown(write_config: WriteConfig, place: Path) -> Result:
    config = write_config(worker={"state_dir": str(place / "w")})
    result = CliRunner().invoke(metrics, ["--config", str(config)])
    assert result.exit_code == 0, result.output
    return result


def test_processes_are_told_apart_below_one_heading(write_config: WriteConfig, place: Path, directory: Path) -> None:
    for number in range(2):
        Metrics("executor", directory / f"executor-{number}.prom").count("runs_total", number + 1, "completed")
    out = shown(write_config, place).stdout.splitlines()
    assert 'taskward_executor_runs_total{reason="completed",process="executor-0"} 1' in out
    assert 'taskward_executor_runs_total{reason="completed",process="executor-1"} 2' in out
    assert out.count("# TYPE taskward_executor_runs_total counter") == 1


def test_a_server_is_asked_at_its_socket(write_config: WriteConfig, place: Path) -> None:
    with saying(place / "w/run/status/proxy.sock", SAID):
        result = shown(write_config, place)
    assert SAID in result.stdout.splitlines()
    assert "no metrics of gateway" in result.stderr


def test_output_that_cannot_be_written_is_not_the_fault_of_a_role(write_config: WriteConfig, place: Path) -> None:
    argv = [sys.executable, "-m", "taskward.cli", "metrics", "--config", str(write_config())]
    file = place / "taskward.prom"
    with saying(place / "w/run/status/proxy.sock", SAID):
        whole = len(shown(write_config, place).stdout)
        with file.open("wb") as output:
            done = subprocess.run(
                argv, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (whole - 10, whole - 10)),
            )  # fmt: skip
    assert done.returncode == 74
    assert "Error: the output cannot be written: File too large" in done.stderr
    assert "no metrics of proxy" not in done.stderr


def test_who_speaks_for_another_is_left_out_and_named(write_config: WriteConfig, place: Path, directory: Path) -> None:
    (directory / "executor-0.prom").write_text("taskward_claimer_claims_total 9\n")
    with saying(place / "w/run/status/proxy.sock", f"{SAID}\nup 0\n"):
        result = shown(write_config, place)
    assert not [line for line in result.stdout.splitlines() if not line.startswith("#")]
    assert "executor-0.prom: not a series of executor" in result.stderr
    assert "no metrics of proxy" in result.stderr


def test_what_is_no_ordinary_file_is_not_read(write_config: WriteConfig, place: Path, directory: Path) -> None:
    secret = place / "secret"
    secret.write_text("hidden")
    (directory / "link.prom").symlink_to(secret)
    os.mkfifo(directory / "fifo.prom")
    (directory / "big.prom").write_text("x" * (LARGEST_BYTES + 1))
    (directory / 'a"} 1.prom').write_text("")
    result = shown(write_config, place)
    assert "hidden" not in result.output
    for name in ("link", "fifo", "big", 'a"} 1'):
        assert f"no metrics from {directory / name}.prom" in result.stderr


@needs_root
def test_a_file_of_another_user_is_not_believed(write_config: WriteConfig, place: Path, directory: Path) -> None:
    path = directory / "executor-0.prom"
    Metrics("executor", path).write()
    os.chown(path, 65534, 65534)
    assert "not a file of root" in shown(write_config, place).stderr


@pytest.mark.parametrize(
    "line",
    [
        SAID,
        "taskward_proxy_runs 0.0",
        "taskward_proxy_x 1e+06",
        "taskward_proxy_expires NaN",
        "taskward_proxy_expires +Inf",
        "# HELP taskward_proxy_runs Runs whose credentials are in memory.",
    ],
)
def test_the_text_format_passes(line: str) -> None:
    assert believed("proxy", f"{line}\n") == [line]


@pytest.mark.parametrize("line", ["taskward_gateway_readers 1", "taskward_proxy_x one", "# EOF", "\x1b[2J"])
def test_anything_else_does_not(line: str) -> None:
    with pytest.raises(NoMetrics):
        believed("proxy", f"{line}\n")
