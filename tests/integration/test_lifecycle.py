"""From a created task to its resolution, with all processes real."""

import hashlib
import json
import subprocess
import time
from pathlib import Path

import pytest
import requests

from simulators.patience import until

from .stack import TASKWARD, Stack


def test_a_task_that_succeeds_is_completed_with_its_log(stack: Stack) -> None:
    run, resolution = stack.run([["sh", "-c", "echo hello; echo world >&2"]])
    assert resolution == ("completed", "completed")
    log = stack.log(run)
    assert "hello\nworld\n" in log
    assert "[taskcluster " in log
    assert "=== Task Finished ===" in log
    assert stack.artifacts(run)["public/logs/live.log"]["storageType"] == "link"


def test_all_processes_show_what_they_count(stack: Stack) -> None:
    stack.run([["true"]])
    shown = stack.command("metrics")
    assert shown.stderr == ""
    counts = dict(line.rsplit(" ", 1) for line in shown.stdout.splitlines() if not line.startswith("#"))
    assert float(counts['taskward_claimer_claims_total{process="claimer"}']) >= 1
    assert float(counts['taskward_claimer_resolved_total{reason="completed",process="claimer"}']) >= 1
    assert sum(float(counts[name]) for name in counts if name.startswith("taskward_executor_runs_total")) >= 1
    assert sum(float(counts[name]) for name in counts if name.startswith("taskward_uploader_files_total")) >= 1
    assert any('phase_seconds_total{phase="run"' in name and float(counts[name]) > 0 for name in counts)
    for role in ("proxy", "gateway", "signer"):
        assert any(name.startswith(f"taskward_{role}_") for name in counts), role


def test_a_task_that_fails_is_failed_and_says_why(stack: Stack) -> None:
    run, resolution = stack.run([["sh", "-c", "exit 3"], ["echo", "never"]])
    assert resolution == ("failed", "failed")
    assert "Exit Code: 3" in stack.log(run)
    assert "never" not in stack.log(run).replace("echo never", "")


def test_commands_as_strings_share_variables_and_directory(stack: Stack) -> None:
    run, resolution = stack.run(
        ["cd /tmp", "X=carried", "export Y=too", "echo $X $Y; pwd", "false", "echo not reached"]
    )
    assert resolution == ("failed", "failed")
    lines = stack.log(run).splitlines()
    assert "carried too" in lines
    assert "/tmp" in lines
    assert "not reached" not in lines


def test_files_and_directories_become_artifacts(stack: Stack) -> None:
    run, resolution = stack.run(
        [["sh", "-c", "mkdir -p out/sub; echo one > out/a.txt; printf two > out/sub/b.bin; echo three > c.json"]],
        artifacts=[
            {"type": "directory", "path": "out", "name": "public/out"},
            {"type": "file", "path": "c.json", "name": "public/c.json", "contentType": "application/x-mine"},
        ],
    )
    assert resolution == ("completed", "completed")
    artifacts = stack.artifacts(run)
    assert stack.get(run, "public/out/a.txt") == b"one\n"
    assert stack.get(run, "public/out/sub/b.bin") == b"two"
    assert artifacts["public/c.json"]["contentType"] == "application/x-mine"


def test_a_missing_artifact_fails_the_task_and_leaves_an_error_artifact(stack: Stack) -> None:
    run, resolution = stack.run([["true"]], artifacts=[{"type": "file", "path": "nope", "name": "public/nope"}])
    assert resolution == ("failed", "failed")
    assert stack.artifacts(run)["public/nope"]["storageType"] == "error"
    assert "TASK FAILURE during artifact upload: file-missing-on-worker" in stack.log(run)


def test_the_live_log_can_be_followed_while_the_task_runs(stack: Stack, tmp_path: Path) -> None:
    run = stack.create([["sh", "-c", "echo first; while [ ! -e /tmp/go-$TASK_ID ]; do sleep 0.05; done; echo last"]])
    until(lambda: stack.artifacts(run).get("public/logs/live.log"), "live log is published")
    queue = stack.client()
    url = queue.buildUrl("getArtifact", run.task_id, 0, "public/logs/live.log")
    with requests.get(url, stream=True, timeout=30) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        for line in lines:
            if line == b"first":
                break
        Path(f"/tmp/go-{run.task_id}").touch()
        rest = list(lines)
    Path(f"/tmp/go-{run.task_id}").unlink()
    assert b"last" in rest
    assert any(b"=== Task Finished ===" in line for line in rest)
    assert stack.resolution(run) == ("completed", "completed")


