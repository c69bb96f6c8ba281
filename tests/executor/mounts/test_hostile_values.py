"""Values in a payload that look right, or nearly so."""

import hashlib
from typing import Any

import pytest

from executor.bench import Bench, shell
from taskward.executor.payload import Payload, PayloadRefused

SHA256 = hashlib.sha256(b"hello\n").hexdigest()
TASK = "AAAAAAAAQAaAAAAAAAAAAA"


def flaws(mount: dict[str, Any]) -> str:
    """What the log of a task with this mount would say is wrong with it."""
    with pytest.raises(PayloadRefused) as caught:
        Payload.parse(TASK, {"command": [["true"]], "maxRunTime": 9, "mounts": [mount]}, 60)
    return "\n".join(caught.value.problems)


def flaws_of_content(content: dict[str, Any]) -> str:
    return flaws({"file": "f", "content": content})


@pytest.mark.parametrize(
    "sha256",
    [SHA256.upper(), SHA256[:-1], f"{SHA256}0", f"{SHA256}\n", f" {SHA256}", "", f"sha256:{SHA256}", f"{SHA256[:-1]}g",
     f"{SHA256[:-1]}\u0665", None, 5, [SHA256]],
)  # fmt: skip
def test_a_hash_that_is_none_is_malformed(sha256: Any) -> None:
    assert "mounts.0.content.sha256: " in flaws_of_content({"url": "http://localhost/f", "sha256": sha256})


@pytest.mark.parametrize(
    "text",
    ["QUJ", "QUI", "QQ=", "Q", "=", "==", "====", "QUJD\n", "QU JD", "QU-_", "QUJD=", "QUJD====", "QQ==QQ==", "",
     "QQ==\n", "QUJD" * 16384 + "Q"],
)  # fmt: skip
def test_base64_in_another_form_than_the_standard_one_is_malformed(text: str) -> None:
    assert "mounts.0.content.base64: " in flaws_of_content({"base64": text})


def test_the_longest_base64_is_decoded(mounting: Bench) -> None:
    result = mounting.run(shell("cat f"), mounts=[{"file": "f", "content": {"base64": "QUJD" * 16384}}])

    assert "ABC" * 16384 in result.output[0]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_hold_is_malformed(name: str) -> None:
    assert "mounts.0.cacheName: " in flaws({"directory": "d", "cacheName": name})
    assert "mounts.0.file: " in flaws({"file": name, "content": {"raw": "x"}})


def test_a_cache_may_have_any_other_name(mounting: Bench) -> None:
    names = ["*", "a*", "$(id)", ".item.json", "x" * 100_000, "\n", "\u202e"]
    mounts = [{"directory": f"d{number}", "cacheName": name} for number, name in enumerate(names)]
    payload = {"command": shell("cat d*/f; for d in d*; do echo $d > $d/f; done"), "maxRunTime": 9, "mounts": mounts}

    results = [
        mounting.run_payload(payload, scopes=[f"generic-worker:cache:{name}" for name in names]) for _ in range(2)
    ]

    assert [line for line in results[1].output if line.startswith("d")] == [f"d{number}" for number in range(7)]


@pytest.mark.parametrize(
    "artifact", ["public/../../x/artifacts/private/y", "../x", "public/./x", "", "public/x\r\n", "caf\u00e9"]
)
def test_an_artifact_that_cannot_be_is_malformed(artifact: str) -> None:
    for content in ({"taskId": TASK, "artifact": artifact}, {"namespace": "a.b", "artifact": artifact}):
        assert "mounts.0.content.artifact: no artifact can be named " in flaws_of_content(content)


@pytest.mark.parametrize("namespace", ["..", "../x", "a/b", "", "a..b", "a b", "a?b", "\u2603", "a.b\n"])
def test_a_name_that_the_index_cannot_have_is_malformed(namespace: str) -> None:
    assert "mounts.0.content.namespace: " in flaws_of_content({"namespace": namespace, "artifact": "public/x"})


def test_a_task_id_with_a_line_feed_behind_it_is_none() -> None:
    assert "mounts.0.content.taskId: " in flaws_of_content({"taskId": f"{TASK}\n", "artifact": "public/x"})
