"""Words of a Dockerfile, and its instructions."""

import pytest

from taskward.executor.docker.dind.build.dockerfile import parse
from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.build.words import expand, raw_words, words

VARIABLES = {"A": "1", "B": "two words", "E": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"), ("$A", "1"), ("${A}x", "1x"), ("$B", "two words"), ("'$A'", "$A"), ('"$A b"', "1 b"),
        (r"\$A", "$A"), ("$NONE", ""), ("${NONE:-d}", "d"), ("${E:-d}", "d"), ("${E-d}", ""), ("${A:+y}", "y"),
        ("${E:+y}", ""), ("${NONE:-$A$B}", "1two words"), ('"a\'b"', "a'b"), (r'"a\"b"', 'a"b'),
        ("$", "$"), ("a$ b", "a$ b"), ("${A}${A}", "11"), ("$A_x", ""),
    ],
)  # fmt: skip
def test_a_word_is_expanded(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


@pytest.mark.parametrize("text", ["'a", '"a', "${A", "${", "${1}", "${A:-", "${A:-" * 50])
def test_what_is_not_closed_is_told(text: str) -> None:
    with pytest.raises(BuildFailed):
        expand(text, VARIABLES)


def test_words_end_at_space_outside_of_quotes() -> None:
    assert words('a=1  "b c"  $B', VARIABLES) == ["a=1", "b c", "two words"]
    assert raw_words("A='x y' B=$A") == ["A='x y'", "B=$A"]


def test_instructions_are_read_over_lines_and_comments() -> None:
    text = (
        "# syntax\nARG V=1\nfrom base:$V as One\nRUN a \\\n  # between\n\n  b\n"
        'CMD ["x", "y"]\nCOPY --from=one --chown=1:2 a b /c\n'
    )
    found = parse(text)

    assert [each.keyword for each in found] == ["ARG", "FROM", "RUN", "CMD", "COPY"]
    assert found[2].text == "a   b"
    assert found[3].argv == ("x", "y")
    assert found[4].flags == {"from": "one", "chown": "1:2"}
    assert found[4].text == "a b /c"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with FROM"), ("RUN x", "begins with FROM"), ("FROM a\nFETCH x", "unknown instruction: FETCH"),
        ("FROM a\nRUN", "requires at least one argument"), ("FROM a\nRUN --mount=type=bind x", "no BuildKit"),
        ("FROM a\nRUN --security=insecure x", "no BuildKit"), ("FROM a\nRUN <<EOF\nx\nEOF", "here-documents"),
        ("FROM a\nCOPY <<EOF /x\nx\nEOF", "here-documents"), ("# escape=`\nFROM a", "Windows"),
        ("FROM a\n" + "ENV a=b\n" * 1001, "more than 1000"),
    ],
)  # fmt: skip
def test_what_is_no_dockerfile_is_told(text: str, why: str) -> None:
    with pytest.raises(BuildFailed, match=why):
        parse(text)