CALL = """
import json, os, urllib.request
url = os.environ["TASKCLUSTER_PROXY_URL"]
print("status", json.load(urllib.request.urlopen(url + "/api/queue/v1/task/" + os.environ["TASK_ID"]))["schedulerId"])
body = json.dumps({"storageType": "reference", "url": "https://example.com", "contentType": "text/plain",
                   "expires": os.environ["EXPIRES"]}).encode()
path = "/queue/v1/task/%s/runs/%s/artifacts/public%%2Fby-task" % (os.environ["TASK_ID"], os.environ["RUN_ID"])
request = urllib.request.Request(url + path, body, {"content-type": "application/json"})
print("created", urllib.request.urlopen(request).status)
try:
    urllib.request.urlopen(url + "/api/secrets/v1/secret/forbidden")
except urllib.error.HTTPError as error:
    print("secret", error.code)
report = "/api/queue/v1/task/%s/runs/%s/completed" % (os.environ["TASK_ID"], os.environ["RUN_ID"])
try:
    urllib.request.urlopen(urllib.request.Request(url + report, b"", method="POST"))
except urllib.error.HTTPError as error:
    print("report", error.code)
"""


def test_a_task_calls_taskcluster_through_the_proxy_within_its_scopes(stack: Stack) -> None:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    run, resolution = stack.run(
        [["python3", "-c", CALL]], features={"taskclusterProxy": True}, env={"EXPIRES": expires}
    )
    log = stack.log(run)
    assert resolution == ("completed", "completed"), log
    for line in ("status", "created 200", "secret 403", "report 403"):
        assert line in log
    assert stack.artifacts(run)["public/by-task"]["storageType"] == "reference"


def test_a_signed_run_is_verified_offline_by_foreign_programs_too(stack: Stack, tmp_path: Path) -> None:
    run, resolution = stack.run(
        [["sh", "-c", "echo content > file.txt"]],
        artifacts=[{"type": "file", "path": "file.txt", "name": "public/file.txt"}],
        features={"chainOfTrust": True},
    )
    assert resolution == ("completed", "completed"), stack.log(run)
    stack.download(run, tmp_path)
    document = json.loads((tmp_path / "public/chain-of-trust.json").read_bytes())
    assert document["taskId"] == run.task_id
    assert document["artifacts"]["public/file.txt"]["sha256"] == hashlib.sha256(b"content\n").hexdigest()
    assert set(document["artifacts"]) == {"public/file.txt", "public/logs/certified.log"}
    keys = stack.state_dir / "public-keys"
    words = [str(TASKWARD), "verify", str(tmp_path), "--openpgp-key", str(keys / "openpgp.asc")]
    words += ["--ed25519-key", str(keys / "ed25519.pub"), "--dsse-key", str(keys / "dsse.pub")]
    good = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    (tmp_path / "public/file.txt").write_text("other")
    bad = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert bad.returncode == 1
    assert "public/file.txt" in bad.stdout + bad.stderr


def test_a_malformed_payload_leaves_a_readable_log(stack: Stack) -> None:
    run, resolution = stack.run([["true"]], featurs={"chainOfTrust": True})
    assert resolution == ("exception", "malformed-payload")
    log = stack.log(run)
    assert "featurs" in log
    assert "features" in log


@pytest.mark.parametrize("payload", [{"command": "x"}, {"command": []}, {"env": {"A": 1}}, {"maxRunTime": 0}])
def test_wrong_types_are_malformed(stack: Stack, payload: dict[str, object]) -> None:
    run, resolution = stack.run([["true"]], task={"payload": {"command": [["true"]], "maxRunTime": 10, **payload}})
    assert resolution == ("exception", "malformed-payload")
    assert "[taskcluster:error]" in stack.log(run)


def test_a_task_that_runs_too_long_is_stopped_and_failed(stack: Stack) -> None:
    run, resolution = stack.run([["sh", "-c", "echo begun; sleep 60"]], maxRunTime=1)
    assert resolution == ("failed", "failed")
    assert "max run time exceeded" in stack.log(run)


def test_a_canceled_task_is_dead_within_a_poll(stack: Stack) -> None:
    run = stack.create([["sh", "-c", "echo $$ > /tmp/pid-$TASK_ID; exec sleep 300"]])
    pid_file = Path(f"/tmp/pid-{run.task_id}")
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text(), "the task runs"))
    stack.client().cancelTask(run.task_id)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the task is dead", 5)
    assert stack.resolution(run) == ("exception", "canceled")
    until(lambda: (record := stack.record(run)) is None or record.phase == "resolved", "the slot is free")


def test_every_credential_renewal_reaches_the_task(tmp_path: Path) -> None:
    script = """
import os, time, urllib.request
url = os.environ["TASKCLUSTER_PROXY_URL"] + "/api/auth/v1/scopes/current"
seen = set()
while len(seen) < 3:
    answer = urllib.request.urlopen(url)
    seen.add(answer.headers.get("X-Taskcluster-Proxy-Temp-ClientId"))
    time.sleep(0.2)
print("renewed", len(seen))
"""
    with Stack({"claim_timeout_s": 6}) as stack:
        run, resolution = stack.run([["python3", "-c", script]], features={"taskclusterProxy": True})
        assert resolution == ("completed", "completed"), stack.log(run)
        assert "renewed 3" in stack.log(run)
