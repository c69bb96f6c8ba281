import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from taskward.core.clock import format_time, parse_time


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "file", "path": path, **more}


def directory(path: str, **more: Any) -> dict[str, Any]:
    return {"type": "directory", "path": path, **more}


def collect(bench: Bench, script: str, *artifacts: dict[str, Any], **payload: Any) -> Result:
    return bench.run(shell(script), artifacts=list(artifacts), **payload)


def test_a_file_gets_into_the_outbox_as_it_is(bench: Bench) -> None:
    result = collect(bench, "printf hello > f.txt", file("f.txt", name="public/f.txt"))

    entry = result.entries["public/f.txt"]
    assert result.outcome.succeeded
    assert result.content("public/f.txt") == b"hello"
    assert (entry.size_bytes, entry.content_type, entry.content_encoding) == (5, "text/plain; charset=utf-8", "gzip")
    assert entry.expires == result.record.definition["expires"]
    assert (result.outbox / entry.file).stat().st_mode & 0o777 == 0o440
    assert (result.outbox / entry.file).stat().st_uid == os.geteuid()


def test_a_directory_gives_an_artifact_for_each_file_below_it(bench: Bench) -> None:
    result = collect(
        bench, "mkdir -p d/e d/empty; echo 1 > d/a.png; echo 2 > d/e/b.LOG", directory("d", name="public/")
    )

    assert {name: entry.content_type for name, entry in result.entries.items()} == {
        "public/a.png": "image/png",
        "public/e/b.LOG": "text/plain",
    }
    assert result.entries["public/a.png"].content_encoding == "identity"


@pytest.mark.parametrize(("path", "name"), [("./d/f", "d/f"), ("d//f", "d/f"), ("x/../d/f", "d/f"), ("d/./f", "d/f")])
def test_the_name_is_the_path_unless_it_is_given(bench: Bench, path: str, name: str) -> None:
    assert [*collect(bench, "mkdir d x; echo > d/f", file(path)).entries] == [name]


def test_what_the_payload_says_of_the_content_holds(bench: Bench) -> None:
    soon = format_time(datetime.now(UTC) + timedelta(hours=2))
    result = collect(
        bench,
        "echo > f.zip",
        file("f.zip", contentType="x/y", contentEncoding="gzip", expires=soon),
        file("f.zip", name="g"),
    )

    entry = result.entries["f.zip"]
    assert (entry.content_type, entry.content_encoding, entry.expires) == ("x/y", "gzip", soon)
    assert result.entries["g"].content_encoding == "identity"
    assert result.entries["g"].file == entry.file


def test_a_missing_file_fails_the_task_and_spoils_no_other(bench: Bench) -> None:
    result = collect(bench, "echo > here", file("gone"), file("here"))

    home = bench.layout.task_directory(result.record.run)
    text = f"file-missing-on-worker: Could not read file '{home}/gone'"
    assert (result.outcome.state, result.outcome.message) == ("failed", text)
    assert f"[taskcluster:error] TASK FAILURE during artifact upload: {text}\n" in result.log
    assert result.entries["gone"].reason == "file-missing-on-worker"
    assert result.content("here") == b"\n"


@pytest.mark.parametrize("request_", [file("gone", optional=True), directory("gone", optional=True)])
def test_a_missing_optional_artifact_fails_nothing(bench: Bench, request_: dict[str, Any]) -> None:
    result = collect(bench, "true", request_)

    assert result.outcome.succeeded
    assert result.entries["gone"].reason == "file-missing-on-worker"
    assert "gone" not in result.log


def test_artifacts_of_a_failed_task_are_kept(bench: Bench) -> None:
    result = collect(bench, "echo > f; exit 3", file("f"), file("gone"))

    assert result.outcome.message == "exit status 3"
    assert result.content("f") == b"\n"


def test_a_file_is_no_directory_and_the_reverse(bench: Bench) -> None:
    result = collect(bench, "mkdir d; echo > f", file("d", optional=True), directory("f"))

    assert "exists as a directory, not a file, on the worker" in result.entries["d"].message
    assert "exists as a file, not a directory, on the worker" in result.entries["f"].message
    assert {entry.reason for entry in result.entries.values()} == {"invalid-resource-on-worker"}


