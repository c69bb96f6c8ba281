"""A remote desktop on a whole worker: from the artifact to the screen, during the task and after it."""

import json
import os
import pwd
import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from simulators.patience import until
from simulators.rdp import SIZE_SCRIPT, person, size_of_display

from .conftest import needs_root
from .stack import QUEUE, Stack

NAME = "login-identity/someone/rdpInfo.json"
RETAINED_S = 6

pytestmark = [
    needs_root,
    pytest.mark.skipif(not shutil.which("xrdp") or not shutil.which("xfreerdp"), reason="needs xrdp and FreeRDP"),
]


@pytest.fixture(scope="module")
def desks() -> Iterator[Stack]:
    session = ["sh", "-c", "echo $DISPLAY >display; exec sleep 1000"]
    settings = {"enable_rdp": True, "rdp_retention_s": RETAINED_S, "rdp_session": session}
    with Stack({"claim_timeout_s": 60}, executor=settings) as stack:
        yield stack


def published(stack: Stack, task_id: str) -> dict[str, Any] | None:
    url = stack.client().buildSignedUrl("getArtifact", task_id, 0, NAME)
    answer = requests.get(url, timeout=10)
    return dict(json.loads(answer.content)) if answer.ok else None


def test_a_person_logs_in_during_the_task_and_until_the_retention_is_over(desks: Stack) -> None:
    scopes = [f"generic-worker:allow-rdp:{QUEUE}"]
    wait_for_person = [["python3", "-c", SIZE_SCRIPT, "800x600"]]
    run = desks.create(wait_for_person, rdpInfo=NAME, task={"scopes": scopes})
    info = until(lambda: published(desks, run.task_id), "the artifact is published during the task")
    layout = desks.settings.layout
    home, site = layout.task_directory(run), layout.desktop(run)
    uid = pwd.getpwnam(info["username"]).pw_uid

    with person() as someone:
        with someone.connect(info, "800x600"):
            assert desks.resolution(run) == ("completed", "completed")
        assert "\n800x600\n" in desks.log(run), "the task saw its person"
        next_run = desks.create([["true"]])
        with someone.connect(info, "640x480"):
            display = until(lambda: (home / "display").read_text().strip(), "there is a desktop again")
            environment = {"DISPLAY": display, "XAUTHORITY": str(site / "Xauthority"), "PATH": os.environ["PATH"]}
            assert size_of_display(environment, "640x480") == "640x480"
            assert [each["taskId"] for each in desks.status()["retained"]] == [run.task_id]
            assert desks.runs(next_run)[0]["state"] == "pending"

    assert desks.resolution(next_run) == ("completed", "completed")
    assert desks.status()["retained"] == []
    until(lambda: not site.exists(), "the sweep has taken the secrets away")
    assert not home.exists()
    with pytest.raises(KeyError):
        pwd.getpwuid(uid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((info["host"], info["port"]), 5).close()


def test_a_worker_that_stops_ends_the_retention(desks: Stack) -> None:
    scopes = [f"generic-worker:allow-rdp:{QUEUE}"]
    run, resolution = desks.run([["true"]], rdpInfo=NAME, task={"scopes": scopes})
    assert resolution == ("completed", "completed")
    assert desks.settings.layout.task_directory(run).exists()

    desks.stop()

    assert not desks.settings.layout.task_directory(run).exists()
