"""``taskward run`` with a queue that does as it is told: exit codes, and what is left on disk."""

import contextlib
import gzip
import json
import os
import pty
import random
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import brotli
import pytest
import taskcluster
from click.testing import CliRunner, Result

from simulators import listener
from simulators.service import Call, Service, serving
from taskward.cli.artifacts import fetch
from taskward.cli.errors import NotSaved
from taskward.cli.run import run

TASK_ID = "AAAAAAAAQAaAAAAAAAAAAA"
LOG = "public/logs/live_backing.log"


@dataclass
class Queue(Service):
    """Has one task with one run; `artifacts` are name -> content, or the status that asking for it gives."""

    creation: int = 200
    state: str = "completed"
    listing: int = 200
    artifacts: dict[str, bytes | int] = field(default_factory=lambda: {LOG: b"hello\n"})

    def answer(self, call: Call) -> tuple[int, Any]:
        if call.method == "PUT":
            return self.creation, {"message": "it is so", "status": {}}
        if call.path.endswith("/status"):
            each = {"runId": 0, "state": self.state, "workerGroup": "g", "workerId": "w", "reasonResolved": self.state}
            return 200, {"status": {"state": self.state, "runs": [each]}}
        if call.path.endswith("/artifacts"):
            names = [{"name": name, "storageType": "s3", "contentType": "text/plain"} for name in self.artifacts]
            return self.listing, {"artifacts": names}
        found = self.artifacts.get(unquote(call.path.rpartition("/artifacts/")[2]), 404)
        return (found, b"") if isinstance(found, int) else (200, found)


Run = Callable[..., Result]


@pytest.fixture
def queue() -> Iterator[Queue]:
    with serving(Queue()) as service:
        yield service


@pytest.fixture
def task(tmp_path: Path) -> Path:
    file = tmp_path / "task.yml"
    file.write_text(json.dumps({"command": [["true"]], "maxRunTime": 60}))
    return file


@pytest.fixture
def invoke(queue: Queue, task: Path) -> Run:
    def invoke(*arguments: str, file: str = "", **variables: str) -> Result:
        argv = [file or str(task), "--queue", "p/q", *arguments]
        return CliRunner().invoke(run, argv, env={**environment(queue), **variables})

    return invoke


def environment(queue: Queue) -> dict[str, str]:
    return {
        "TASKCLUSTER_ROOT_URL": queue.url,
        "TASKCLUSTER_CLIENT_ID": "me",
        "TASKCLUSTER_ACCESS_TOKEN": "secret-token",
    }


