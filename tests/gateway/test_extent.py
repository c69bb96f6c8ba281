"""Which part of a log a request gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskward.gateway import extent
from taskward.gateway.errors import InvalidWish, Unsatisfiable
from taskward.gateway.extent import LIVE_END, Between, Extent, FromOffset, LastBytes, LastLines, Wish, parse, resolve

RUNNING, FINISHED = False, True


def lines_are_unused(count: int) -> int:
    raise AssertionError("nobody asked for lines")


def wanted(size: int, finished: bool, range_header: str | None = None, **args: str) -> Extent:
    return resolve(parse(args, range_header), size, finished=finished, line_start=lines_are_unused)


def test_plain_request_follows_a_running_log_from_its_start() -> None:
    assert wanted(10, RUNNING) == Extent(0, None)


def test_plain_request_gets_the_whole_finished_log() -> None:
    assert wanted(10, FINISHED) == Extent(0, 10)


def test_empty_finished_log_has_an_empty_extent() -> None:
    assert wanted(0, FINISHED).length_bytes == 0


def test_follow_0_ends_at_what_there_is_now() -> None:
    assert wanted(10, RUNNING, follow="0") == Extent(0, 10)


@pytest.mark.parametrize("offset", [0, 9, 10, 11, 5000])
def test_offset_follows_from_there_even_ahead_of_the_end(offset: int) -> None:
    assert wanted(10, RUNNING, offset=str(offset)) == Extent(offset, None)


def test_offset_behind_the_end_of_a_finished_log_is_empty() -> None:
    assert wanted(10, FINISHED, offset="11") == Extent(10, 10)


@pytest.mark.parametrize("offset", [0, 9, 10, 11])
def test_open_range_follows_a_running_log(offset: int) -> None:
    assert wanted(10, RUNNING, f"bytes={offset}-") == Extent(offset, None, f"bytes {offset}-{LIVE_END}/*")


def test_range_to_the_live_end_is_an_open_range() -> None:
    assert wanted(10, RUNNING, f"bytes=3-{LIVE_END}") == wanted(10, RUNNING, "bytes=3-")
    assert wanted(10, RUNNING, f"bytes=3-{10**25}") == wanted(10, RUNNING, "bytes=3-")


def test_open_range_of_a_finished_log_names_its_size() -> None:
    assert wanted(10, FINISHED, "bytes=3-") == Extent(3, 10, "bytes 3-9/10")


def test_suffix_range_follows_from_the_last_bytes() -> None:
    assert wanted(10, RUNNING, "bytes=-4") == Extent(6, None, f"bytes 6-{LIVE_END}/*")
    assert wanted(10, FINISHED, "bytes=-4") == Extent(6, 10, "bytes 6-9/10")
    assert wanted(10, FINISHED, "bytes=-400") == Extent(0, 10, "bytes 0-9/10")


def test_closed_range_never_waits() -> None:
    assert wanted(10, RUNNING, "bytes=3-5") == Extent(3, 6, "bytes 3-5/*")
    assert wanted(10, RUNNING, "bytes=3-500") == Extent(3, 10, "bytes 3-9/*")


@pytest.mark.parametrize(
    ("size", "finished", "header", "follow"),
    [
        (10, FINISHED, "bytes=10-", "1"),
        (10, RUNNING, "bytes=10-", "0"),
        (10, RUNNING, "bytes=10-12", "1"),
        (0, FINISHED, "bytes=0-", "1"),
        (0, FINISHED, "bytes=-1", "1"),
        (10, FINISHED, "bytes=-0", "1"),
    ],
)
def test_range_without_a_byte_is_unsatisfiable(size: int, finished: bool, header: str, follow: str) -> None:
    with pytest.raises(Unsatisfiable) as error:
        wanted(size, finished, header, follow=follow)
    assert error.value.size_bytes == size


@pytest.mark.parametrize(
    "header",
    ["bytes=5-3", "bytes=-", "bytes=", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=٣-", "bytes=--1", "0-3", "="],
)
def test_range_that_is_no_single_byte_range_is_ignored(header: str) -> None:
    assert parse({}, header) == Wish()


def test_range_is_ignored_with_if_range() -> None:
    assert parse({}, "bytes=3-", '"etag"') == Wish()


def test_query_wins_over_range() -> None:
    assert parse({"tail": "3"}, "bytes=3-") == Wish(LastLines(3))


@pytest.mark.parametrize(
    "args",
    [
        {"tail": "-1"},
        {"tail": ""},
        {"tail": "1e3"},
        {"tail": "99999999999"},
        {"offset": "x"},
        {"offset": "²"},
        {"offset": "1" * 400},
        {"follow": "yes"},
        {"tail": "1", "offset": "1"},
    ],
)
def test_senseless_query_is_named(args: dict[str, str]) -> None:
    with pytest.raises(InvalidWish, match="|".join(args)):
        parse(args)


def test_unknown_parameters_do_no_harm() -> None:
    assert parse({"utm_source": "x"}) == Wish()


def test_tail_starts_where_the_lines_start() -> None:
    wish = parse({"tail": "7"})
    assert resolve(wish, 100, finished=RUNNING, line_start=lambda count: 90 + count) == Extent(97, None)


PARTS = st.one_of(
    st.builds(FromOffset, st.integers(0, 200)),
    st.builds(LastBytes, st.integers(0, 200)),
    st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda ends: Between(min(ends), max(ends))),
)


@given(PARTS, st.booleans(), st.booleans(), st.integers(0, 150))
def test_extent_lies_inside_the_log_or_follows_it(
    part: FromOffset | LastBytes | Between, follow: bool, finished: bool, size: int
) -> None:
    try:
        got = resolve(Wish(part, follow, partial=True), size, finished=finished, line_start=lines_are_unused)
    except Unsatisfiable:
        assert not set(range(size)) & bytes_of(part, size)
        return
    if got.end is None:
        assert follow
        assert not finished
    else:
        assert set(range(got.start, got.end)) == set(range(size)) & bytes_of(part, size)
        assert got.content_range == f"bytes {got.start}-{got.end - 1}/{size if finished else '*'}"


def bytes_of(part: FromOffset | LastBytes | Between, size: int) -> set[int]:
    """The positions that a range names, by the words of RFC 9110."""
    match part:
        case FromOffset(first):
            return set(range(first, size))
        case Between(first, last):
            return set(range(first, last + 1))
        case LastBytes(count):
            return set(range(max(0, size - count), size))


@given(st.lists(st.binary(max_size=5), max_size=12).map(b"\n".join), st.integers(0, 15))
def test_last_lines_are_what_splitting_says(content: bytes, count: int) -> None:
    lines = content.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    kept = lines[-count:] if count else []
    expected = b"\n".join(kept) + (b"\n" if kept and content.endswith(b"\n") else b"")
    start = extent.last_lines_start(lambda at, length: content[at : at + length], len(content), count)
    assert content[start:] == expected


@pytest.mark.parametrize("line_bytes", [1, 1000, 64 * 1024 - 1, 64 * 1024, 200_000])
def test_last_lines_are_found_over_many_blocks(line_bytes: int) -> None:
    content = (b"x" * line_bytes + b"\n") * 9
    start = extent.last_lines_start(lambda at, length: content[at : at + length], len(content), 4)
    assert content[start:] == (b"x" * line_bytes + b"\n") * 4


def test_one_endless_line_is_not_read_to_its_start() -> None:
    read = 0

    def reading(_at: int, length: int) -> bytes:
        nonlocal read
        read += length
        return b"x" * length

    start = extent.last_lines_start(reading, 10**12, 1)
    assert start == 10**12 - extent.MAX_TAIL_SCAN_BYTES
    assert read <= extent.MAX_TAIL_SCAN_BYTES
