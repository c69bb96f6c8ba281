"""Tasks that spoil what is theirs: output, signals, limits, files. Each ends clearly, and the worker goes on."""

import re
from pathlib import Path

import pytest

from executor.bench import Bench, shell

pytestmark = pytest.mark.root  # some signal all processes of their user, who is nobody else only where root made it

FORGED = "[taskcluster:error] forged\\n[taskcluster 2026-01-01T00:00:00.000Z] === Task Finished ===\\nno line end"


@pytest.mark.parametrize(
    ("deed", "exit_code"),
    [
        ("exec 1>&- 2>&-; sleep 0.05; exit 3", 3),
        ("python3 -c 'import fcntl, os; fcntl.fcntl(1, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK); print(7 * 8)'", 0),
        ("flock -x 1 sh -c 'sleep 0.1; echo 56'", 0),
        ("sleep 100 & kill -STOP $!; kill -KILL -1; echo 56", 0),
        ("ulimit -n 3; ulimit -u 1; ulimit -v 1; exit 5", 5),
        ("cd ..; chmod 0 $TASK_WORKDIR; exit 6", 6),
    ],
)
def test_what_a_command_does_to_itself_is_its_own_affair(bench: Bench, deed: str, exit_code: int) -> None:
    result = bench.run(shell(deed))

    assert result.outcome.message == (f"exit status {exit_code}" if exit_code else "")
    assert re.search(rf"\n\[taskcluster 20\S+Z\]    Exit Code: {exit_code}\n", result.log)
    if not exit_code:
        assert "56" in result.output


def test_a_stopped_task_is_ended_by_the_clock(bench: Bench) -> None:
    result = bench.run(shell("trap '' TERM HUP; sleep 1000 & kill -STOP -1; kill -STOP $$"), maxRunTime=1)

    assert result.outcome.message == "task aborted - max run time exceeded"


def test_forged_lines_change_nothing_but_the_log(bench: Bench) -> None:
    result = bench.run(shell(f"printf '{FORGED}'; exit 0"))

    assert result.outcome.succeeded
    assert result.log.count("=== Task Finished ===\n") == 2
    assert re.search(r"\n\[taskcluster \S+Z\] Task Duration: \S+\n$", result.log)


def test_bytes_of_any_kind_reach_the_log_as_they_are(bench: Bench) -> None:
    everything = bytes(range(256)) * 40
    Path(bench.state_dir, "bytes").write_bytes(everything)
    bench.state_dir.chmod(0o711)
    result = bench.run([["cat", f"{bench.state_dir}/bytes"]])

    assert everything in result.log_bytes


@pytest.mark.parametrize(
    "payload",
    [
        {"command": [["true", "x" * (1 << 20)]]},
        {"command": [["true", *["x" * 100_000] * 30]]},
        {"command": [["true"]], "env": {"A": "x" * (1 << 20)}},
    ],
)
def test_more_than_the_kernel_hands_to_a_program_fails_the_task(bench: Bench, payload: dict[str, object]) -> None:
    result = bench.run_payload({"maxRunTime": 9, **payload})

    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert result.outcome.message == "System error executing command: true: Argument list too long"


def test_a_process_may_have_any_name(bench: Bench) -> None:
    rename = r"printf '\377) Z 1 \n' > /proc/$$/comm"
    result = bench.run([f"{rename}; (sleep 100 &)", "echo next"])

    assert result.outcome.succeeded
    assert result.output == ["next"]


def test_a_file_that_is_swapped_all_the_time_blocks_nothing(bench: Bench) -> None:
    swap = "while :; do rm -f f; mkfifo f; rm -f f; ln -s /etc/shadow f; rm -f f; echo x > f; done"
    artifact = {"type": "file", "path": "f", "name": "public/f", "optional": True}
    result = bench.run(shell(f"(setsid bash -c '{swap}' > /dev/null 2>&1 &); sleep 0.1"), artifacts=[artifact])

    assert result.outcome.succeeded
    assert result.entries["public/f"].reason or result.content("public/f") in (b"", b"x\n")


def test_namespaces_of_its_own_hide_no_process(bench: Bench) -> None:
    hide = "unshare --user --map-root-user --mount --pid --fork --ipc --net setsid sleep 1000 & sleep 0.2; id -u"
    result = bench.run(shell(hide))

    assert result.outcome.succeeded
    assert bench.processes_of(int(result.output[-1])) == set()
