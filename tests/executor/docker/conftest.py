"""The machine's Docker daemon; `bench` and `state_dir` are those of all tests of the executor."""

import pytest

from simulators.docker import busybox, daemon

__all__ = ["busybox", "daemon"]

pytestmark = pytest.mark.root
