import re
import threading
from pathlib import Path

import pytest

from taskward.core.metrics import METRICS, Metrics, keys, lines, series


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "uploader-0.prom"


def values(path: Path, role: str = "uploader") -> dict[tuple[str, str], float]:
    return series(role, path.read_text())


def test_every_series_is_there_before_anything_was_counted(path: Path) -> None:
    Metrics("uploader", path).write()
    assert values(path) == dict.fromkeys(keys("uploader"), 0)


def test_what_is_added_is_written_with_the_next_write(path: Path) -> None:
    metrics = Metrics("uploader", path)
    metrics.write()
    metrics.add("bytes_total", 7)
    assert values(path)["bytes_total", ""] == 0
    metrics.count("seconds_total", 0.25)
    assert (values(path)["bytes_total", ""], values(path)["seconds_total", ""]) == (7, 0.25)
    metrics.write()
    assert values(path)["bytes_total", ""] == 7


def test_counters_outlive_the_process_and_gauges_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_PROCESS_NAME", "executor-1")
    (tmp_path / "metrics/executor").mkdir(parents=True)
    first = Metrics.of_process("executor", tmp_path)
    first.set("busy", 1)
    first.count("runs_total", label="failed")
    Metrics.of_process("executor", tmp_path)
    found = values(tmp_path / "metrics/executor/executor-1.prom", "executor")
    assert (found["runs_total", "failed"], found["busy", ""]) == (1, 0)


def test_a_name_from_outside_stays_a_name_in_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_PROCESS_NAME", "../../x/" + "y" * 200)
    (tmp_path / "metrics/claimer").mkdir(parents=True)
    Metrics.of_process("claimer", tmp_path)
    (only,) = (tmp_path / "metrics/claimer").iterdir()
    assert re.fullmatch(r"[A-Za-z0-9_-]{64}\.prom", only.name)


def test_threads_lose_no_count(path: Path) -> None:
    metrics = Metrics("uploader", path)

    def work() -> None:
        for _ in range(50):
            metrics.count("files_total")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(path)["files_total", ""] == 200


def test_a_spoiled_file_is_begun_anew(path: Path) -> None:
    path.write_text("taskward_uploader_files_total many\n")
    Metrics("uploader", path).count("files_total")
    assert values(path)["files_total", ""] == 1


def test_a_place_that_is_not_there_costs_the_counts_and_nothing_else(tmp_path: Path) -> None:
    Metrics("uploader", tmp_path / "none/x.prom").count("files_total")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("role", METRICS)
def test_what_is_written_is_what_is_read(role: str) -> None:
    numbers = {key: number + 0.5 for number, key in enumerate(keys(role))}
    assert series(role, "\n".join(lines(role, numbers))) == numbers


@pytest.mark.parametrize(
    "line",
    [
        "taskward_claimer_claims_total 1",
        "taskward_uploader_unknown_total 1",
        "files_total 1",
        'taskward_uploader_files_total{process="executor"} 1',
        "taskward_uploader_files_total -1",
        "taskward_uploader_files_total NaN",
        "taskward_uploader_files_total 1 1700000000000",
        "# HELP taskward_uploader_files_total mine",
        "taskward_uploader_files_total " + "9" * 30,
        "up 0",
    ],
)
def test_a_process_speaks_for_itself_only(line: str) -> None:
    with pytest.raises(ValueError, match="not a series of uploader"):
        series("uploader", line)