def test_one_name_for_two_contents_is_malformed(bench: Bench) -> None:
    result = collect(bench, "echo 1 > a; echo 22 > b", file("a", name="x"), file("b", name="x"))

    assert (result.outcome.state, result.outcome.reason) == ("exception", "malformed-payload")
    assert result.content("x") == b"1\n"
    link = f"{bench.settings.taskcluster.root_url}/api/queue/v1/task/{result.record.run.task_id}"
    assert result.log.count("more than once") == result.log.count(link) == 1
    assert result.log.endswith(
        f"artifact 'x' is listed more than once in task.payload.artifacts, with different content; see {link}\n"
    )


@pytest.mark.parametrize(("end", "more"), [("false", []), ("true", [file("gone", name="a")])])
def test_one_name_for_three_contents_is_told_once_of_a_task_that_failed_otherwise(
    bench: Bench, end: str, more: list[dict[str, Any]]
) -> None:
    twice = [file(n, name="x") for n in "abc"]
    result = collect(bench, f"for n in a b c; do echo $n > $n; done; {end}", *more, *twice)

    assert result.outcome.state == "failed"
    assert result.log.count("more than once") == 1


def test_a_name_that_readers_cannot_fetch_is_told(bench: Bench) -> None:
    result = collect(bench, "echo > f", file("f", name="public/100%"), file("f", name="private/100%"))

    assert result.outcome.succeeded
    assert [*result.entries] == ["public/100%", "private/100%"]
    assert [line.partition("] ")[2] for line in result.log.splitlines() if "fail to fetch" in line] == [
        "artifact public/100% is uploaded, but readers may fail to fetch it: the queue does not escape '%' in its "
        "links to public names; give it another name"
    ]


def test_one_file_reached_twice_is_one_artifact(bench: Bench) -> None:
    result = collect(bench, "mkdir d; echo > d/f", file("d/f"), directory("d"))

    assert result.outcome.succeeded
    assert [*result.entries] == ["d/f"]


def test_names_of_features_are_left_to_them(bench: Bench) -> None:
    script = (
        "mkdir -p public/logs; for n in live.log live_backing.log certified.log; do echo > public/logs/$n; done; "
        "for n in chain-of-trust.json provenance.intoto.json logs/certificate.json.gpg mine; do echo > public/$n; done"
    )
    result = collect(bench, script, directory("public"), features={"chainOfTrust": True})

    assert result.outcome.succeeded
    assert {*result.entries} == {"public/mine", "public/logs/certified.log"}
    warning = "Not uploading artifact public/chain-of-trust.json found in task.payload.artifacts section, since this "
    assert warning + "will be uploaded later by Chain of Trust" in result.log


def test_names_of_features_that_are_off_are_free(bench: Bench) -> None:
    assert [*collect(bench, "mkdir public; echo > public/chain-of-trust.json", directory("public")).entries] == [
        "public/chain-of-trust.json"
    ]


def test_the_certified_log_is_the_log_so_far(bench: Bench) -> None:
    result = bench.run(shell("echo hello; exit 2"), features={"chainOfTrust": True, "generateCertificate": True})

    certified = result.content("public/logs/certified.log").decode()
    assert "hello\n" in certified
    assert result.log.startswith(certified)
    assert (result.index.certify, result.index.certificate) == (True, True)


def test_a_symbolic_link_within_the_task_directory_is_followed(bench: Bench) -> None:
    result = collect(bench, "mkdir d; echo in > d/f; ln -s $PWD/d/f abs; ln -s d/f rel", file("abs"), file("rel"))

    assert result.outcome.succeeded
    assert result.content("abs") == result.content("rel") == b"in\n"


