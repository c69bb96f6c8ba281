"""Values in a payload that look right, or nearly so."""

import hashlib
from typing import Any

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.web import Web

CONTENT = b"hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TASK = "AAAAAAAAQAaAAAAAAAAAAA"


def run(bench: Bench, content: dict[str, Any], **task: Any) -> Result:
    payload = {"command": shell("cat f"), "maxRunTime": 9, "mounts": [{"file": "f", "content": content}]}
    return bench.run_payload(payload, scopes=["*"], **task)


def assert_malformed(result: Result, text: str) -> None:
    assert result.outcome.reason == "malformed-payload", result.log
    assert text in result.log
    assert result.output == []


@pytest.mark.parametrize(
    "sha256",
    [SHA256.upper(), SHA256[:-1], f"{SHA256}0", f"{SHA256}\n", f" {SHA256}", "", f"sha256:{SHA256}", f"{SHA256[:-1]}g",
     f"{SHA256[:-1]}\u0665", None, 5, [SHA256]],
)  # fmt: skip
def test_a_hash_that_is_none_is_malformed_and_nothing_is_downloaded(mounting: Bench, web: Web, sha256: Any) -> None:
    result = run(mounting, {"url": web.page("/f", CONTENT), "sha256": sha256})

    assert_malformed(result, "- mounts.0.content.sha256: ")
    assert web.count("/f") == 0


@pytest.mark.parametrize(
    "text",
    ["QUJ", "QUI", "QQ=", "Q", "=", "==", "====", "QUJD\n", "QU JD", "QU-_", "QUJD=", "QUJD====", "QQ==QQ==", "",
     "QQ==\n"],
)  # fmt: skip
def test_base64_in_another_form_than_the_standard_one_is_malformed(mounting: Bench, text: str) -> None:
    assert_malformed(run(mounting, {"base64": text}), "- mounts.0.content.base64: ")


def test_the_longest_base64_is_decoded(mounting: Bench) -> None:
    result = run(mounting, {"base64": "QUJD" * 16384})

    assert "ABC" * 16384 in result.output[0]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_hold_is_malformed(mounting: Bench, name: str) -> None:
    for mount in ({"directory": "d", "cacheName": name}, {"file": name, "content": {"raw": "x"}}):
        result = mounting.run_payload({"command": shell("ls"), "maxRunTime": 9, "mounts": [mount]}, scopes=["*"])
        assert_malformed(result, "- mounts.0.")


@pytest.mark.parametrize("name", ["*", "a*", "$(id)", ".item.json", "x" * 100_000, "\n", "\u202e"])
def test_a_cache_may_have_any_other_name(mounting: Bench, name: str) -> None:
    mounts = [{"directory": "d", "cacheName": name}]
    payload = {"command": shell("ls d; touch d/x"), "maxRunTime": 9, "mounts": mounts}

    results = [mounting.run_payload(payload, scopes=[f"generic-worker:cache:{name}"]) for _ in range(2)]

    assert "x" in results[1].output
    assert len(list((mounting.state_dir / "caches").glob("*/content"))) == 1


@pytest.mark.parametrize(
    "artifact", ["public/../../x/artifacts/private/y", "../x", "public/./x", "", "public/x\r\n", "caf\u00e9"]
)
def test_an_artifact_that_cannot_be_is_never_asked_for(mounting: Bench, web: Web, artifact: str) -> None:
    result = run(mounting, {"taskId": TASK, "artifact": artifact}, dependencies=[TASK])

    assert_malformed(result, "- mounts.0.content.artifact: no artifact can be named ")
    assert not [request for request in web.requests if "/queue/" in request]


@pytest.mark.parametrize("namespace", ["..", "../x", "a/b", "", "a..b", "a b", "a?b", "\u2603", "a.b\n"])
def test_a_name_that_the_index_cannot_have_is_never_asked_for(mounting: Bench, web: Web, namespace: str) -> None:
    result = run(mounting, {"namespace": namespace, "artifact": "public/x"})

    assert_malformed(result, "- mounts.0.content.namespace: ")
    assert not [request for request in web.requests if "/index/" in request]


def test_a_task_id_with_a_line_feed_behind_it_is_none(mounting: Bench, web: Web) -> None:
    result = run(mounting, {"taskId": f"{TASK}\n", "artifact": "public/x"}, dependencies=[f"{TASK}\n"])

    assert_malformed(result, "- mounts.0.content.taskId: ")
