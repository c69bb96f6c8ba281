"""Encrypted environment variables on a whole worker, as a task author uses them."""

import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slugid

from simulators.patience import until

from .conftest import needs_root
from .stack import Stack, send

VALUE = "s3cret-v4lue-of-the-test"
CHECK = f'test "$(printf %s "$SECRET" | sha256sum)" = "{hashlib.sha256(VALUE.encode()).hexdigest()}  -"'
"""Tells the value without naming it."""
INCIDENT = r"incidentId: [0-9a-f-]{36}"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A worker with a key."""
    with Stack({"claim_timeout_s": 60}, executor={"enable_encrypted_env": True}) as stack:
        yield stack


def sealed(stack: Stack, task_id: str, *options: str, name: str = "SECRET", value: str = VALUE) -> str:
    """What a task author gets from the command."""
    words = ("keys", "encrypt-env", "--task-id", task_id, "--name", name, *options)
    done = stack.command(*words, input=value)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def files_with(stack: Stack, value: str) -> list[Path]:
    return [
        path
        for path in stack.state_dir.rglob("*")
        if path.is_file() and not path.is_symlink() and value.encode() in path.read_bytes()
    ]


def test_a_variable_reaches_its_task_and_nothing_that_is_kept_or_signed(stack: Stack) -> None:
    me = str(slugid.nice())
    messages = [sealed(stack, me), sealed(stack, me, name="B", value="b\nc")]
    run, resolution = stack.run(
        [["sh", "-c", f'{CHECK} && echo "$OWN$B" && echo x > x']], task_id=me, encryptedEnv=messages,
        env={"OWN": "mine"}, features={"chainOfTrust": True},
        artifacts=[{"type": "file", "path": "x", "name": "public/x"}],
    )  # fmt: skip

    assert resolution == ("completed", "completed"), stack.log(run)
    assert "mineb\nc\n" in stack.log(run)
    assert "public/chainOfTrust.json.asc" in stack.artifacts(run)
    for name, artifact in stack.artifacts(run).items():
        if artifact["storageType"] == "s3":
            assert VALUE.encode() not in stack.get(run, name), name
    assert not files_with(stack, VALUE)


def test_the_message_of_another_task_is_refused(stack: Stack) -> None:
    stolen = sealed(stack, str(slugid.nice()))
    run, resolution = stack.run([["sh", "-c", "echo ran"]], encryptedEnv=[stolen])

    assert resolution == ("exception", "malformed-payload")
    text = "secret data violation -- the taskId of the env payload does not match the taskId of the task; "
    assert re.search(rf"^\[taskcluster:error\] {re.escape(text)}{INCIDENT}$", stack.log(run), re.MULTILINE)
    assert "\nran" not in stack.log(run)


def test_what_gpg_makes_is_opened_as_seed_documents_say(stack: Stack, tmp_path: Path) -> None:
    me, home = str(slugid.nice()), tmp_path / "gpg"
    home.mkdir(mode=0o700)
    key = stack.command("keys", "export", "--purpose", "encryption").stdout
    message = {"messageVersion": 1, "taskId": me, "startTime": 0, "endTime": 4e12, "name": "SECRET", "value": VALUE}
    gpg = ["gpg", "--homedir", str(home), "--batch", "--trust-model", "always"]
    subprocess.run([*gpg, "--import"], input=key, text=True, check=True, timeout=60, capture_output=True)
    script = " ".join([*gpg, "-r taskward --encrypt | base64 -w 0"])
    entry = subprocess.run(
        ["sh", "-c", script], input=json.dumps(message), text=True, check=True, timeout=60, capture_output=True
    ).stdout
    run, resolution = stack.run([["sh", "-c", CHECK]], task_id=me, encryptedEnv=[entry])

    assert resolution == ("completed", "completed"), stack.log(run)


def test_a_decrypter_that_is_killed_while_a_run_asks_it_costs_the_run_nothing(stack: Stack) -> None:
    me = str(slugid.nice())
    entry = sealed(stack, me)
    frozen = stack.pids("decrypter")
    send(frozen, signal.SIGSTOP)
    run = stack.create([["sh", "-c", CHECK]], task_id=me, encryptedEnv=[entry])
    until(lambda: connections_to(stack.settings.layout.decrypter_socket) > 0, "the executor asks")
    send(frozen, signal.SIGKILL)

    assert stack.resolution(run) == ("completed", "completed"), stack.log(run)
    assert len(stack.runs(run)) == 1
    assert set(stack.pids("decrypter")).isdisjoint(frozen)


def connections_to(path: Path) -> int:
    """Those that wait to be accepted, too; they bear the name of the socket that listens."""
    return Path("/proc/net/unix").read_text().count(f" {path}\n") - 1


REACH = """
import pathlib, socket, sys
root = pathlib.Path(sys.argv[1])
try:
    socket.socket(socket.AF_UNIX).connect(str(root / "run/decrypter/decrypter.sock"))
    print("reached")
except PermissionError:
    pass
for name in ("decrypter", "decrypter/openpgp", "decrypter/audit.jsonl"):
    try:
        open(root / name)
        print("opened", name)
    except (PermissionError, IsADirectoryError) as error:
        print(type(error).__name__, name)
"""


@needs_root
def test_no_task_and_no_other_process_reaches_the_key_or_the_door(stack: Stack) -> None:
    run, _ = stack.run([["python3", "-c", REACH, str(stack.state_dir)]])

    lines = stack.log(run).splitlines()
    assert "reached" not in lines
    assert [line for line in lines if line.startswith(("opened", "IsADirectoryError"))] == []
    assert "PermissionError decrypter/openpgp" in lines
    for user in ("tw-signer", "tw-keys", "tw-claimer", "tw-uploader", "tw-proxy", "tw-gateway"):
        who = ("setpriv", "--reuid", user, "--regid", user, "--init-groups")
        argv = [*who, "/usr/bin/python3", "-c", REACH, str(stack.state_dir)]
        found = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, cwd="/").stdout
        assert "reached" not in found, user
        assert "PermissionError decrypter/openpgp" in found, user


def test_neither_who_decrypts_nor_who_runs_the_task_leaves_a_core_dump(stack: Stack) -> None:
    for pid in (*stack.pids("decrypter"), *stack.pids("executor")):
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 ", limits, re.MULTILINE), limits


@needs_root
def test_the_key_belongs_to_a_user_of_its_own_and_only_its_public_half_is_readable(stack: Stack) -> None:
    (pid,) = stack.pids("decrypter")
    status = Path(f"/proc/{pid}/status").read_text()
    uid = int(re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)[0])
    others = [other for role in ("signer", "keyholder", "uploader") for other in stack.pids(role)]
    assert uid not in (0, *[Path(f"/proc/{other}").stat().st_uid for other in others])
    assert "CapEff:\t0000000000000000" in status
    assert (stack.state_dir / "decrypter").stat().st_uid == uid
    assert stack.settings.layout.encryption_key.stat().st_mode & 0o777 == 0o644