@pytest.mark.parametrize(
    "target", ["/etc/shadow", "../../token", "/proc/self/environ", "/dev/zero", "/sys/kernel/notes"]
)
def test_a_symbolic_link_to_what_is_not_the_tasks_to_give_is_refused(bench: Bench, target: str) -> None:
    (bench.state_dir / "token").write_text("secret")
    result = collect(bench, f"mkdir d; ln -s {target} d/link", directory("d"), file("d/link", name="link"))

    assert result.outcome.state == "failed"
    assert all(entry.reason for entry in result.entries.values())
    assert {path.name for path in result.outbox.iterdir()} == {"index.json", "plan.json"}


@pytest.mark.root
def test_a_symbolic_link_leads_wherever_an_absolute_path_may(bench: Bench) -> None:
    """Build trees are full of links to tools of the system."""
    result = collect(bench, "mkdir d; ln -s /etc/passwd d/link", directory("d"))

    assert result.outcome.succeeded
    assert b"root" in result.content("d/link")


def test_a_directory_that_may_be_listed_but_not_entered_is_told_file_by_file(bench: Bench) -> None:
    result = collect(bench, "mkdir d d/e; echo > d/f; ln -s f d/l; chmod 400 d", directory("d"))

    if os.geteuid() == 0:
        assert {entry.reason for entry in result.entries.values()} == {"file-not-readable-on-worker"}
        assert {*result.entries} >= {"d/f", "d/l"}
    assert result.outcome.state == "failed"


@pytest.mark.parametrize("path", ["/proc", "/proc/self", "/sys/kernel", "/", "{state}/.."])
def test_neither_the_kernels_file_systems_nor_what_lies_around_the_worker_is_walked(bench: Bench, path: str) -> None:
    result = collect(bench, "true", directory(path.format(state=bench.state_dir), name="x", optional=True))

    assert result.outcome.succeeded
    assert {name: entry.reason for name, entry in result.entries.items()} == {"x": "invalid-resource-on-worker"}


@pytest.mark.parametrize("path", ["../../token", "..", "d/../../x"])
def test_a_path_out_of_the_task_directory_is_refused(bench: Bench, path: str) -> None:
    (bench.state_dir / "token").write_text("secret")
    result = collect(bench, "true", file(path, name="x"))

    assert result.entries["x"].reason == "invalid-resource-on-worker"
    assert result.outcome.state == "failed"


def test_a_directory_behind_a_link_is_not_entered(bench: Bench) -> None:
    result = collect(bench, "mkdir d e; echo > e/f; ln -s ../e d/e; ln -s .. d/loop", directory("d"))

    assert {*result.entries} == {"d/e", "d/loop"}
    assert all("symbolic link to a directory" in entry.message for entry in result.entries.values())


def test_special_files_are_refused_and_block_nothing(bench: Bench) -> None:
    make = "mkdir d; mkfifo d/pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/socket\")'"
    result = collect(bench, make, directory("d"), file("d/pipe", name="p"))

    assert {entry.reason for entry in result.entries.values()} == {"invalid-resource-on-worker"}
    assert "is a named pipe, not a regular file" in result.entries["p"].message


def test_a_name_that_the_queue_cannot_bear_is_refused_before_anything_runs(bench: Bench) -> None:
    """As generic-worker does since its pull request 9098; before, its process died when the task was over."""
    result = collect(bench, "echo never; echo > f", file("f", name="a/../b", optional=True), file("f", name="good"))

    assert (result.outcome.state, result.outcome.reason) == ("exception", "malformed-payload")
    assert "- artifacts.0.name: no artifact can be named 'a/../b': it has '.' or '..' as a part\n" in result.log
    assert (result.output, result.entries) == ([], {})


def test_file_names_that_the_queue_cannot_bear_are_refused(bench: Bench) -> None:
    script = "mkdir d; cd d; echo > $'new\\nline'; echo > $'\\xff'; p=x; for i in 1 2 3 4 5; do p=$p/" + "d" * 250
    result = collect(bench, script + "; done; mkdir -p $p; echo > $p/f; echo > ok", directory("d"))

    assert result.outcome.state == "failed"
    assert [*result.entries] == ["d/ok"]
    assert result.log.count("TASK FAILURE during artifact upload: invalid-resource-on-worker: no artifact can") == 3
    assert r'no artifact can be named "d/\xff"' in result.log
    assert all(line.isprintable() for line in result.log.split("\n"))


