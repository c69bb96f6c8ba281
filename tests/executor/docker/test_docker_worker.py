"""Behaviours that docker-worker's own tests assert, where no test of a part of ours does."""

import re

import pytest

from executor.docker.yard import Yard, task_output
from taskward.executor.docker.features.bulk_log import ARTIFACT as BULK_LOG

pytestmark = pytest.mark.root


def test_artifacts_have_the_tasks_expiry_and_the_form_that_their_names_tell(yard: Yard) -> None:
    wanted = {f"public/{name}": {"type": "file", "path": f"/{name}"} for name in ("a.txt", "b.dmg", "c.bin")}

    result = yard.run("head -c 1048576 /dev/urandom | tee /a.txt /b.dmg > /c.bin", artifacts=wanted)

    assert {entry.expires for entry in result.entries.values()} == {result.record.definition["expires"]}
    assert {name: (entry.size_bytes, entry.content_encoding) for name, entry in result.entries.items()} == {
        "public/a.txt": (1 << 20, "gzip"),
        "public/b.dmg": (1 << 20, "identity"),
        "public/c.bin": (1 << 20, "gzip"),
    }
    assert len({result.content(name) for name in wanted}) == 1


def test_several_caches_and_none_at_all(yard: Yard) -> None:
    several = {"twb-one": "/one", "twb-two": "/two/deep"}
    scopes = [f"docker-worker:cache:{name}" for name in several]

    result = yard.run("touch /one/1 /two/deep/2; ls /one /two/deep", scopes, cache=several)

    assert {"1", "2"} <= set(task_output(result))
    assert 'using cache "twb-one" -> /one' in result.log
    assert yard.run("exit 1", cache={}, onExitStatus={"purgeCaches": [1]}).outcome.state == "failed"


def test_an_invalid_name_of_a_cache_fails_the_task(yard: Yard) -> None:
    result = yard.run("true", ["docker-worker:cache:*"], cache={"twb::x": "/c"})

    assert result.outcome.state == "failed"
    assert "Invalid key name was provided." in result.log


def test_the_live_log_can_be_at_another_place_and_the_footer_tells_how_long_it_took(yard: Yard) -> None:
    result = yard.run("sleep 1", log="public/bb/aa.log")

    assert (result.index.live_log_name, result.index.backing_log_name) == (
        "public/bb/aa.log",
        "public/bb/aa_backing.log",
    )
    (reference,) = result.record.references
    assert reference.name == "public/bb/aa.log"
    assert re.search(r"/log/[\w-]{22,}$", reference.url)
    (seconds,) = re.findall(r"Successful task run with exit code: 0 completed in ([0-9.]+) seconds", result.log)
    assert 1 <= float(seconds) < 30


def test_without_the_live_log_nothing_is_published(yard: Yard) -> None:
    result = yard.run("true", features={"localLiveLog": False})

    assert (result.index.live_log_name, result.index.backing_log_name, result.record.references) == ("", "", ())


def test_the_bulk_log_needs_no_live_log_and_its_name_is_taken(yard: Yard) -> None:
    artifacts = {BULK_LOG: {"type": "file", "path": "/etc/passwd"}}
    result = yard.run("true", features={"localLiveLog": False, "bulkLog": True}, artifacts=artifacts)
    without = yard.run("true")

    assert (result.index.bulk_log_name, result.index.backing_log_name) == (BULK_LOG, "")
    assert result.index.entries == ()
    assert without.index.bulk_log_name == ""


def test_an_ordinary_container_can_do_nothing_privileged(yard: Yard) -> None:
    result = yard.run(
        "mkdir /m; mount -t tmpfs none /m || echo refused; mknod /dev/x b 7 0; cat /dev/x || echo no disk"
    )

    assert "refused" in task_output(result)
    assert "no disk" in task_output(result)
