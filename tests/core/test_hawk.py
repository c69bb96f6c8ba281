"""Signatures are those that any Hawk server accepts; mohawk is the judge."""

import json

import mohawk
import pytest

from taskward.core.taskcluster import Credentials

CERTIFICATE = json.dumps({"version": 1, "scopes": ["a:*"], "signature": "s"})


@pytest.mark.parametrize("url", ["http://tc.test/api/queue/v1/ping", "https://tc.test:8443/a/b%2Fc?x=1&y=%20"])
@pytest.mark.parametrize("content", [b"", b'{"a": "\xc3\xa9"}'])
@pytest.mark.parametrize("certificate", ["", CERTIFICATE])
def test_a_hawk_server_accepts_the_header(url: str, content: bytes, certificate: str) -> None:
    kind = "application/json; charset=utf-8" if content else ""
    header = Credentials("me/you", "secret", certificate).sign("POST", url, content, kind)
    keys = {"id": "me/you", "key": "secret", "algorithm": "sha256"}
    receiver = mohawk.Receiver(
        lambda _: keys, header, url, "POST", content=content, content_type=kind, accept_untrusted_content=not content
    )
    assert receiver.parsed_header["id"] == "me/you"


def test_another_body_is_not_covered_by_the_header() -> None:
    header = Credentials("me", "secret").sign("POST", "http://tc.test/x", b"{}", "application/json")
    keys = {"id": "me", "key": "secret", "algorithm": "sha256"}
    with pytest.raises(mohawk.exc.MisComputedContentHash):
        mohawk.Receiver(
            lambda _: keys, header, "http://tc.test/x", "POST", content=b"[]", content_type="application/json"
        )