def test_more_artifacts_than_allowed_fail_the_task(bench: Bench) -> None:
    bench.configure("executor", max_artifacts=3)
    result = collect(bench, "mkdir d; touch d/{1..9}", directory("d"))

    assert "the task has more than 3 artifacts" in result.outcome.message
    assert len(result.entries) == 3


def test_a_file_of_holes_counts_with_all_its_bytes(bench: Bench) -> None:
    bench.configure("executor", max_artifacts_bytes=1 << 20)
    script = "truncate -s 100G sparse; head -c 1048570 /dev/zero > large; ln large again; echo > small"
    result = collect(bench, script, *map(file, ("sparse", "large", "again", "small")))

    assert [entry.reason for entry in result.entries.values()] == ["too-large-file-on-worker", "", "", ""]
    assert "has 107374182400 bytes; with it the task's artifacts would have more than 1048576" in result.outcome.message


def test_a_file_of_holes_that_has_to_be_copied_keeps_them(bench: Bench) -> None:
    """One with a second name cannot be had by renaming."""
    script = "printf head > sparse; truncate -s 8G sparse; printf tail >> sparse; truncate -s 9G sparse; ln sparse b"
    result = collect(bench, script, file("sparse"))

    assert result.outcome.succeeded
    taken = result.outbox / result.entries["sparse"].file
    assert (taken.stat().st_size, taken.stat().st_blocks < 1000) == (9 << 30, True)
    with taken.open("rb") as stream:
        assert stream.read(5) == b"head\0"
        stream.seek((8 << 30) - 1)
        assert stream.read(6) == b"\0tail\0"


def test_ten_thousand_files_are_collected_quickly(bench: Bench) -> None:
    script = "mkdir d; cd d; for i in {1..100}; do mkdir $i; printf x | tee $i/{1..100} > /dev/null; done"
    result = collect(bench, script, directory("d"))

    assert result.outcome.succeeded
    assert len(result.entries) == 10_000
    assert len(result.index.batches) == 4


def test_the_most_extreme_expiry_dates_are_the_tasks_own(bench: Bench) -> None:
    run = bench.claim({"command": [["true"]], "maxRunTime": 9})
    record = bench.records.read(run)
    assert record is not None
    late = format_time(parse_time(record.definition["expires"]) + timedelta(seconds=10))
    early = format_time(parse_time(record.definition["deadline"]) - timedelta(seconds=10))

    for when, text in ((late, "expires after task expiry"), (early, "expires before task deadline")):
        payload = {"command": [["echo", "never"]], "maxRunTime": 9, "artifacts": [file("f", expires=when)]}
        result = bench.run_payload(payload, **{k: record.definition[k] for k in ("expires", "deadline")})
        assert result.outcome.reason == "malformed-payload"
        assert text in result.log
        assert re.search(r"\(\d{4}-\d\d-\d\dT[0-9:.]+Z is (before|after) \d{4}-\d\d-\d\dT[0-9:.]+Z\)", result.log)
        assert result.output == []


@pytest.mark.root
def test_absolute_paths_are_read_with_the_tasks_rights(bench: Bench, tmp_path: Path) -> None:
    (bench.state_dir / "token").write_text("secret")
    result = collect(
        bench, "true",
        file("/etc/passwd", name="passwd"), file("/etc/shadow", name="shadow"),
        file(f"{bench.state_dir}/token", name="token"),
    )  # fmt: skip

    assert b"root" in result.content("passwd")
    assert Path("/etc/passwd").exists()
    assert result.entries["shadow"].reason == "file-not-readable-on-worker"
    assert result.entries["token"].reason == "invalid-resource-on-worker"


@pytest.mark.root
def test_unreadable_files_are_said_to_be_so(bench: Bench) -> None:
    result = collect(bench, "mkdir d d/no; echo > d/f; chmod 0 d/f d/no", directory("d"))

    assert {entry.reason for entry in result.entries.values()} == {"file-not-readable-on-worker"}
    assert result.outcome.state == "failed"
