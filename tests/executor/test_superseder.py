"""``payload.supersederUrl``: a task that is superseded is not run; one whose superseder lies is."""

import json
import os
import time
from typing import Any

import pytest
import slugid

from executor.bench import Bench, Result, shell
from simulators.superseder import Behaviour, Request, Superseder, answers
from taskward.core.record import Records
from taskward.executor.superseding import NoAnswer, is_askable, newest

NEWER = "AAAAAAAAQAaAAAAAAAAAAA"
ME = "BAAAAAAAQAaAAAAAAAAAAA"


def ask(bench: Bench, behaviour: Behaviour, **payload: Any) -> Result:
    with Superseder(behaviour) as service:
        result = bench.run(shell("echo ran"), supersederUrl=service.url, **payload)
        assert set(service.asked) <= {result.record.run.task_id}
        return result


def test_a_superseded_task_is_not_run_and_names_its_successor(bench: Bench) -> None:
    result = ask(bench, answers(lambda me: {"supersedes": [NEWER, me]}), artifacts=[{"type": "file", "path": "x"}])

    assert (result.outcome.state, result.outcome.reason) == ("exception", "superseded")
    assert "ran" not in result.output
    text = f"Task {result.record.run.task_id} has been superseded by task {NEWER}"
    assert f"[taskcluster:error] {text}\n" in result.log
    (entry,) = result.entries.values()
    assert (entry.name, entry.content_type, entry.content_encoding) == (
        "public/superseded-by.json", "application/json", "gzip",
    )  # fmt: skip
    assert json.loads(result.content(entry.name)) == {"taskId": NEWER}


@pytest.mark.parametrize("others", [[], [NEWER]])
def test_the_newest_task_is_run(bench: Bench, others: list[str]) -> None:
    result = ask(bench, answers(lambda me: {"supersedes": [me, *others]}))

    assert result.outcome.succeeded
    assert "ran" in result.output
    assert "supersede" not in result.log
    assert not result.entries


@pytest.mark.parametrize(
    ("behaviour", "text"),
    [
        (answers(lambda _: {"supersedes": []}), "the list is empty"),
        (answers(lambda _: {"supersedes": [NEWER]}), "the list does not contain"),
        (answers(lambda _: {"supersedes": NEWER}), "not of the form"),
        (answers(lambda me: {"supersedes": [1, me]}), "not of the form"),
        (answers(lambda me: {"supersedes": ["../../x", me]}), "not of the form"),
        (answers(lambda me: [NEWER, me]), "not of the form"),
        (answers(lambda _: None), "not of the form"),
        (answers(lambda me: {"supersedes": {NEWER: 1, me: 2}}), "not of the form"),
        (answers(lambda me: {"supersedes": [f"{NEWER}\n", me]}), "not of the form"),
        (answers(lambda me: {"supersedes": [NEWER, me, None]}), "not of the form"),
        (answers(lambda me: {"supersedes": [NEWER, me.swapcase()]}), "not"),
        (answers(lambda me: {"Supersedes": [NEWER, me]}), "not of the form"),
        (answers(lambda _: b"<html>"), "Expecting value"),
        (answers(lambda _: b"\x80\x81"), "decode"),
        (answers(lambda _: b"[" * 500_000), "recursion"),
        (answers(lambda _: b" " * 10_000_000), "more than 1048576 bytes"),
        (answers(lambda _: b"", 302, Location="http://127.0.0.1:1/"), "status 302"),
        (answers(lambda _: b"", 404), "status 404"),
        (answers(lambda _: b"", 503), "status 503"),
    ],
)
def test_a_service_that_lies_supersedes_nothing(bench: Bench, behaviour: Behaviour, text: str) -> None:
    result = ask(bench, behaviour)

    assert result.outcome.succeeded
    assert "ran" in result.output
    assert "Problem accessing supersederUrl: " in result.log
    assert text in result.log
    assert "Not able to see if this task has been superseded!" in result.log


