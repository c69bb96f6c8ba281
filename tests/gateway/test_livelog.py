"""What a reader of a live log sees, over the real process."""

import statistics
import threading
import time

import pytest

from gateway.rig import Gateway
from taskward.gateway.extent import LIVE_END


def test_reader_gets_the_log_from_its_start_then_what_comes_then_a_clean_end(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"first\n")
    with gateway.read(log) as reader:
        status, headers = reader.head()
        assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert reader.some(6) == b"first\n"
        log.write(b"second\n")
        assert reader.some(7) == b"second\n"
        log.write(b"third\n")
        log.finish()
        assert reader.rest() == b"third\n"
        assert reader.complete


def test_headers_let_any_page_read_and_nobody_keep_it(gateway: Gateway) -> None:
    log = gateway.log()
    log.finish()
    _, headers, _ = gateway.answer(f"/log/{log.token}")
    assert headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in headers["access-control-expose-headers"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def test_every_byte_comes_through(gateway: Gateway) -> None:
    data = bytes(range(256)) * 5000 + b"\0\0\r\n0\r\n\r\n\xff"
    log = gateway.log()
    log.write(data)
    with gateway.read(log) as reader:
        reader.head()
        assert reader.some(len(data)) == data
        log.finish()
        assert reader.rest() == b""
        assert reader.complete


def test_reader_that_comes_before_the_log_waits_for_it(gateway: Gateway) -> None:
    log = gateway.log(prepared=False)
    with gateway.read(log) as reader:
        assert reader.head()[0] == 200
        log.prepare()
        log.write(b"here\n")
        log.finish()
        assert reader.rest() == b"here\n"
        assert reader.complete


def test_log_that_ended_without_a_file_is_empty(gateway: Gateway) -> None:
    log = gateway.log(prepared=False)
    log.folder.mkdir()
    log.finish()
    assert gateway.answer(f"/log/{log.token}")[::2] == (200, b"")


def test_finished_log_has_a_length(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    log.finish()
    status, headers, body = gateway.answer(f"/log/{log.token}")
    assert (status, headers["content-length"], body) == (200, "10", b"0123456789")


def test_open_range_resumes_and_follows(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    with gateway.read(log, Range="bytes=10-") as reader:
        status, headers = reader.head()
        assert (status, headers["content-range"]) == (206, f"bytes 10-{LIVE_END}/*")
        log.write(b"abc")
        log.finish()
        assert reader.rest() == b"abc"
        assert reader.complete


def test_closed_range_is_answered_at_once(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    status, headers, body = gateway.answer(f"/log/{log.token}", Range="bytes=2-4")
    assert (status, headers["content-range"], body) == (206, "bytes 2-4/*", b"234")


def test_range_behind_a_finished_log_is_refused(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    log.finish()
    status, headers, _ = gateway.answer(f"/log/{log.token}", Range="bytes=10-")
    assert (status, headers["content-range"]) == (416, "bytes */10")


def test_tail_follows_from_the_last_lines_and_says_where_they_are(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"one\ntwo\nthree\nfo")
    with gateway.read(log, "?tail=2") as reader:
        assert reader.head()[1]["x-log-offset"] == "8"
        log.write(b"ur\n")
        log.finish()
        assert reader.rest() == b"three\nfour\n"


def test_follow_0_ends_at_once(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"one\ntwo\n")
    assert gateway.answer(f"/log/{log.token}?follow=0&tail=1")[2] == b"two\n"


def test_offset_ahead_of_the_end_waits_for_it(gateway: Gateway) -> None:
    log = gateway.log()
    with gateway.read(log, "?offset=4") as reader:
        reader.head()
        log.write(b"0123")
        log.write(b"45")
        log.finish()
        assert reader.rest() == b"45"


def test_head_tells_what_get_would_answer(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    status, headers, _ = gateway.answer(f"/log/{log.token}", method="HEAD", Range="bytes=4-")
    assert (status, headers["content-range"]) == (206, f"bytes 4-{LIVE_END}/*")
    log.finish()
    assert gateway.answer(f"/log/{log.token}", method="HEAD")[1]["content-length"] == "10"


def test_a_head_of_a_log_that_goes_on_tells_no_length(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"0123456789")
    status, headers, _ = gateway.answer(f"/log/{log.token}", method="HEAD")
    assert status == 200
    assert "content-length" not in headers


def test_preflight_allows_range_from_anywhere(gateway: Gateway) -> None:
    status, headers, _ = gateway.answer("/log/any", method="OPTIONS", Origin="https://ui.example")
    assert (status, headers["access-control-allow-headers"]) == (204, "Range")
    assert headers["access-control-allow-origin"] == "*"


def test_nothing_can_be_put(gateway: Gateway) -> None:
    status, headers, _ = gateway.answer(f"/log/{gateway.log().token}", method="PUT")
    assert status == 405
    assert "GET" in headers["allow"]


def test_http_1_0_reader_gets_bare_bytes_up_to_the_close(gateway: Gateway) -> None:
    log = gateway.log()
    log.write(b"one\n")
    with gateway.read(log, version="1.0") as reader:
        assert "transfer-encoding" not in reader.head()[1]
        log.finish()
        assert reader.rest() == b"one\n"


@pytest.mark.parametrize("query", ["?tail=x", "?offset=-1", "?follow=2", "?tail=1&offset=1"])
def test_senseless_query_gets_400_with_the_reason(gateway: Gateway, query: str) -> None:
    status, _, body = gateway.answer(f"/log/{gateway.log().token}{query}")
    assert status == 400
    assert b"?" in body


def test_bytes_written_just_before_done_are_never_lost(gateway: Gateway) -> None:
    """The race of every tail: the last bytes and the end mark appear while readers look."""
    for _ in range(20):
        log = gateway.log()
        with gateway.read(log) as reader:
            reader.head()
            writer = threading.Thread(target=lambda log=log: (log.write(b"x" * 300_000), log.finish()))
            writer.start()
            assert len(reader.rest()) == 300_000
            assert reader.complete
            writer.join()


def test_line_reaches_readers_within_a_quarter_of_a_second(gateway: Gateway) -> None:
    log = gateway.log()
    with gateway.read(log) as reader:
        reader.head()
        lags = []
        for _ in range(20):
            began = time.monotonic()
            log.write(b"line\n")
            reader.some(5)
            lags.append(time.monotonic() - began)
            time.sleep(0.01)
    assert statistics.median(lags) < 0.25
