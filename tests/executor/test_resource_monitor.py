"""``features.resourceMonitor``: what a task used, told and kept; and a machine that runs short of memory."""

import json
import time
from pathlib import Path

import pytest

from executor.bench import Bench, Result, shell
from taskward.executor.engine import Usage
from taskward.executor.memory import MOST_SAMPLES, Machine, Pressure, Sample, Series, Stretch, size

ARTIFACT = "public/monitoring/resources.json"
LINES = ("Average Available System Memory", "Average System Memory Used", "Peak System Memory Used",
         "Total System Memory")  # fmt: skip
ALWAYS_SHORT = {"max_memory_usage_percent": 0.0, "min_available_memory_bytes": 1 << 60,
                "allowed_high_memory_duration_s": 0.3}  # fmt: skip
EAT = "python3 -c 'import time; x = bytearray(200 << 20); print(len(x), flush=True); time.sleep(1.2)'"


def sample(at_s: float, used: int, total: int = 1000, task: int | None = 10) -> Sample:
    return Sample(at_s, Machine(total, total - used), Usage(task, at_s))


def block(result: Result) -> list[str]:
    """What is told of the machine; of the task only if a sample saw it."""
    lines = [line.split("] ", 1)[1].strip() for line in result.log.splitlines() if " Memory" in line]
    return [line for line in lines if not line.startswith("Peak Task Memory")]


def test_each_command_is_followed_by_its_memory(bench: Bench) -> None:
    result = bench.run([["true"], ["false"]])

    assert [line.split(":")[0] for line in block(result)] == [*LINES, *LINES]
    assert result.log.index("Wall Time") < result.log.index("Average Avail") < result.log.index("Result: SUCCEEDED")


def test_an_aborted_command_is_followed_by_its_memory_too(bench: Bench) -> None:
    result = bench.run(shell("sleep 100"), maxRunTime=1)

    assert result.log.index("Command ABORTED after") < result.log.index("Average Available System Memory")
    assert len(block(result)) == len(LINES)


def test_a_task_can_do_without(bench: Bench) -> None:
    assert block(bench.run([["true"]], features={"resourceMonitor": False})) == []


def test_the_tasks_own_memory_and_processor_time_are_counted(bench: Bench) -> None:
    result = bench.run(shell(f"timeout 0.6 sh -c 'while :; do :; done'; {EAT}"), features={"resourceMonitor": True})

    document = json.loads(result.content(ARTIFACT))
    assert document["fields"] == ["seconds", "availableMemoryBytes", "taskMemoryBytes", "taskCpuSeconds"]
    seconds, available, memory, cpu = zip(*document["samples"], strict=True)
    assert list(seconds) == sorted(seconds)
    assert 200 << 20 < max(memory) < 400 << 20
    assert 0.3 < max(cpu) < 3
    assert 0 < min(available) < document["totalMemoryBytes"]
    assert result.entries[ARTIFACT].content_type == "application/json"


def test_no_artifact_unless_it_is_asked_for(bench: Bench) -> None:
    assert ARTIFACT not in bench.run([["true"]]).entries


def test_a_worker_that_has_it_off_runs_tasks_without_it(bench: Bench) -> None:
    bench.configure("executor", enable_resource_monitor=False)

    assert block(bench.run([["true"]])) == []
    assert bench.run([["true"]], features={"resourceMonitor": True}).outcome.reason == "malformed-payload"


def test_a_task_is_aborted_when_memory_stays_short(bench: Bench) -> None:
    bench.configure("executor", **ALWAYS_SHORT)
    began = time.monotonic()

    result = bench.run(shell("sleep 100"), maxRunTime=90)

    assert time.monotonic() - began < 10
    text = "usage above 0% and available memory less than 1073741824.00 GiB"
    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed")
    assert result.outcome.message == f"task aborted due to sustained memory {text}"
    assert f"Memory {text} persisted for over 0.3s!" in result.log
    assert "Aborting task..." in result.log


