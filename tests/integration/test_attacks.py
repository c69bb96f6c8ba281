"""Hostile tasks on a real worker: each ends in a clear resolution, nothing leaks, and the worker goes on."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from redis.exceptions import NoPermissionError

from simulators.patience import until
from taskward.core import keys
from taskward.core.ids import RunId
from taskward.core.outcome import COMPLETED

from .conftest import needs_root
from .stack import Stack

pytestmark = needs_root

HOLD = (
    "echo uid $(id -u) pid $$ dir $PWD; echo proxy $TASKCLUSTER_PROXY_URL; echo mine > secret.txt; "
    "while [ ! -e /tmp/taskward-end-$TASK_ID ]; do sleep 0.1; done"
)
PROBE = r"""
import json, os, socket, sys, urllib.request
victim = json.loads(os.environ["VICTIM"])

def attempt(name, action):
    try:
        print("LEAK", name, repr(action())[:200])
    except urllib.error.HTTPError as error:
        print("refused", name, error.code, error.read()[:80])
    except Exception as error:
        print("refused", name, type(error).__name__)

def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        return "connected"

def read(path):
    with open(path, "rb") as f:
        return f.read(100)

attempt("proxy", lambda: urllib.request.urlopen(victim["proxy"] + "/api/queue/v1/ping", timeout=5).read())
put = urllib.request.Request(os.environ["TASKCLUSTER_PROXY_URL"] + "/credentials", b"{}", method="PUT")
attempt("proxy credentials", lambda: urllib.request.urlopen(put, timeout=5).read())
for path in victim["sockets"]:
    attempt("socket " + path, lambda path=path: connect(path))
for path in victim["files"]:
    attempt("file " + path, lambda path=path: read(path))
for path in victim["directories"]:
    attempt("directory " + path, lambda path=path: os.listdir(path))