def test_a_service_that_recovers_is_believed(bench: Bench) -> None:
    count = 0

    def behave(request: Request, me: str) -> None:
        nonlocal count
        count += 1
        answers(lambda _: {"supersedes": [NEWER, me]}, 200 if count > 1 else 500)(request, me)

    assert ask(bench, behave).outcome.reason == "superseded"


@pytest.mark.parametrize("drip", [False, True])
def test_a_service_that_hangs_costs_its_time_limit(bench: Bench, drip: bool) -> None:
    bench.configure("executor", superseder_timeout_s=0.5)

    def hang(request: Request, _me: str) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        try:
            for _ in range(200 if drip else 0):
                request.wfile.write(b" ")
                time.sleep(0.05)
        except OSError:
            return
        request.superseder.released.wait(5)

    began = time.monotonic()
    result = ask(bench, hang)

    assert result.outcome.succeeded
    assert "Problem accessing supersederUrl: " in result.log
    assert time.monotonic() - began < 15


def test_a_service_that_is_not_there_supersedes_nothing(bench: Bench) -> None:
    result = bench.run(shell("echo ran"), supersederUrl="http://127.0.0.1:9/")

    assert result.outcome.succeeded
    assert "Connection refused" in result.log


def test_a_task_that_is_canceled_meanwhile_waits_for_no_service(bench: Bench) -> None:
    with Superseder(lambda request, _me: request.superseder.released.wait(30)) as service:
        run = bench.claim({"command": shell("echo ran"), "maxRunTime": 9, "supersederUrl": service.url})
        job = bench.start(run)
        bench.wait_until(lambda: bool(service.asked))
        bench.records.abort(run, "canceled")
        assert job.wait() == 0

    assert bench.result(run).outcome.reason == "canceled"


@pytest.mark.parametrize("url", ["ftp://x/", "file:///etc/passwd", "x", "http://", "http://h:99999/", "http://a\nb"])
def test_a_url_that_cannot_be_asked_is_malformed(bench: Bench, url: str) -> None:
    result = bench.run(shell("echo ran"), supersederUrl=url)

    assert result.outcome.reason == "malformed-payload"
    assert not is_askable(url)


def test_a_worker_that_has_it_off_runs_the_task(bench: Bench) -> None:
    bench.configure("executor", enable_superseder=False)

    assert ask(bench, answers(lambda me: {"supersedes": [NEWER, me]})).outcome.succeeded


@pytest.mark.root
def test_the_service_is_asked_by_the_tasks_user_not_by_root(bench: Bench) -> None:
    owners: list[int] = []

    def behave(request: Request, me: str) -> None:
        ends = [f"0100007F:{port:04X}" for port in (request.client_address[1], request.superseder.port)]
        with open("/proc/net/tcp", encoding="ascii") as table:
            owners.extend(int(row.split()[7]) for row in table if row.split()[1:3] == ends)
        answers(lambda _: {"supersedes": [me]})(request, me)

    assert ask(bench, behave).outcome.succeeded
    assert owners
    assert min(owners) > 1_000_000_000


def test_the_first_of_the_list_is_the_newest() -> None:
    assert newest({"supersedes": [NEWER, ME]}, ME) == NEWER
    assert newest({"supersedes": [ME, NEWER]}, ME) == ME
    with pytest.raises(NoAnswer):
        newest({"supersedes": [NEWER]}, slugid.nice())


def test_the_successor_is_published_though_the_worker_died_in_between(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Superseder(answers(lambda me: {"supersedes": [NEWER, me]})) as service:
        run = bench.claim({"command": shell("echo ran"), "maxRunTime": 9, "supersederUrl": service.url})
        with monkeypatch.context() as dying:
            dying.setattr(Records, "fan_out", lambda *_: os._exit(9))
            assert bench.start(run).wait() == 9
        assert bench.start(run).wait() == 0

    result = bench.result(run)
    assert result.outcome.reason == "superseded"
    assert json.loads(result.content("public/superseded-by.json")) == {"taskId": NEWER}
    assert len(service.asked) == 1
