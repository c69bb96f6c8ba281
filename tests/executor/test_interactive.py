"""Interactive shells as the executor offers them: who they are, where they run, who may know of them."""

import json
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from executor.bench import Bench
from executor.holding import ARTIFACT, Holding
from taskward.core import keys
from taskward.core.shell import Exited, Open, Refused


def test_a_shell_is_the_tasks_own_user_in_its_directory_with_its_variables(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("echo $USER@$PWD $COLOR $TERM $TASK_ID; id -u; echo fin''ished\r")

    said = shell.read_until("finished")
    assert f"@{holding.bench.layout.task_directory(holding.run)} blue xterm-256color {holding.run.task_id}" in said
    assert f"\r\n{holding.uid}\r\n" in said


@pytest.mark.root
def test_a_shell_is_in_the_tasks_control_group(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("cat /proc/self/cgroup; echo fin''ished\r")

    assert holding.run.directory in shell.read_until("finished")


def test_the_terminal_is_the_shells_own_and_nobody_elses(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("stat -c 'owner %u mode %a' $(tty); echo spoken > /dev/tty; stty size; echo fin''ished\r")

    said = shell.read_until("finished")
    assert f"owner {holding.uid} mode 600" in said
    assert "\r\nspoken\r\n" in said
    assert "\r\n24 80\r\n" in said
    assert "no job control" not in said
    assert "Inappropriate ioctl" not in said


def test_what_is_typed_is_echoed_once_and_printed_once(holding: Holding) -> None:
    shell = holding.shell()
    shell.read_until("$ ")
    shell.type("echo sentinel\r")
    shell.type("echo fin''ished\r")

    assert shell.read_until("finished").count("sentinel") == 2


def test_the_exit_code_is_told(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("exit 7\r")
    assert shell.told() == Exited(7)


def test_a_signal_is_told_as_shells_do(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("kill -9 $$\r")
    assert shell.told() == Exited(137)


def test_a_program_can_have_pipes_instead_of_a_terminal(holding: Holding) -> None:
    shell = holding.shell(Open(("sh", "-c", "cat; echo oops > /dev/stderr; exit 4"), terminal=False, resume_s=0))
    stdin, stdout, stderr = shell.descriptors
    os.write(stdin, b"through")
    os.close(stdin)
    shell.descriptors.remove(stdin)

    assert shell.told() == Exited(4)
    assert (os.read(stdout, 100), os.read(stderr, 100)) == (b"through", b"oops\n")


def test_without_bash_there_is_sh(bench: Bench, shells_dir: None, state_dir: Path) -> None:
    programs = state_dir / "programs"
    programs.mkdir(mode=0o755)
    for name in ("sh", "sleep"):
        (programs / name).symlink_to(f"/bin/{name}")
    task = Holding(bench, {"PATH": str(programs)})
    try:
        shell = task.shell()
        shell.type("echo $0 $((40 + 2))\r")
        assert "sh 42" in shell.read_until("sh 42")
    finally:
        task.leave()


def test_a_program_that_does_not_exist_is_refused(holding: Holding) -> None:
    answer = holding.shell(Open(("no-such-program",), terminal=True, resume_s=0)).answer
    assert isinstance(answer, Refused)
    assert "no-such-program" in answer.reason


def test_the_secret_opens_the_run_until_the_task_ends(holding: Holding) -> None:
    content_type, url = holding.reference()
    parts = urlsplit(url)
    secret = parts.path.split("/")[2]

    assert content_type == "text/html; charset=utf-8"
    assert (parts.netloc, parts.path) == ("127.0.0.1:60023", f"/shell/{secret}/")
    assert parse_qs(parts.query) == {"v": ["2"], "taskId": [holding.run.task_id], "runId": ["0"]}
    assert len(secret) == 43
    entry = json.loads(holding.bench.redis.get(keys.shell(secret)) or b"")
    assert entry == {"taskId": holding.run.task_id, "runId": 0}
    assert 60 < holding.bench.redis.ttl(keys.shell(secret)) <= 960
    assert secret not in str(holding.bench.redis.keys("*"))

    holding.end()
    holding.job.wait()
    assert not holding.bench.redis.exists(keys.shell(secret))
    assert secret not in holding.bench.result(holding.run).log


def test_another_user_interface_gets_the_address_in_the_originals_form(bench: Bench, shells_dir: None) -> None:
    bench.configure("gateway", shell_url="https://tc.example.com/shell/", public_url="https://worker.example.com")
    task = Holding(bench)
    try:
        url = urlsplit(task.reference()[1])
        query = parse_qs(url.query)
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://tc.example.com/shell/"
        assert (query["v"], query["taskId"], query["runId"]) == (["2"], [task.run.task_id], ["0"])
        assert query["socketUrl"][0].startswith("wss://worker.example.com/shell/")
    finally:
        task.leave()


def test_a_worker_may_have_no_shells(bench: Bench) -> None:
    bench.configure("executor", enable_interactive=False)
    result = bench.run([["true"]], features={"interactive": True})

    assert result.outcome.reason == "malformed-payload"
    assert "This task requires feature interactive, which is not enabled on this worker" in result.log


def test_no_payload_artifact_takes_the_pages_name(bench: Bench, shells_dir: None) -> None:
    artifact = {"type": "file", "path": "x", "name": ARTIFACT}
    result = bench.run([["touch", "x"]], features={"interactive": True}, artifacts=[artifact])
    assert "will be uploaded later by Interactive" in result.log
