"""The development worker as a person uses it, and `taskward run` against it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskward.cli.devworker import Access

TASKWARD = (sys.executable, "-m", "taskward.cli")


class Development:
    """A running `taskward dev`."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    def taskward(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        argv, environment = [*TASKWARD, *arguments], self.environment()
        return subprocess.run(
            argv, input=text, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, running, with nobody at a terminal."""
        return subprocess.Popen(
            [*TASKWARD, *arguments], env=self.environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        if not (self.state_dir / "devcluster/devcluster.json").exists():
            return dict(os.environ)
        access = Access.read(self.state_dir)
        return {
            **os.environ,
            "TASKCLUSTER_ROOT_URL": access.root_url,
            "TASKCLUSTER_CLIENT_ID": access.client_id,
            "TASKCLUSTER_ACCESS_TOKEN": access.access_token,
        }

    def run(self, payload: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
        return self.taskward("run", "-", *options, text=yaml.safe_dump(payload))


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="twd"))
    place.chmod(0o755)
    found = Development(place / "dev")
    started = found.taskward("dev", "--detach", "--state-dir", str(found.state_dir))
    assert started.returncode == 0, started.stderr
    assert f'eval "$(taskward dev env --state-dir {found.state_dir})"' in started.stdout
    yield found
    stopped = found.taskward("dev", "--state-dir", str(found.state_dir), "down")
    assert stopped.stdout == "stopped\n"


def test_start_of_what_runs_already_is_no_failure(development: Development) -> None:
    again = development.taskward("dev", "--detach", "--state-dir", str(development.state_dir))
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("it runs already\nTaskcluster: http://127.0.0.1:")
    assert "next: eval" in again.stdout


def _shell(script: str, **more: Any) -> dict[str, Any]:
    return {"command": [["/bin/sh", "-c", script]], "maxRunTime": 60, **more}


def test_run_shows_the_log_and_saves_artifacts(development: Development, tmp_path: Path) -> None:
    payload = _shell(
        "echo hello; echo data > a.txt", artifacts=[{"type": "file", "name": "public/a.txt", "path": "a.txt"}]
    )
    done = development.run(payload, "--download", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "\nhello\n" in done.stdout
    assert "completed" in done.stderr
    assert (tmp_path / "public/a.txt").read_text() == "data\n"
    assert (tmp_path / "public/logs/live.log").read_text() in done.stdout


def test_failed_task_is_exit_code_1(development: Development) -> None:
    assert development.run(_shell("exit 7")).returncode == 1


def test_malformed_payload_is_exit_code_2_and_says_why(development: Development) -> None:
    done = development.run({"comand": [["true"]], "maxRunTime": 60})
    assert done.returncode == 2
    assert "malformed-payload" in done.stderr
    assert "comand" in done.stdout


def test_result_as_json(development: Development) -> None:
    done = development.run(_shell("echo hello"), "--json")
    result = json.loads(done.stdout)
    assert (result["state"], result["runId"]) == ("completed", 0)
    assert "public/logs/live.log" in {each["name"] for each in result["artifacts"]}
    assert "hello" in done.stderr


def test_canceled_task_is_exit_code_3(development: Development) -> None:
    import taskcluster

    task_id = ""
    queue: Any = taskcluster.Queue(Access.read(development.state_dir).options)
    with development.started("run", "-") as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(yaml.safe_dump(_shell("sleep 60")))
        process.stdin.close()
        task_id = process.stderr.readline().split()[1]
        queue.cancelTask(task_id)
        process.wait(timeout=60)
    assert process.returncode == 3


def test_interrupt_leaves_the_task_running_where_nobody_can_be_asked(development: Development) -> None:
    import taskcluster

    queue: Any = taskcluster.Queue(Access.read(development.state_dir).options)
    file = development.state_dir / "sleep.yml"
    file.write_text(yaml.safe_dump(_shell("sleep 60")))
    with development.started("run", str(file)) as process:
        assert process.stderr
        task_id = process.stderr.readline().split()[1]
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "goes on" in rest
    assert queue.status(task_id)["status"]["state"] in ("pending", "running")
    queue.cancelTask(task_id)


def test_no_wait_prints_the_task_id(development: Development) -> None:
    done = development.run(_shell("true"), "--no-wait")
    assert (done.returncode, len(done.stdout.strip())) == (0, 22)


def test_env_prints_exports_that_work(development: Development) -> None:
    exports = development.taskward("dev", "--state-dir", str(development.state_dir), "env").stdout
    script = f'{exports}\n[ -n "$TASKCLUSTER_ACCESS_TOKEN" ] && echo "$TASKCLUSTER_ROOT_URL $TASKCLUSTER_CLIENT_ID"'
    shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, timeout=10).stdout
    assert shown == f"{Access.read(development.state_dir).root_url} root\n"


def test_worker_has_no_more_scopes_than_it_needs(development: Development) -> None:
    import taskcluster

    auth: Any = taskcluster.Auth(Access.read(development.state_dir).options)
    assert sorted(auth.client("project/taskward/dev-worker")["expandedScopes"]) == [
        "auth:expand-scopes",
        "queue:claim-work:taskward/dev",
        "queue:worker-id:local/dev",
    ]


def test_unreachable_taskcluster_is_exit_code_69(development: Development, tmp_path: Path) -> None:
    file = tmp_path / "t.yml"
    file.write_text(yaml.safe_dump(_shell("true")))
    environment = {**os.environ, "TASKCLUSTER_ROOT_URL": "http://127.0.0.1:9"}
    argv = [*TASKWARD, "run", str(file)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
