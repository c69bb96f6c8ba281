"""What is left of a remote desktop, and until when."""

import os
import signal

import pytest

from executor.bench import Bench
from executor.desk import NAME, NEEDS, Desk, free_slots, offer, program, uid_of
from simulators.rdp import size_of_display
from taskward.core.retention import retained

pytestmark = NEEDS


@pytest.fixture
def desks(bench: Bench) -> Bench:
    offer(bench)
    return bench


def test_everything_of_the_commands_is_dead_before_artifacts_are_collected(desks: Bench) -> None:
    desk = Desk.open(desks)
    desk.wait_for_session()
    before = desks.processes_of(uid_of(desk))

    desk.finish()
    desk.wait_for_session()

    assert before
    assert not before & desks.processes_of(uid_of(desk))
    desk.end()


def test_a_run_that_is_retained_is_left_alone_and_takes_its_slot(desks: Bench) -> None:
    desk = Desk.open(desks)
    desk.finish()
    desks.records.resolved(desk.run)
    desk.wait_for_session()

    desks.sweep()

    assert size_of_display(desk.environment) == "1280x800"
    assert list(retained(desks.layout)) == [desk.run]
    assert free_slots(desks) == 0
    desk.end()
    assert free_slots(desks) == 1
    assert not retained(desks.layout)


def test_the_retention_ends_by_itself_or_with_its_x_server(desks: Bench) -> None:
    offer(desks, rdp_retention_s=1)
    by_time = Desk.open(desks)
    by_time.finish()
    assert by_time.job.wait() == 0

    offer(desks)
    by_person = Desk.open(desks)
    by_person.finish()
    by_person.wait_for_session()
    server = next(pid for pid in desks.processes_of(uid_of(by_person)) if program(pid) == "Xvnc")
    os.kill(server, signal.SIGKILL)
    assert by_person.job.wait() == 0
    assert not by_person.home.exists()


def test_a_process_that_dies_retaining_leaves_nothing_after_the_next_sweep(desks: Bench) -> None:
    desk = Desk.open(desks)
    desk.finish()
    desks.records.resolved(desk.run)
    desk.wait_for_session()
    uid = uid_of(desk)

    desk.job.kill()
    desks.sweep()

    assert desks.processes_of(uid) == set()
    assert not desk.home.exists()
    assert not desks.layout.desktop(desk.run).exists()
    assert not list(desks.layout.locks("retained").iterdir())


def test_a_process_that_dies_during_the_task_retains_nothing_and_the_artifact_stays(desks: Bench) -> None:
    desk = Desk.open(desks)
    desk.job.kill()

    assert desks.start(desk.run).wait() == 0

    result = desks.result(desk.run)
    assert result.outcome.reason == "worker-shutdown"
    assert [entry.name for entry in result.index.entries] == [NAME]
    assert not desk.home.exists()


@pytest.mark.parametrize("reason", ["worker-shutdown", "canceled"])
def test_a_run_that_is_aborted_is_not_retained(desks: Bench, reason: str) -> None:
    desk = Desk.open(desks)

    desks.records.abort(desk.run, reason)

    assert desk.job.wait() == 0
    assert not desk.home.exists()
