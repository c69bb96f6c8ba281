"""Which header fields travel on."""

import pytest

from taskward.proxy import headers

STOPPED = """
    CONNECTION KEEP_ALIVE TE TRAILER TRANSFER_ENCODING UPGRADE PROXY_AUTHORIZATION PROXY_CONNECTION
    AUTHORIZATION HOST EXPECT FORWARDED X_FORWARDED_FOR X_FORWARDED_HOST X_REAL_IP VIA
"""


@pytest.mark.parametrize("key", STOPPED.split())
def test_what_is_for_this_hop_or_ours_to_say_stops_here(key: str) -> None:
    assert headers.to_taskcluster({f"HTTP_{key}": "x"}) == []


def test_what_the_connection_field_names_stops_here() -> None:
    environ = {
        "HTTP_CONNECTION": "close, X-Secret ,x-other",
        "HTTP_X_SECRET": "1",
        "HTTP_X_OTHER": "2",
        "HTTP_X_KEPT": "3",
    }
    assert headers.to_taskcluster(environ) == [("X-Kept", "3")]


def test_the_rest_travels_on() -> None:
    environ = {"HTTP_ACCEPT_ENCODING": "gzip", "HTTP_COOKIE": "a=1", "CONTENT_TYPE": "application/json", "wsgi.x": "y"}
    sent = dict(headers.to_taskcluster(environ))
    assert sent == {"Accept-Encoding": "gzip", "Cookie": "a=1", "Content-Type": "application/json"}


def test_no_content_type_is_made_up() -> None:
    assert headers.to_taskcluster({"CONTENT_TYPE": ""}) == []


def test_repeated_fields_of_an_answer_are_all_passed_on() -> None:
    fields = [("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X", "1")]
    assert headers.to_task(fields, []) == fields


def test_an_answer_cannot_pretend_to_be_the_proxy() -> None:
    passed = headers.to_task([("x-taskcluster-endpoint", "evil")], [("X-Taskcluster-Endpoint", "ours")])
    assert passed == [("X-Taskcluster-Endpoint", "ours")]


def test_hop_by_hop_fields_of_an_answer_stop_here() -> None:
    fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Trailer", "T"),
        ("Date", "d"),
    ]
    assert headers.to_task(fields, []) == []
