import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.cli import toml

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUE = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXT, st.dictionaries(_TEXT, _VALUE, max_size=4), max_size=3))
def test_what_is_written_is_read_back(sections: dict[str, dict[str, object]]) -> None:
    assert tomllib.loads(toml.document(sections)) == sections


def test_none_is_left_out() -> None:
    assert tomllib.loads(toml.document({"a": {"b": None, "c": 1}})) == {"a": {"c": 1}}


def test_value_without_a_form_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        toml.document({"a": {"b": {1, 2}}})
