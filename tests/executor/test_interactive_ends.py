"""When interactive shells end, and what they outlive."""

import os

from executor.bench import Bench
from executor.holding import Holding, gone, pid_of
from taskward.core.shell import PROCESS_DIED, TASK_ENDED, Attach, Ended, Exited, Open, Refused
from taskward.executor.sweep import Sweep


def test_a_shell_that_is_not_wanted_any_more_is_hung_up(holding: Holding) -> None:
    shell = holding.shell()
    pid = pid_of(shell)
    shell.end()
    Bench.wait_until(lambda: gone(pid))


def test_a_shell_that_ignores_hanging_up_is_killed(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("trap '' HUP TERM\r")
    pid = pid_of(shell)
    shell.end()
    Bench.wait_until(lambda: gone(pid))


def test_a_shell_outlives_a_gateway_that_was_killed(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("kept=here\r")
    pid = pid_of(shell)
    session = shell.session
    shell.vanish()

    again = holding.shell(Attach(session))
    again.type("echo still $kept\r")
    assert "still here" in again.read_until("still here")
    assert pid_of(again) == pid


def test_a_shell_that_ended_while_nobody_listened_still_tells_its_exit_code(holding: Holding) -> None:
    shell = holding.shell()
    session, pid = shell.session, pid_of(shell)
    shell.type("sleep 0.2; echo last words; exit 5\r")
    shell.vanish()
    Bench.wait_until(lambda: gone(pid))

    again = holding.shell(Attach(session))
    assert "last words" in again.read_until("last words")
    assert again.told() == Exited(5)


def test_a_shell_waits_only_as_long_as_it_was_told(holding: Holding) -> None:
    shell = holding.shell(Open((), terminal=True, resume_s=0.2))
    session, pid = shell.session, pid_of(shell)
    shell.vanish()

    Bench.wait_until(lambda: gone(pid))
    assert isinstance(holding.shell(Attach(session)).answer, Refused)


def test_shells_end_with_the_task_and_are_told(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("sleep 1000 & disown\r")
    pid_of(shell)
    uid = holding.uid
    holding.end()

    assert shell.told() == Ended(TASK_ENDED)
    assert holding.job.wait() == 0
    assert holding.bench.result(holding.run).outcome.succeeded
    assert not holding.bench.processes_of(uid) or uid == os.getuid()
    assert not holding.socket.exists()


def test_shells_die_with_the_job_process(holding: Holding) -> None:
    shell = holding.shell()
    pid = pid_of(shell)
    holding.job.kill()

    assert shell.told() in (Ended(PROCESS_DIED), None)
    Bench.wait_until(lambda: gone(pid))
    holding.bench.start(holding.run).wait()
    assert holding.bench.result(holding.run).outcome.reason == "worker-shutdown"
    assert not holding.socket.exists()


def test_sockets_of_runs_that_are_over_are_swept(bench: Bench, shells_dir: None) -> None:
    left = bench.layout.shells / "AAAAAAAAQAaAAAAAAAAAAA-0.sock"
    left.touch()
    Sweep(bench.settings, bench.records).run()
    assert not left.exists()


def test_a_job_that_is_told_to_stop_ends_its_shells(holding: Holding) -> None:
    shell = holding.shell()
    pid_of(shell)
    holding.job.terminate()
    assert shell.told() == Ended(TASK_ENDED)
    holding.job.wait()
    assert holding.bench.result(holding.run).outcome.reason == "worker-shutdown"