def saved(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_artifact_that_cannot_be_had_is_told_and_the_others_are_saved(
    invoke: Run, queue: Queue, tmp_path: Path
) -> None:
    queue.artifacts = {"public/a": b"1", "public/b%20b": 404, "../c": b"", "private/d": 403, "public/e": b"2", LOG: b""}
    done = invoke("--download", str(tmp_path / "out"))
    assert done.exit_code == 74
    assert saved(tmp_path / "out") == {"public/a": b"1", "public/e": b"2", LOG: b""}
    assert "artifact 'public/b%20b' cannot be fetched: 404 Not Found" in done.stderr
    assert "artifact 'private/d' cannot be fetched: 403 Forbidden" in done.stderr
    assert "artifact '../c' would be saved outside" in done.stderr
    assert "bewit" not in done.stderr


def test_result_of_the_task_is_not_lost_with_an_artifact(invoke: Run, queue: Queue, tmp_path: Path) -> None:
    queue.state, queue.artifacts = "failed", {"public/a": 404, LOG: b""}
    done = invoke("--download", str(tmp_path / "out"), "--json")
    assert done.exit_code == 1
    result = json.loads(done.stdout)
    assert result["state"] == "failed"
    assert [bool(each["problem"]) for each in result["artifacts"]] == [True, False]


class BreakingOff(listener.Request):
    """Promises more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4096")
        self.end_headers()
        self.wfile.write(b"the first")
        self.close_connection = True


def test_artifact_that_breaks_off_leaves_the_file_of_before(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    (tmp_path / "public/a").write_bytes(b"of before")
    with listener.Listener(BreakingOff) as storage:
        queue = taskcluster.Queue({"rootUrl": f"http://127.0.0.1:{storage.port}"})
        with pytest.raises(NotSaved, match=r"'public/a' cannot be fetched: .*9 bytes read"):
            fetch(queue, TASK_ID, 0, "public/a", tmp_path)
    assert saved(tmp_path) == {"public/a": b"of before"}


class Encoded(listener.Request):
    """Has one content, with an encoding that it may not have."""

    encoding, body = "", b""

    def do_GET(self) -> None:
        self.reply(self.body, Content_Encoding=self.encoding)


RANDOM = random.Random(1).randbytes(300_000)
ZIPPED, SMALL = gzip.compress(RANDOM), brotli.compress(RANDOM)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", ZIPPED[: len(ZIPPED) // 2]), ("gzip", ZIPPED[:-1]), ("x-gzip", b"no gzip"),
     ("br", SMALL[:-9]), ("br", b"x"), ("br", SMALL + b"x"), ("br, gzip", ZIPPED),
     ("gzip", ZIPPED + ZIPPED[:99])],
)  # fmt: skip
def test_artifact_that_its_encoding_says_is_not_whole_is_not_saved(tmp_path: Path, encoding: str, body: bytes) -> None:
    with listener.Listener(Encoded, encoding=encoding, body=body) as storage:
        queue = taskcluster.Queue({"rootUrl": f"http://127.0.0.1:{storage.port}"})
        with pytest.raises(NotSaved, match=r"'public/a' cannot be fetched: its \w+ data is (cut off|damaged)"):
            fetch(queue, TASK_ID, 0, "public/a", tmp_path)
    assert saved(tmp_path) == {}


@pytest.mark.parametrize(
    ("encoding", "body", "content"),
    [("gzip", ZIPPED, RANDOM), ("GZIP", ZIPPED + ZIPPED, RANDOM * 2), ("br", SMALL, RANDOM), ("gzip", b"", b""),
     ("deflate", zlib.compress(RANDOM), RANDOM),
     ("br", b"", b""), ("identity", ZIPPED, ZIPPED), ("aws-chunked", b"1", b"1"),
     ("br, gzip", gzip.compress(SMALL), RANDOM), ("gzip", gzip.compress(bytes(9 << 20)), bytes(9 << 20))],
)  # fmt: skip
def test_artifact_is_saved_without_its_encoding(tmp_path: Path, encoding: str, body: bytes, content: bytes) -> None:
    with listener.Listener(Encoded, encoding=encoding, body=body) as storage:
        queue = taskcluster.Queue({"rootUrl": f"http://127.0.0.1:{storage.port}"})
        assert fetch(queue, TASK_ID, 0, "public/a", tmp_path) == len(content)
    assert saved(tmp_path) == {"public/a": content}


def test_artifacts_whose_names_differ_do_not_replace_each_other(invoke: Run, queue: Queue, tmp_path: Path) -> None:
    queue.artifacts = {"a//b": b"2", "a/b": b"1", "a/b/": b"3", "./a/b": b"4", LOG: b""}
    done = invoke("--download", str(tmp_path / "out"))
    assert done.exit_code == 74
    assert saved(tmp_path / "out") == {"a/b": b"1", LOG: b""}
    for name in ("a//b", "a/b/", "./a/b"):
        assert f"artifact {name!r} would be saved as 'a/b', which is another artifact" in done.stderr


def test_list_that_cannot_be_had_does_not_hide_the_result(invoke: Run, queue: Queue, tmp_path: Path) -> None:
    queue.listing = 403
    done = invoke()
    assert done.exit_code == 0
    assert "the artifacts cannot be listed" in done.stderr
    assert invoke("--download", str(tmp_path / "out")).exit_code == 74
    queue.state = "exception"
    assert invoke("--download", str(tmp_path / "out")).exit_code == 2


@pytest.mark.parametrize(("status", "code"), [(400, 65), (401, 77), (403, 77), (404, 69), (409, 64), (413, 65)])
def test_task_that_the_queue_refuses_has_no_exit_code_of_a_task(
    invoke: Run, queue: Queue, status: int, code: int
) -> None:
    queue.creation = status
    done = invoke()
    assert (done.exit_code, "Taskcluster refused: it is so" in done.stderr) == (code, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--queue", "a b"], "'a b' is not of the form <provisionerId>/<workerType>"),
        (["--task-id", "mine"], "not a taskId: 'mine'"),
        (["--download", __file__], "is a file"),
        (["--downlaod", "x"], "--download"),
        (["two.yml"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_not_taken_for_an_exception(invoke: Run, queue: Queue, arguments: list[str], said: str) -> None:
    done = invoke(*arguments)
    assert (done.exit_code, said in done.stderr, queue.calls) == (64, True, [])


def test_file_that_is_no_task_is_not_taken_for_a_failure(invoke: Run, queue: Queue, tmp_path: Path) -> None:
    assert invoke(file="/nowhere/task.yml").exit_code == 66
    assert invoke(file=str(tmp_path)).exit_code == 66
    (tmp_path / "twice.yml").write_text("maxRunTime: 1\nmaxRunTime: 2\n")
    assert invoke(file=str(tmp_path / "twice.yml")).exit_code == 65
    assert queue.calls == []


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"TASKCLUSTER_ROOT_URL": "taskcluster.example"}, 64, "TASKCLUSTER_ROOT_URL: must be http(s)://host[:port]"),
        ({"TASKCLUSTER_CERTIFICATE": "{"}, 64, "TASKCLUSTER_CERTIFICATE: must be the JSON"),
        ({"TASKCLUSTER_ACCESS_TOKEN": "\xe4"}, 77, "check TASKCLUSTER_CLIENT_ID"),
    ],
)
def test_variables_that_cannot_be_are_named(
    invoke: Run, queue: Queue, variables: dict[str, str], code: int, said: str
) -> None:
    done = invoke(**variables)
    assert (done.exit_code, said in done.stderr, queue.calls) == (code, True, [])


def test_output_that_cannot_be_written_is_not_taken_for_a_failure(queue: Queue, task: Path) -> None:
    with open("/dev/full", "wb") as full:
        argv = [sys.executable, "-m", "taskward.cli", "run", str(task), "--queue", "p/q"]
        told = {**os.environ, **environment(queue)}
        done = subprocess.run(argv, env=told, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 74
    assert "the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_second_interrupt_lets_the_task_go_on(queue: Queue, task: Path) -> None:
    queue.state = "running"
    master, terminal = pty.openpty()
    argv = [sys.executable, "-m", "taskward.cli", "run", str(task), "--queue", "p/q", "--task-id", TASK_ID]
    told = {**os.environ, **environment(queue)}
    with subprocess.Popen(argv, env=told, stdin=terminal, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        shown = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        while b"cancel task" not in shown and (more := os.read(process.stderr.fileno(), 1 << 16)):
            shown += more
        while process.poll() is None:  # between its question and its reading of the answer a signal is not noticed
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.5)
        shown += process.stderr.read()
    os.close(master)
    os.close(terminal)
    assert process.returncode == 130
    assert shown.endswith(f"task {TASK_ID} goes on\n".encode())
    assert not any(call.path.endswith("/cancel") for call in queue.calls)
