import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from executor.bench import Bench, shell
from taskward.core import keys
from taskward.core.clock import parse_time
from taskward.core.ids import RunId
from taskward.executor.features.feature import satisfies
from taskward.executor.features.live_log import public_url
from taskward.executor.peer import addresses

RUN = RunId("AAAAAAAAQAaAAAAAAAAAAA", 0)


def test_the_live_log_is_announced_under_a_token_that_opens_it(bench: Bench) -> None:
    result = bench.run([["true"]])

    (live_log,) = result.record.references
    assert live_log.name == "public/logs/live.log"
    token = live_log.url.removeprefix("http://127.0.0.1:60023/log/")
    assert len(token) == 43
    entry = json.loads(bench.redis.get(keys.log(token)) or b"")
    assert entry == {
        "taskId": result.record.run.task_id, "runId": 0, "path": str(result.log_directory / "live.log"),
    }  # fmt: skip
    assert 20 < bench.redis.ttl(keys.log(token)) < 2 * 3600
    expires = parse_time(live_log.expires) - datetime.now(UTC)
    assert timedelta(seconds=900) < expires < timedelta(seconds=921)
    assert bench.redis.lrange(keys.INBOX, 0, -1) == [result.record.run.key.encode()]


def test_logs_can_have_other_names(bench: Bench) -> None:
    index = bench.run([["true"]], logs={"live": "public/a.log", "backing": "public/b.log"}).index

    assert (index.live_log_name, index.backing_log_name) == ("public/a.log", "public/b.log")


def test_logs_can_be_switched_off(bench: Bench) -> None:
    result = bench.run([["true"]], features={"liveLog": False, "backingLog": False})

    assert (result.index.live_log_name, result.index.backing_log_name) == ("", "")
    assert result.record.references == ()


def test_two_features_cannot_publish_one_name(bench: Bench) -> None:
    result = bench.run([["true"]], logs={"live": "public/x", "backing": "public/x"})

    assert result.outcome.reason == "malformed-payload"
    text = 'Feature "Live Log" wishes to publish artifact public/x but feature Backing Log has already reserved this'
    assert text in result.log


@pytest.mark.parametrize("switches", [{}, {"backingLog": False}, {"liveLog": False}])
@pytest.mark.parametrize("logs", [{"live": "a\tb"}, {"backing": "\u00fc"}, {"backing": ""}, {"live": "a/../b"}])
def test_a_log_name_that_the_queue_cannot_bear_is_told_in_the_usual_log(
    bench: Bench, logs: dict[str, str], switches: dict[str, bool]
) -> None:
    result = bench.run([["true"]], logs=logs, features=switches)

    assert result.outcome.reason == "malformed-payload"
    assert f"logs.{next(iter(logs))}: no artifact can be named" in result.log
    assert result.index.backing_log_name == "public/logs/live_backing.log"
    assert result.record.references == ()


@pytest.mark.parametrize(
    ("gateway", "url"),
    [
        ({}, "http://127.0.0.1:60023"),
        ({"port": 1234}, "http://127.0.0.1:1234"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"public_url": "https://logs.example.com/x/", "port": 1}, "https://logs.example.com/x"),
    ],
)
def test_the_gateways_address_comes_from_its_section(gateway: dict[str, object], url: str) -> None:
    assert public_url(gateway) == url


def test_the_proxys_address_names_the_run_and_its_user(bench: Bench) -> None:
    run = bench.claim(
        {"command": shell("id -u; echo $TASKCLUSTER_PROXY_URL; sleep 1000"), "maxRunTime": 900,
         "features": {"taskclusterProxy": True}}
    )  # fmt: skip
    job = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and len(bench.result(run).output) == 2)
    uid, url = bench.result(run).output
    address = urlsplit(url)

    peer = bench.redis.hgetall(keys.peer(address.hostname or ""))

    assert address.port == 60080
    assert peer == {b"taskId": run.task_id.encode(), b"runId": b"0", b"uid": uid.encode()}
    bench.records.abort(run, "canceled")
    assert job.wait() == 0
    assert not bench.redis.exists(keys.peer(address.hostname or ""))


def test_an_address_that_another_run_has_is_passed_over(bench: Bench) -> None:
    run = bench.claim({"command": shell("echo $TASKCLUSTER_PROXY_URL"), "maxRunTime": 9,
                       "features": {"taskclusterProxy": True}})  # fmt: skip
    first, second, *_ = addresses(run)
    bench.redis.hset(keys.peer(first), mapping={"taskId": "other", "runId": "0", "uid": "1"})

    assert bench.start(run).wait() == 0

    assert bench.result(run).output == [f"http://{second}:60080"]
    assert bench.redis.exists(keys.peer(first))


def test_a_worker_without_proxy_refuses_the_feature(bench: Bench) -> None:
    bench.settings = type(bench.settings)(**{**vars(bench.settings), "others": {}})

    result = bench.run([["true"]], features={"taskclusterProxy": True})

    assert result.outcome.reason == "malformed-payload"
    assert "taskclusterProxy, which is not enabled on this worker" in result.log


def test_addresses_are_many_local_and_steady() -> None:
    some = [address for address, _ in zip(addresses(RUN), range(3), strict=False)]

    assert some == [address for address, _ in zip(addresses(RUN), range(3), strict=False)]
    assert all(address.startswith("127.77.") for address in some)
    assert len(set(addresses(RUN))) == 254 * 254


@pytest.mark.parametrize(
    ("has", "wanted", "enough"),
    [
        (["a:b"], "a:b", True),
        (["a:*"], "a:b", True),
        (["*"], "a:b", True),
        (["a:b*"], "a:b", True),
        (["a:b"], "a:bc", False),
        (["a:*b"], "a:xb", False),
        ([], "a", False),
    ],
)
def test_scopes_are_satisfied_as_everywhere_in_taskcluster(has: list[str], wanted: str, enough: bool) -> None:
    assert satisfies(has, wanted) is enough
