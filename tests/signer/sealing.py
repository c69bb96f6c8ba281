"""A task author with gpg: encrypts messages to the decrypter's key as the documentation says, and otherwise."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from signer.simulated_queue import SimulatedTask, SimulatedTaskcluster
from taskward.signer.decrypter.client import Decrypter, SecretDataViolation

INCIDENT = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


class Author:
    """Knows one public key, has a GnuPG home of its own."""

    def __init__(self, home: Path, public_key: Path) -> None:
        self._home = home
        home.mkdir(mode=0o700)
        self.gpg("--import", str(public_key))

    def gpg(self, *options: str, text: bytes = b"") -> bytes:
        """What gpg prints."""
        argv = ["gpg", "--homedir", str(self._home), "--batch", "--trust-model", "always", *options]
        return subprocess.run(argv, input=text, capture_output=True, check=True, timeout=60).stdout

    def close(self) -> None:
        """End the agent."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True, timeout=60)

    def sealed(self, text: bytes, *options: str) -> str:
        """``gpg -e … | base64``."""
        return base64.b64encode(self.gpg("-r", "taskward", *options, "--encrypt", text=text)).decode()

    def variable(self, task_id: str, name: str = "SECRET", value: Any = "s3cret", **changes: Any) -> str:
        """A sealed variable that is valid for an hour; `changes` replace keys of the message, None removes one."""
        return self.sealed(json.dumps(message(task_id, name, value, **changes)).encode())


def message(task_id: str, name: str = "SECRET", value: Any = "s3cret", **changes: Any) -> dict[str, Any]:
    """The message before it is sealed."""
    now_ms = int(time.time() * 1000)
    whole = {
        "messageVersion": 1,
        "taskId": task_id,
        "startTime": now_ms - 60_000,
        "endTime": now_ms + 3_600_000,
        "name": name,
        "value": value,
        **changes,
    }
    return {key: part for key, part in whole.items() if part is not None}


def asking(taskcluster: SimulatedTaskcluster, seal: Callable[[str], Any], **payload: Any) -> SimulatedTask:
    """A running task whose encryptedEnv is what `seal` makes of its id."""
    task = taskcluster.create_task(**payload)
    task.definition["payload"]["encryptedEnv"] = seal(task.task_id)
    return task


def violation(decrypter: Decrypter, task: SimulatedTask) -> str:
    """The text without frame and incident id, whose forms are checked."""
    with pytest.raises(SecretDataViolation) as caught:
        decrypter.values(task.task_id, 0)
    found = re.fullmatch(rf"secret data violation -- (.*); incidentId: {INCIDENT}", str(caught.value))
    assert found is not None, caught.value
    return found[1]
