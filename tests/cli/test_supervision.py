"""``python tests/cli/test_supervision.py``, run by root, writes ops/supervisord.conf anew."""

import configparser
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from taskward.cli.accounts import ROLE_USERS
from taskward.cli.lifeline import SUPERVISOR
from taskward.cli.programs import STAGES, Devcluster, command, executors, programs, python
from taskward.cli.supervisord import configuration
from taskward.core.settings import Settings

SAMPLE = Path(__file__).resolve().parents[2] / "ops/supervisord.conf"
STANDARD: dict[str, dict[str, Any]] = {
    "taskcluster": {
        "root_url": "https://tc.example.com",
        "client_id": "project/x/worker",
        "access_token_file": "/etc/taskward/access-token",
    },
    "worker": {
        "task_queue_id": "proj-x/linux",
        "worker_group": "dc1",
        "worker_id": "w-1",
        "capacity": 2,
        "state_dir": "/var/lib/taskward",
    },
    "uploader": {"processes": 2},
}
HEAD = (
    "; What `taskward up` makes of the configuration in README.md when root runs it; a test keeps this file true.\n\n"
)


def rendered() -> str:
    settings = Settings.parse(STANDARD, "sample")
    text = configuration(settings.layout.state_dir, programs(settings))
    return HEAD + text.replace(str(Path(python()).parents[1]), "/opt/taskward/venv")


def _parsed(devcluster: Devcluster | None = None) -> configparser.RawConfigParser:
    settings = Settings.parse(STANDARD, "sample")
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(settings.layout.state_dir, programs(settings, devcluster)))
    return parser


if __name__ == "__main__":
    SAMPLE.write_text(rendered())
    sys.exit()

from .conftest import needs_root  # noqa: E402 - a package only under pytest


@needs_root
def test_sample_is_what_would_be_started() -> None:
    assert SAMPLE.read_text() == rendered(), "run as root: .venv/bin/python tests/cli/test_supervision.py"


@needs_root
def test_every_role_but_the_executor_has_its_user_and_no_privileges() -> None:
    parser = _parsed()
    for role in ("claimer", "uploader", "signer", "keyholder", "proxy", "gateway", "redis"):
        command = parser[f"program:{role}"]["command"]
        assert f"--reuid {ROLE_USERS[role]} --regid {ROLE_USERS[role]} --init-groups" in command
        assert "--no-new-privs --bounding-set=-all --inh-caps=-all" in command
    assert "--reuid" not in parser["program:executor"]["command"]
    assert "--no-new-privs" not in parser["program:executor"]["command"]


def test_every_process_dies_with_the_supervisor() -> None:
    parser = _parsed(Devcluster(Path("/var/lib/taskward/devcluster"), 60022))
    names = [name for name in parser.sections() if name.startswith("program:")]
    assert len(names) == 9
    assert all("--pdeathsig KILL" in parser[name]["command"] for name in names)


def test_stages_start_in_order_and_hold_every_program() -> None:
    parser = _parsed()
    priorities = [int(parser[f"group:{stage}"]["priority"]) for stage in STAGES]
    assert priorities == sorted(priorities)
    listed = [name for stage in STAGES for name in parser[f"group:{stage}"]["programs"].split(",")]
    assert sorted(listed) == sorted(name[8:] for name in parser.sections() if name.startswith("program:"))


def test_supervisor_listens_on_a_private_socket_only() -> None:
    parser = _parsed()
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in parser.sections()


def test_executor_and_claimer_get_the_grace_time_and_more() -> None:
    parser = _parsed()
    for role in ("executor", "claimer", "uploader"):
        assert int(parser[f"program:{role}"]["stopwaitsecs"]) == 60 + 15


def test_a_program_whose_supervisor_is_gone_already_does_not_begin() -> None:
    sample = command(programs(Settings.parse(STANDARD, "sample"))[0], Path("/lock"))
    shell = list(sample[sample.index("/bin/sh") : sample.index("redis")])
    for parent, printed in ((os.getpid(), b"begun\n"), (1, b"")):
        argv = [*shell, "redis", "echo", "begun"]
        done = subprocess.run(argv, env={SUPERVISOR: str(parent)}, capture_output=True, check=False)
        assert (done.stdout, done.returncode == 0) == (printed, bool(printed))


def test_where_each_task_has_a_processor_there_are_no_more_executors_than_processors() -> None:
    capacity = 4 * len(os.sched_getaffinity(0))
    own: dict[str, Any] = {**STANDARD, "worker": {**STANDARD["worker"], "capacity": capacity}}
    assert executors(Settings.parse(own, "sample")) == capacity
    assert executors(Settings.parse({**own, "docker": {"restrict_cpu": True}}, "sample")) == len(
        os.sched_getaffinity(0)
    )


def test_numbers_of_processes_follow_the_settings() -> None:
    parser = _parsed()
    assert parser["program:executor"]["numprocs"] == "1"
    assert parser["program:executor"]["command"].endswith(" --slots 2")
    assert parser["program:uploader"]["numprocs"] == "2"