def test_protection_can_be_disabled(bench: Bench) -> None:
    bench.configure("executor", **ALWAYS_SHORT, disable_oom_protection=True)

    result = bench.run(shell("sleep 2.5"))

    assert result.outcome.succeeded
    assert result.log.count("OOM protections are disabled, continuing task...") == 1


def test_a_small_task_is_not_aborted_for_its_neighbours(bench: Bench) -> None:
    bench.configure("executor", **ALWAYS_SHORT)
    worker = type(bench.settings.worker)(**{**vars(bench.settings.worker), "capacity": 2})
    bench.settings = type(bench.settings)(**{**vars(bench.settings), "worker": worker})

    result = bench.run(shell("sleep 2.5"))

    assert result.outcome.succeeded
    assert "This task uses little of it, continuing task..." in result.log


def test_pressure_is_high_use_and_little_left_for_long() -> None:
    pressure = Pressure(90, 50, 5)

    assert str(pressure) == "usage above 90% and available memory less than 50.00 B"
    assert not pressure.is_lasting(sample(0, used=960))
    assert not pressure.is_lasting(sample(5, used=960))
    assert pressure.is_lasting(sample(5.5, used=960))
    assert not pressure.is_lasting(sample(6, used=920))
    assert not pressure.is_lasting(sample(7, used=960))


def test_a_task_that_was_over_before_it_was_seen_is_not_told_to_use_nothing() -> None:
    stretch = Stretch()
    stretch.add(sample(0, used=100, task=0))

    assert [*stretch.take()] == [*LINES]


def test_averages_begin_anew_with_each_command() -> None:
    stretch = Stretch()
    stretch.add(sample(0, used=100, task=30))
    stretch.add(sample(1, used=300, task=20))

    assert dict(stretch.take()) == dict(
        zip(
            (*LINES, "Peak Task Memory Used"), ("800.00 B", "200.00 B", "300.00 B", "1000.00 B", "30.00 B"), strict=True
        )
    )
    assert stretch.take() == {}


def test_a_week_of_samples_fits_and_keeps_its_peak() -> None:
    series, stretch = Series(), Stretch()
    for number in range(20_000):
        each = sample(number / 2, used=900 if number == 777 else 100)
        series.add(each)
        stretch.add(each)

    assert MOST_SAMPLES / 3 < len(series.samples) <= MOST_SAMPLES
    gaps = {later.at_s - earlier.at_s for earlier, later in zip(series.samples, series.samples[1:], strict=False)}
    assert len(gaps) == 1
    assert stretch.take()["Peak System Memory Used"] == "900.00 B"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0.00 B"), (1023, "1023.00 B"), (1536, "1.50 KiB"), (500 << 20, "500.00 MiB"), (5 << 30, "5.00 GiB")],
)
def test_sizes_are_written_with_two_decimals(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_the_machine_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:  40 kB\nBuffers: 0 kB\n")

    machine = Machine.read(tmp_path / "meminfo")

    assert (machine.total_bytes, machine.used_bytes) == (102_400, 61_440)


def test_a_machine_that_tells_nothing_spoils_no_task(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> Machine:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Machine, "read", nothing)

    result = bench.run([["true"]], features={"resourceMonitor": True})

    assert result.outcome.succeeded
    assert "cannot be read, nothing is monitored" in result.log
    assert not result.entries


def test_looking_costs_less_than_a_hundredth_of_a_processor(bench: Bench) -> None:
    run = bench.claim({"command": shell("for i in $(seq 300); do sleep 30 & done; wait"), "maxRunTime": 90})
    job = bench.start(run)
    bench.wait_for_line(run, "Executing command")
    uid = bench.layout.task_directory(run).stat().st_uid
    bench.wait_until(lambda: len(bench.processes_of(uid)) > 300)
    before = cpu_s(job.pid)
    time.sleep(3)  # what is measured
    used_s = cpu_s(job.pid) - before
    bench.records.abort(run, "canceled")
    assert job.wait() == 0

    assert used_s / 3 < 0.02  # the waiting itself included; the clock of the kernel ticks in hundredths


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
