"""What is nested too deeply is cut off, and nothing else changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.core.errors import Unreachable
from taskward.core.nesting import shallow
from taskward.core.taskcluster import _decode as decode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=40,
)


def cut(value: Any, deepest: int) -> Any:
    """The same, said in another way."""
    if not isinstance(value, (list, dict)):
        return value
    if deepest == 0:
        return None
    if isinstance(value, list):
        return [cut(each, deepest - 1) for each in value]
    return {name: cut(each, deepest - 1) for name, each in value.items()}


@given(values, st.integers(0, 4), st.sampled_from([None, 2]))
def test_deeper_levels_become_null(value: Any, deepest: int, indent: int | None) -> None:
    text = json.dumps(value, indent=indent).encode()

    assert json.loads(shallow(text, deepest)) == cut(value, deepest)


@given(values, st.booleans())
def test_what_is_not_deep_stays_as_it_is(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()

    assert shallow(text) == text


@given(st.binary(), st.integers(0, 3))
def test_anything_at_all_is_borne(text: bytes, deepest: int) -> None:
    shallow(text, deepest)


@pytest.mark.parametrize("levels", [990, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_task_that_is_nested_without_end_does_not_end_the_claimer(levels: int, opening: str, closing: str) -> None:
    deep = opening * levels + "1" + closing * levels

    answer = decode("claimWork", 200, f'{{"tasks": [{{"task": {{"payload": {deep}}}, "runId": 3}}]}}'.encode())

    assert answer["tasks"][0]["runId"] == 3
    json.dumps(answer)


def test_an_answer_that_never_closes_is_no_answer() -> None:
    with pytest.raises(Unreachable):
        decode("claimWork", 200, b'{"tasks": ' + b"[" * 100_000)
