"""One form of JSON out, no ambiguity in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.signer import jsontext
from taskward.signer.cleartext import check_clear

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_written_reads_back_the_same(value: Any) -> None:
    assert jsontext.parse(jsontext.write(value).encode()) == value


@given(JSON)
def test_what_is_written_survives_clear_signing(value: Any) -> None:
    check_clear(jsontext.write({"task": value}).encode())


def test_half_a_character_is_kept_as_its_escape() -> None:
    value = json.loads('{"a": "\\ud800"}')
    assert jsontext.parse(jsontext.write(value).encode()) == value


def test_markup_is_escaped_as_go_does() -> None:
    assert jsontext.write("<&>\u2028\u2029") == r'"\u003c\u0026\u003e\u2028\u2029"'


def test_a_number_beyond_json_is_refused() -> None:
    with pytest.raises(jsontext.BadJsonError):
        jsontext.write(jsontext.parse(b"1e999"))


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 1}', b"NaN", b"[", b"\xff", b"[" * 100_000, b"9" * 5000, b""])
def test_ambiguous_or_broken_text_is_refused(text: bytes) -> None:
    with pytest.raises(jsontext.BadJsonError):
        jsontext.parse(text)
