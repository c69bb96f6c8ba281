"""A run in a container, from its first line to its last, and how it can end."""

import json
import re
import time

import pytest

from executor.docker.yard import Yard, task_output

pytestmark = pytest.mark.root


def test_a_container_prints_to_the_log_between_the_workers_lines(yard: Yard) -> None:
    result = yard.run("echo hello; echo world >&2")

    assert result.outcome.succeeded
    assert re.fullmatch(
        r"\[taskcluster \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z\] Task ID: \S+\n"
        r"(\[taskcluster [^\]]+Z\] [A-Z][A-Za-z ]+: ?\S*\n){7}\r\n"
        r"\[taskcluster [^\]]+Z\] \S+ exists in the cache\.\n"
        r"\[taskcluster [^\]]+Z\] === Task Starting ===\nhello\r\nworld\r\n"
        r"\[taskcluster [^\]]+Z\] === Task Finished ===\n"
        r"\[taskcluster [^\]]+Z\] Successful task run with exit code: 0 completed in [\d.]+ seconds\n",
        result.log_bytes.decode(),
    )


def test_what_a_run_had_is_gone_when_it_is_over(yard: Yard) -> None:
    result = yard.run("true")

    assert yard.left_over(result.record.run) == []


def test_an_exit_code_fails_the_task(yard: Yard) -> None:
    result = yard.run("exit 3")

    assert result.outcome.state == "failed"
    assert "Unsuccessful task run with exit code: 3 completed in" in result.log
    assert "[taskcluster:error]" not in result.log


def test_some_exit_codes_are_intermittent(yard: Yard) -> None:
    result = yard.run("exit 4", onExitStatus={"retry": [4]})

    assert (result.outcome.state, result.outcome.reason) == ("exception", "intermittent-task")


def test_a_command_that_is_not_there_fails_at_once_with_the_daemons_words(yard: Yard) -> None:
    result = yard.run(["no-such-program"])

    assert result.outcome.state == "failed"
    assert "[taskcluster:error] Failure to properly start execution environment." in result.log
    assert "no-such-program" in result.log.partition("Failure")[2]
    assert "Unsuccessful task run with exit code: -1" in result.log
    assert yard.left_over(result.record.run) == []


def test_what_a_container_that_could_not_be_started_holds_is_kept(yard: Yard) -> None:
    artifacts = {"public/passwd": {"type": "file", "path": "/etc/passwd"}}
    result = yard.run(["no-such-program"], artifacts=artifacts, features={"dockerSave": True})

    assert result.outcome.state == "failed"
    assert b"root:" in result.content("public/passwd")
    assert result.entries["public/dockerImage.tar"].file
    assert yard.left_over(result.record.run) == []


def test_a_task_that_takes_too_long_is_killed_even_if_it_ignores_sigterm(yard: Yard) -> None:
    began = time.monotonic()
    result = yard.run("trap '' TERM INT HUP; echo before; while :; do sleep 100; done", maxRunTime=1)

    assert time.monotonic() - began < 10
    assert result.outcome.state == "failed"
    assert "[taskcluster:error] Task timeout after 1 seconds. Force killing container.\n" in result.log
    assert result.log.index("before") < result.log.index("Task timeout") < result.log.index("=== Task Finished ===")
    assert "Unsuccessful task run with exit code: -1" in result.log


def test_a_canceled_task_is_killed_with_all_that_it_started(yard: Yard) -> None:
    run = yard.claim("for i in 1 2 3; do setsid sh -c 'sleep 1000' & done; echo started; wait")
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")
    (container,) = yard.containers()
    pids = [int(row[0]) for row in yard.daemon.top(container["Id"], ps_args="-o pid")["Processes"]]

    yard.bench.records.abort(run, "canceled")

    assert job.wait() == 0
    result = yard.bench.result(run)
    assert (result.outcome.reason, result.outcome.unreported) == ("canceled", True)
    assert "[taskcluster:error] Task was canceled by another entity." in result.log
    assert len(pids) == 4
    assert not any(yard.bench.is_alive(pid) for pid in pids)
    assert yard.left_over(run) == []


def test_a_worker_that_stops_says_so(yard: Yard) -> None:
    run = yard.claim("echo started; sleep 1000")
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "started")

    job.terminate()

    assert job.wait() == 0
    result = yard.bench.result(run)
    assert result.outcome.reason == "worker-shutdown"
    assert "[taskcluster:error] Task has been aborted prematurely. Reason: worker-shutdown" in result.log


def test_the_environment_is_the_tasks_but_for_reserved_names(yard: Yard) -> None:
    result = yard.run("env", env={"TASK_ID": "forged", "RUN_ID": "9", "MINE": "two\nlines", "TASK_GROUP_ID": "own"})

    lines = task_output(result)
    run = result.record.run
    assert {f"TASK_ID={run.task_id}", "RUN_ID=0", "MINE=two", "lines", "TASK_GROUP_ID=own"} <= set(lines)
    assert "TASKCLUSTER_WORKER_POOL=proj-x/linux" in lines
    assert "TASKCLUSTER_WORKER_TYPE=linux" in lines
    assert f"TASKCLUSTER_ROOT_URL={yard.purges.url}" in lines


def test_a_container_can_neither_gain_rights_nor_send_raw_packets(yard: Yard) -> None:
    result = yard.run("grep -E 'NoNewPrivs|CapBnd|^Seccomp:' /proc/self/status; ping -c 1 127.0.0.1; df -k /dev/shm")

    assert "NoNewPrivs:\t1" in task_output(result)
    assert "Seccomp:\t2" in task_output(result)
    (bounding,) = [int(line.split()[1], 16) for line in task_output(result) if line.startswith("CapBnd")]
    assert not bounding >> 13 & 1  # NET_RAW
    assert any(line.split()[1:2] == ["1757816"] for line in task_output(result))


def test_a_container_that_closes_its_terminal_is_waited_for(yard: Yard) -> None:
    result = yard.run("exec >/dev/null 2>&1 </dev/null; sleep 1; exit 5")

    assert "exit code: 5" in result.log


def test_two_runs_at_once_have_networks_of_their_own(yard: Yard) -> None:
    runs = [yard.claim("echo started; sleep 1000") for _ in range(2)]
    jobs = [yard.bench.start(run) for run in runs]
    for run in runs:
        yard.bench.wait_for_line(run, "started")

    networks = [list(each["NetworkSettings"]["Networks"]) for each in yard.containers()]
    for run in runs:
        yard.bench.records.abort(run, "canceled")

    assert [job.wait() for job in jobs] == [0, 0]
    assert [len(names) for names in networks] == [1, 1]
    assert networks[0] != networks[1]


def test_what_a_container_uses_is_told_and_kept_when_the_task_asks_for_it(yard: Yard) -> None:
    eat = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null; timeout 0.7 sh -c 'while :; do :; done'"

    result = yard.run(eat + "; true", features={"resourceMonitor": True})

    document = json.loads(result.content("public/monitoring/resources.json"))
    _, _, memory, cpu = zip(*document["samples"], strict=True)
    assert max(memory) > 40 << 20
    assert max(cpu) > 0.1
    assert "=== Task Finished ===" in result.log.partition("Average Available System Memory: ")[0]
    assert "Peak Task Memory Used: " in result.log


def test_nothing_of_the_kind_is_told_otherwise(yard: Yard) -> None:
    assert " Memory" not in yard.run("true").log
