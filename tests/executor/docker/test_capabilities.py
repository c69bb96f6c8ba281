"""What a container may have beyond the usual, and what it may not use up."""

import os
import stat
import time
from pathlib import Path

import pytest

from executor.docker.yard import Yard, task_output
from taskward.executor.docker.features import capabilities
from taskward.executor.docker.features.devices import ContainerDevices

pytestmark = pytest.mark.root
DEVICES = ("docker-worker:capability:device:*",)


def test_seccomp_can_be_switched_off_where_the_worker_allows_it(yard: Yard) -> None:
    yard.use({"allow_disable_seccomp": True})
    result = yard.run(
        "grep ^Seccomp: /proc/self/status",
        ["docker-worker:capability:disableSeccomp"],
        capabilities={"disableSeccomp": True},
    )
    yard.use()

    assert task_output(result) == ["Seccomp:\t0"]


def test_ptrace_is_a_capability_and_a_profile_where_the_kernel_has_them(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled = tmp_path / "enabled"
    enabled.write_text("Y\n")
    monkeypatch.setattr(capabilities, "APPARMOR", enabled)
    yard.use({"apparmor_profile": "docker-ptrace"})
    run = yard.bench.claim(
        yard.payload("grep CapBnd /proc/self/status; sleep 1000", features={"allowPtrace": True}),
        scopes=["docker-worker:feature:allowPtrace"],
    )
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "CapBnd")
    (container,) = yard.containers()
    options = yard.daemon.inspect_container(container["Id"])["HostConfig"]["SecurityOpt"]
    yard.bench.records.abort(run, "canceled")
    assert job.wait() == 0
    yard.use()

    assert "apparmor=docker-ptrace" in options
    (bounding,) = [int(line.split()[1], 16) for line in task_output(yard.bench.result(run)) if "CapBnd" in line]
    assert bounding >> 19 & 1  # SYS_PTRACE


def test_shared_memory_of_the_host_is_seen(yard: Yard) -> None:
    mark = Path(f"/dev/shm/tw-{os.getpid()}")
    mark.write_text("seen\n")
    try:
        result = yard.run(f"cat {mark}", DEVICES, capabilities={"devices": {"hostSharedMemory": True}})
    finally:
        mark.unlink()

    assert task_output(result) == ["seen"]


def test_a_camera_is_for_one_task_at_a_time(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = tmp_path / "video7"
    os.mknod(camera, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    monkeypatch.setattr(ContainerDevices, "directory", tmp_path)
    wanted = {"capabilities": {"devices": {"loopbackVideo": True}}}
    first = yard.bench.claim(yard.payload("echo has; sleep 1000", **wanted), scopes=list(DEVICES))
    job = yard.bench.start(first)
    yard.bench.wait_for_line(first, "has")
    second = yard.bench.claim(
        yard.payload("stat -c '%F %t,%T' $TASKCLUSTER_VIDEO_DEVICE", **wanted), scopes=list(DEVICES)
    )
    waiting = yard.bench.start(second)
    yard.bench.wait_for_line(second, "exists in the cache")
    assert "=== Task Starting ===" not in yard.bench.result(second).log

    yard.bench.records.abort(first, "canceled")

    assert (job.wait(), waiting.wait()) == (0, 0)
    assert task_output(yard.bench.result(second)) == ["character special file 1,3"]


def test_a_sound_card_that_is_not_there_is_told(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContainerDevices, "directory", tmp_path)
    result = yard.run("true", DEVICES, capabilities={"devices": {"loopbackAudio": True, "kvm": True}})

    assert (result.outcome.state, result.outcome.reason) == ("exception", "resource-unavailable")
    assert f"this machine has no {tmp_path}/kvm" in result.log


def test_a_container_that_eats_memory_is_told_so(yard: Yard) -> None:
    yard.use(executor={"memory_limit_bytes": 32 << 20})
    result = yard.run("tail /dev/zero; echo survived; exit 9")
    yard.use()

    assert result.outcome.state == "failed"
    assert "[taskcluster:error] Out of memory: the kernel killed" in result.log


def test_memory_that_ran_out_is_told_to_a_task_that_succeeds_all_the_same(yard: Yard) -> None:
    yard.use(executor={"memory_limit_bytes": 32 << 20})
    result = yard.run("tail /dev/zero; echo survived")
    yard.use()

    assert result.outcome.succeeded
    assert "Warning: Out of memory: the kernel killed 1 of the task's processes" in result.log
    assert "Successful task run with exit code: 0" in result.log


def test_no_container_can_have_all_processes_of_the_machine(yard: Yard) -> None:
    run = yard.claim("echo begun; sleep 1000")
    job = yard.bench.start(run)
    yard.bench.wait_for_line(run, "begun")
    (container,) = yard.containers()

    limit = yard.daemon.inspect_container(container["Id"])["HostConfig"]["PidsLimit"]
    yard.bench.records.abort(run, "canceled")

    assert 1000 < limit <= int(Path("/proc/sys/kernel/pid_max").read_text()) // 4
    assert job.wait() == 0


def test_a_container_that_forks_without_end_is_stopped_by_its_limit(yard: Yard) -> None:
    yard.use(executor={"pids_limit": 30})
    result = yard.run("i=0; while [ $i -lt 60 ]; do sleep 100 & i=$((i+1)); done", maxRunTime=5)
    yard.use()

    assert result.outcome.state == "failed"
    assert "can't fork" in result.log
    assert yard.left_over(result.record.run) == []


def test_a_container_that_fills_its_disk_is_ended(yard: Yard) -> None:
    yard.use({"disk_limit_bytes": 8 << 20})
    began = time.monotonic()
    result = yard.run("dd if=/dev/zero of=/big bs=1M count=32; sleep 1000")
    yard.use()

    assert time.monotonic() - began < 20
    assert result.outcome.state == "failed"
    assert "8388608 is the most that is allowed" in result.log


def test_a_task_can_have_a_processor_of_its_own(yard: Yard) -> None:
    yard.use({"restrict_cpu": True, "cpus": 0.5})
    result = yard.run("grep Cpus_allowed_list /proc/self/status; nproc")
    yard.use()

    assert task_output(result)[1] == "1"


def test_a_log_that_grows_without_end_stops_the_container(yard: Yard) -> None:
    yard.use(executor={"max_log_bytes": 1 << 20})
    result = yard.run("yes")
    yard.use()

    assert result.outcome.state == "failed"
    assert "its log is larger than 1048576 bytes" in result.log
    assert result.log.splitlines()[-1].startswith("[taskcluster ")