attempt("signal", lambda: os.kill(victim["pid"], 0))
attempt("log of nobody", lambda: urllib.request.urlopen(victim["gateway"] + "/log/" + "A" * 43, timeout=5).read())
print("probing done")
"""


@pytest.fixture
def victim(stack: Stack) -> Iterator[RunId]:
    """A task that runs until the test is over."""
    run = stack.create([["sh", "-c", HOLD]], features={"taskclusterProxy": True})
    until(lambda: live_log(stack, run).count("\n") > 8 and "proxy http" in live_log(stack, run), "the victim runs")
    yield run
    Path(f"/tmp/taskward-end-{run.task_id}").touch()
    assert stack.resolution(run) == ("completed", "completed")
    Path(f"/tmp/taskward-end-{run.task_id}").unlink()


def live_log(stack: Stack, run: RunId) -> str:
    path = stack.settings.layout.log_directory(run) / "live.log"
    return path.read_text() if path.exists() else ""


def test_a_neighbour_gets_nothing(stack: Stack, victim: RunId) -> None:
    log, state = live_log(stack, victim), stack.state_dir
    found = re.search(r"uid (\d+) pid (\d+) dir (\S+)\nproxy (\S+)", log)
    assert found is not None
    _, pid, directory, proxy = found.groups()
    sockets = [str(path) for path in state.rglob("*") if path.is_socket()]
    assert len(sockets) >= 4
    secrets = [
        str(path)
        for name in ("secrets", "keys", "redis", "signer", "outbox", "logs")
        for path in (state / name).rglob("*")
        if path.is_file()
    ]
    assert len(secrets) > 8
    facts = {
        "proxy": proxy,
        "pid": int(pid),
        "gateway": f"http://127.0.0.1:{stack.settings.others['gateway']['port']}",
        "sockets": sockets,
        "files": [
            *secrets,
            f"{directory}/secret.txt",
            f"/proc/{pid}/environ",
            f"/proc/{pid}/cwd/secret.txt",
            f"/proc/{pid}/fd/1",
        ],
        "directories": [
            directory,
            str(state / "secrets/claimer"),
            str(state / "keys"),
            str(state / "logs"),
            str(state / "outbox"),
            str(state / "run/supervisor"),
            *(str(state / "locks" / name) for name in ("execute", "owners", "retained", "upload")),
        ],
    }
    run, resolution = stack.run(
        [["python3", "-c", PROBE]], env={"VICTIM": json.dumps(facts)}, features={"taskclusterProxy": True}
    )
    answer = stack.log(run)
    assert resolution == ("completed", "completed"), answer
    assert "probing done" in answer
    assert [line for line in answer.splitlines() if line.startswith("LEAK")] == []
    assert answer.count("\nrefused ") >= len(sockets) + len(secrets)


def test_no_process_shows_a_secret_in_its_arguments_or_environment(stack: Stack) -> None:
    token = stack.cluster.access_token.encode()
    passwords = [path.read_bytes().strip() for path in (stack.state_dir / "secrets").rglob("*password")]
    assert len(passwords) > 5
    pids = [row["pid"] for row in stack.status()["roles"] if row["pid"]]
    for pid in [stack.supervisor_pid(), *pids]:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert not [secret for secret in (token, *passwords) if secret in shown]


def test_no_log_of_ours_holds_a_secret(stack: Stack) -> None:
    stack.run([["true"]], features={"taskclusterProxy": True, "chainOfTrust": True})
    token = stack.cluster.access_token
    for path in (stack.state_dir / "var/log").iterdir():
        text = path.read_text(errors="replace")
        assert token not in text
        assert "accessToken" not in text, path.name


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{state}/keys/ed25519.key", "file-not-readable-on-worker|invalid-resource-on-worker|file-missing-on-worker"),
        ("/etc/shadow", "file-not-readable-on-worker|invalid-resource-on-worker"),
        ("/dev/zero", "invalid-resource-on-worker"),
        ("/proc/self/environ", "invalid-resource-on-worker"),
    ],
)
def test_a_symlink_out_of_the_task_directory_is_no_artifact(stack: Stack, target: str, reason: str) -> None:
    link = target.format(state=stack.state_dir)
    run, resolution = stack.run(
        [["ln", "-s", link, "artifact"]], artifacts=[{"type": "file", "path": "artifact", "name": "public/a"}]
    )
    assert resolution == ("failed", "failed")
    assert re.search(f"TASK FAILURE during artifact upload: ({reason})", stack.log(run))
    assert stack.artifacts(run)["public/a"]["storageType"] == "error"


def test_another_tasks_file_is_no_artifact(stack: Stack, victim: RunId) -> None:
    found = re.search(r"dir (\S+)", live_log(stack, victim))
    assert found is not None
    for command in (
        ["ln", "-s", f"{found.group(1)}/secret.txt", "artifact"],
        ["ln", f"{found.group(1)}/secret.txt", "artifact"],
    ):
        run, resolution = stack.run(
            [["sh", "-c", f"{' '.join(command)} || true"]],
            artifacts=[{"type": "file", "path": "artifact", "name": "public/a"}],
        )
        assert resolution == ("failed", "failed")
        assert stack.artifacts(run)["public/a"]["storageType"] == "error"


@pytest.mark.parametrize("path", ["../../../../etc/passwd", "a/../../b", "/etc/shadow"])
def test_paths_that_leave_the_task_directory_are_refused(stack: Stack, path: str) -> None:
    run, resolution = stack.run([["true"]], artifacts=[{"type": "file", "path": path, "name": "public/a"}])
    assert resolution[0] in ("failed", "exception")
    assert "[taskcluster:error]" in stack.log(run)
    assert stack.artifacts(run).get("public/a", {}).get("storageType") in (None, "error")


@pytest.mark.parametrize("maker", ["mkfifo thing", "python3 -c \"import socket; socket.socket(1).bind('thing')\""])
def test_special_files_are_no_artifacts_and_never_block(stack: Stack, maker: str) -> None:
    run, resolution = stack.run(
        [["sh", "-c", maker]], artifacts=[{"type": "file", "path": "thing", "name": "public/thing"}]
    )
    assert resolution == ("failed", "failed")
    assert "invalid-resource-on-worker" in stack.log(run)


@pytest.mark.parametrize("name", ["public/" + "x" * 1018, "public/\u00fc", "public/a\u0007b", "public/\ud83d\ude00"])
def test_names_that_would_break_the_queue_never_reach_it(stack: Stack, name: str) -> None:
    run, resolution = stack.run(
        [["sh", "-c", "echo x > file"]], artifacts=[{"type": "file", "path": "file", "name": name}]
    )
    assert resolution[0] in ("failed", "exception")
    assert "name" in stack.log(run)
    assert set(stack.artifacts(run)) <= {"public/logs/live.log", "public/logs/live_backing.log"}


SQUAT = """
import json, os, socket
for address, port in json.loads(os.environ["PLACES"]):
    for option in (0, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        with socket.socket() as s:
            if option:
                s.setsockopt(socket.SOL_SOCKET, option, 1)
            try:
                s.bind((address, port))
                s.listen()
                print("LISTENS", address, port, option)
            except OSError as error:
                print("refused", error.strerror)
"""


def test_no_task_takes_the_place_of_proxy_or_gateway(stack: Stack, victim: RunId) -> None:
    found = re.search(r"\nproxy http://([\d.]+):(\d+)", live_log(stack, victim))
    assert found is not None
    gateway = stack.settings.others["gateway"]["port"]
    places = [(found[1], int(found[2])), ("0.0.0.0", int(found[2])), ("127.0.0.1", gateway), ("0.0.0.0", gateway)]
    run, resolution = stack.run([["python3", "-c", SQUAT]], env={"PLACES": json.dumps(places)})

    assert resolution == ("completed", "completed")
    answers = [line for line in stack.log(run).splitlines() if line.startswith(("LISTENS", "refused"))]
    assert answers == ["refused Address already in use"] * 12


def test_files_with_odd_names_and_modes_cost_nobody_else_theirs(stack: Stack) -> None:
    make = r"""
mkdir d d/listed d/closed; cd d; echo ok > ok; echo x > listed/x; echo x > closed/x; mkfifo pipe; truncate -s 200G holes
echo x > $'new\nline'; echo x > $'\xff'; echo x > 'a%2fb?c#d'; echo x > '..x'; : > empty; ln -s loop loop
ln -s /proc/self/environ environ; chmod 400 listed; chmod 0 closed ok2 2> /dev/null; true
"""
    run, resolution = stack.run(
        [["bash", "-c", make]], artifacts=[{"type": "directory", "path": "d", "name": "private/d", "optional": True}]
    )

    assert resolution == ("completed", "completed"), stack.log(run)
    found = {name.removeprefix("private/d/"): each["storageType"] for name, each in stack.artifacts(run).items()}
    assert {name for name, kind in found.items() if kind == "s3"} >= {"ok", "a%2fb?c#d", "..x", "empty"}
    assert {name for name, kind in found.items() if kind == "error"} == {
        "listed/x", "closed", "pipe", "holes", "loop", "environ",
    }  # fmt: skip
    assert stack.get(run, "private/d/a%2fb?c#d") == b"x\n"


def test_daemons_do_not_outlive_their_task(stack: Stack) -> None:
    daemon = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print("daemon", os.getpid(), flush=True)
        time.sleep(300)
    os._exit(0)
"""
    run, resolution = stack.run([["python3", "-c", daemon], ["sleep", "0.3"]])
    assert resolution == ("completed", "completed")
    found = re.search(r"^daemon (\d+)$", stack.log(run), re.MULTILINE)
    assert found is not None
    assert not Path(f"/proc/{found.group(1)}").exists()


def test_a_task_that_deletes_its_own_directory_ends_clearly(stack: Stack) -> None:
    run, resolution = stack.run(
        [["sh", "-c", 'rm -rf "$PWD" "$HOME"; echo gone']],
        artifacts=[{"type": "file", "path": "a", "name": "public/a"}],
    )
    assert resolution == ("failed", "failed")
    assert "file-missing-on-worker" in stack.log(run)


def test_a_log_of_a_gibibyte_arrives_whole(stack: Stack) -> None:
    count = 1 << 30
    run = stack.create([["sh", "-c", f"yes 0123456789abcde | head -c {count}"]])
    assert stack.resolution(run, 180) == ("completed", "completed")
    url = stack.client().buildUrl("getArtifact", run.task_id, 0, "public/logs/live_backing.log")
    size = 0
    with requests.get(url, stream=True, timeout=60) as answer:
        for piece in answer.iter_content(1 << 20):
            size += len(piece)
    assert size > count


def test_whoever_has_the_uploaders_password_runs_nothing_and_completes_nothing(stack: Stack) -> None:
    thief = stack.redis("uploader")
    forged: dict[Any, Any] = {"phase": "uploaded", "outcome": COMPLETED.to_json()}
    run = stack.create([["sh", "-c", "echo honest; sleep 1; exit 1"]])
    stack.phase(run, "running")
    for key in (keys.task(run.key), keys.run(run.key)):
        with pytest.raises(NoPermissionError):
            thief.hset(key, mapping={**forged, "definition": "{}"})
    thief.hset(keys.upload(run.key), mapping=forged)
    thief.rpush(keys.INBOX, run.key, "garbage")

    assert stack.resolution(run) == ("failed", "failed")
    assert "honest" in stack.log(run)


def test_after_all_that_the_worker_still_works(stack: Stack) -> None:
    assert stack.run([["true"]])[1] == ("completed", "completed")
    assert {row["state"] for row in stack.status()["roles"]} == {"RUNNING"}
