import os
import re

import pytest

from executor.bench import Bench, shell


def test_a_command_that_succeeds_completes_the_run(bench: Bench) -> None:
    result = bench.run([["true"]])

    assert result.outcome.succeeded
    assert result.record.phase == "finishing"
    assert (result.log_directory / "done").exists()


def test_the_log_has_the_lines_that_other_programs_read(bench: Bench) -> None:
    log = bench.run([["echo", "a b"]]).log

    stamp = r"\[taskcluster \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "
    assert re.search(stamp + r"Worker Type \(proj-x/linux\) settings:\n", log)
    assert re.search(stamp + r"Task ID: \S{22}\n" + stamp + "=== Task Starting ===\n", log)
    assert re.search(stamp + "Executing command 0: echo 'a b'\na b\n", log)
    block = [
        "   Exit Code: 0",
        r"   User Time: \S+s",
        r" Kernel Time: \S+s",
        r"   Wall Time: \S+s",
        r"Average Available System Memory: \d+\.\d\d [KMG]iB",
        r"Average System Memory Used: \d+\.\d\d [KMG]iB",
        r"Peak System Memory Used: \d+\.\d\d [KMG]iB",
        r"Total System Memory: \d+\.\d\d [KMG]iB",
    ]
    task_memory = rf"(?:{stamp}Peak Task Memory Used: \d+\.\d\d [KMG]iB\n)?"  # if it was seen
    result = task_memory + stamp + "      Result: SUCCEEDED\n"
    assert re.search("\n".join(stamp + line for line in block) + "\n" + result, log)
    assert re.search(stamp + "=== Task Finished ===\n" + stamp + r"Task Duration: \S+s\n$", log)


def test_a_failing_command_fails_the_run_and_ends_it(bench: Bench) -> None:
    result = bench.run([*shell("exit 7"), ["echo", "never"]])

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert "never" not in result.output
    assert result.log.endswith("[taskcluster:error] exit status 7\n")


def test_an_exit_code_that_is_listed_is_intermittent(bench: Bench) -> None:
    result = bench.run(shell("exit 7"), onExitStatus={"retry": [3, 7]})

    assert (result.outcome.state, result.outcome.reason) == ("exception", "intermittent-task")
    assert "exit code 7 found in task payload.onExitStatus list" in result.log


def test_a_signal_is_exit_code_minus_one(bench: Bench) -> None:
    result = bench.run(shell("kill -SEGV $$"))

    assert result.outcome.state == "failed"
    assert "Exit Code: -1" in result.log
    assert "signal: segmentation fault" in result.log


@pytest.mark.parametrize("argv", [["no-such-program"], ["/etc/passwd"], ["./missing"], [""]])
def test_what_cannot_be_executed_fails_the_task(bench: Bench, argv: list[str]) -> None:
    result = bench.run([argv])

    assert result.outcome.state == "failed"
    assert "Z] System error executing command: " in result.log


def test_a_program_is_looked_up_in_the_tasks_own_path(bench: Bench) -> None:
    make = "mkdir tools; printf '#!/bin/sh\\necho mine' > tools/own; chmod +x tools/own"

    assert bench.run([*shell(make), ["own"]], env={"PATH": "tools:/usr/bin:/bin"}).output == ["mine"]


def test_the_environment_is_ours_and_the_payloads_and_nothing_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "x")
    bench.configure("executor", worker_location='{"cloud":"x"}', instance_type="big")

    result = bench.run([["env"]], env={"MINE": "1", "TASK_ID": "forged", "USER": "me"})

    variables = dict(line.split("=", 1) for line in result.output)
    home = str(bench.layout.task_directory(result.record.run))
    assert variables == {
        "HOME": home,
        "USER": "me",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "MINE": "1",
        "TASK_ID": result.record.run.task_id,
        "RUN_ID": "0",
        "TASK_WORKDIR": home,
        "TASK_GROUP_ID": result.record.definition["taskGroupId"],
        "TASKCLUSTER_ROOT_URL": "https://tc.example.com",
        "TASKCLUSTER_WORKER_LOCATION": '{"cloud":"x"}',
        "TASKCLUSTER_INSTANCE_TYPE": "big",
    }


