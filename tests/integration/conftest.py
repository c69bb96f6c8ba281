import os
from collections.abc import Iterator

import pytest

from .stack import Stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A worker that the tests of a module share."""
    with Stack({"claim_timeout_s": 60}, worker={"capacity": 2}, uploader={"processes": 2}) as stack:
        yield stack


@pytest.fixture
def own_stack() -> Iterator[Stack]:
    """A worker of this test's own."""
    with Stack({"claim_timeout_s": 60}) as stack:
        yield stack


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="isolation between users needs root")
