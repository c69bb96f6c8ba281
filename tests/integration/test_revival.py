"""A program that supervisord has given up is started again after a pause; its restarts are counted."""

import signal
from typing import Any

import pytest

from simulators.patience import until
from taskward.cli.supervision import GIVEN_UP

from .conftest import needs_root
from .stack import Stack, send

pytestmark = [needs_root, pytest.mark.slow]


def role(stack: Stack, name: str) -> dict[str, Any]:
    return next(row for row in stack.status()["roles"] if row["name"] == name)


def test_a_program_that_was_given_up_comes_back(own_stack: Stack) -> None:
    stack = own_stack
    keys = stack.state_dir / "keys"
    keys.chmod(0o777)  # the keyholder refuses to start with such a directory
    send(stack.pids("keyholder"), signal.SIGKILL)
    until(lambda: role(stack, "keyholder")["state"] in GIVEN_UP, "supervisord gives it up", 40, 0.2)
    run = stack.create([["true"]], features={"chainOfTrust": True})
    stack.phase(run, "finishing")
    keys.chmod(0o700)
    until(lambda: role(stack, "keyholder")["state"] == "RUNNING", "it is started again", 40, 0.2)
    assert role(stack, "keyholder")["restarts"] >= 2
    assert stack.resolution(run) == ("completed", "completed")