def test_a_command_has_no_descriptor_but_the_three(bench: Bench) -> None:
    assert bench.run(shell("ls /proc/$$/fd; readlink /proc/$$/fd/0; ulimit -c; umask")).output == [
        "0", "1", "2", "/dev/null", "0", "0022",
    ]  # fmt: skip


def test_background_processes_live_on_between_commands_and_die_at_the_end(bench: Bench) -> None:
    result = bench.run([*shell("sleep 1000 & echo $! > pid"), *shell("kill -0 $(cat pid) && echo alive; cat pid")])

    assert result.output[0] == "alive"
    assert not bench.is_alive(int(result.output[1]))


def test_script_lines_share_variables_functions_and_directory(bench: Bench) -> None:
    result = bench.run(
        ["mkdir sub; cd sub", "plain=1; export EXPORTED=2", "f() { echo $plain $EXPORTED; }", "f; basename $PWD"]
    )

    assert result.outcome.succeeded
    assert result.output == ["1 2", "sub"]
    assert result.log.count("Result: SUCCEEDED") == 4
    assert "Executing command 3: f; basename $PWD" in result.log


def test_the_first_script_line_that_fails_ends_the_task(bench: Bench) -> None:
    result = bench.run(["echo one", "(exit 4)", "echo never"])

    assert result.outcome.message == "exit status 4"
    assert result.output == ["one"]


@pytest.mark.parametrize(
    ("lines", "output"),
    [
        (["echo a; exit 0", "echo never"], ["a"]),
        (["trap 'echo bye' EXIT", "echo a"], ["a", "bye"]),
        (["x='two\nlines'", 'echo "$x"'], ["two", "lines"]),
        (["set -eu", "echo a"], ["a"]),
        (["cat", "echo a"], ["a"]),
        (["ls /proc/self/fd | wc -l"], ["4"]),
        ([f"x={'y' * 300_000}", "echo ${#x}"], ["300000"]),
        (["exec echo a", "echo never"], ["a"]),
    ],
)
def test_a_script_behaves_as_one_shell(bench: Bench, lines: list[str], output: list[str]) -> None:
    result = bench.run(lines)

    assert result.outcome.succeeded
    assert result.output[-len(output) :] == output


@pytest.mark.parametrize(("lines", "code"), [(["exit 3"], 3), (["set -e; false; echo no"], 1), (["if"], 2)])
def test_a_script_that_ends_itself_with_an_error_fails(bench: Bench, lines: list[str], code: int) -> None:
    result = bench.run([*lines, "echo never"])

    assert result.outcome.message in (f"exit status {code}", "exit status 1")
    assert "never" not in result.output


@pytest.mark.parametrize("trick", ["read() { return 1; }", "exec 5<&- 3<&- 4>&-; read() { return 1; }", "exit 0"])
def test_a_script_that_leaves_before_its_end_is_over(bench: Bench, trick: str) -> None:
    result = bench.run([trick, "echo never", "echo neither"])

    assert result.outcome.succeeded
    assert "of its lines were not executed" in result.log
    assert result.output == []


def test_a_script_has_its_shell_whatever_its_path_is(bench: Bench) -> None:
    assert bench.run(["echo a"], env={"PATH": "/nowhere"}).output == ["a"]


@pytest.mark.parametrize("next_free", range(190, 206))
def test_a_script_runs_whatever_numbers_the_workers_files_have(bench: Bench, next_free: int) -> None:
    held = [os.open("/dev/null", os.O_RDONLY)]
    while held[-1] < next_free - 1:
        held.append(os.open("/dev/null", os.O_RDONLY))
    try:
        result = bench.run(["X=carried", "echo $X"])
    finally:
        for fd in held:
            os.close(fd)
    assert result.outcome.succeeded
    assert "carried" in result.output
