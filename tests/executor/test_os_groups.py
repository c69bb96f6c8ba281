"""``payload.osGroups``: which groups a task may join, and that nothing of it stays."""

import grp
import os
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from executor.bench import Bench, JobProcess, Result, shell

POOL = "proj-x/linux"
ORDINARY_UID = 61_234


@pytest.fixture
def group() -> Iterator[str]:
    name = f"x{secrets.token_hex(4)}"
    subprocess.run(["groupadd", name], check=True, timeout=30)
    yield name
    subprocess.run(["groupdel", name], check=True, timeout=30)


def ask(bench: Bench, *groups: str, script: str = "id -nG; id -nG $USER", scopes: list[str] | None = None) -> Result:
    """A task with every scope, unless others are given."""
    payload = {"command": shell(script), "maxRunTime": 20, "osGroups": list(groups)}
    return bench.run_payload(payload, scopes=["*"] if scopes is None else scopes)


@pytest.mark.root
@pytest.mark.parametrize("form", ["generic-worker:os-group:{pool}/{group}", "generic-worker:os-group:{group}"])
def test_a_task_is_in_its_groups_until_it_ends(bench: Bench, group: str, form: str) -> None:
    result = ask(bench, group, scopes=[form.format(pool=POOL, group=group)])

    credentials, database = (line.split() for line in result.output)
    assert group in credentials
    assert group in database
    assert grp.getgrnam(group).gr_mem == []


@pytest.mark.root
def test_the_groups_of_one_task_are_not_those_of_the_next(bench: Bench, group: str) -> None:
    ask(bench, group)

    result = bench.run(shell("id -nG"))

    assert group not in result.output[0].split()


@pytest.mark.root
def test_files_of_the_group_can_be_used_and_become_artifacts(bench: Bench, group: str) -> None:
    file = bench.state_dir / "shared"
    file.write_text("for members\n")
    os.chown(file, 0, grp.getgrnam(group).gr_gid)
    file.chmod(0o640)

    result = ask(bench, group, script=f"cat {file}")

    assert result.output == ["for members"]


@pytest.mark.parametrize(
    "scopes",
    [[], ["generic-worker:os-group:other/pool/users"], ["generic-worker:os-group:user"], ["generic-worker:os-group"]],
)
def test_each_group_needs_its_scope(bench: Bench, scopes: list[str]) -> None:
    result = ask(bench, "users", scopes=scopes)

    assert result.outcome.reason == "malformed-payload"
    assert 'Feature "OS Groups" requires scopes:' in result.log
    assert f"generic-worker:os-group:{POOL}/users" in result.log


@pytest.mark.root
def test_an_unknown_group_is_told(bench: Bench) -> None:
    result = ask(bench, "no-such-group")

    assert result.outcome.reason == "malformed-payload"
    text = "[taskcluster:error] [osGroups] Could not add task user to OS group 'no-such-group': there is no such group"
    assert text in result.log


@pytest.mark.parametrize("name", ["tw-keys", "tw-redis", "tw-logs", "root", "task_AAAAAAAAAAAAA_0"])
def test_no_scope_opens_the_workers_own_groups(bench: Bench, name: str) -> None:
    bench.configure("executor", os_groups_allowed=[name])

    result = ask(bench, name)

    assert result.outcome.reason == "malformed-payload"
    assert "it belongs to the worker itself" in result.log


@pytest.mark.parametrize("name", ["docker", "disk", "shadow", "sudo", "adm", "kmem"])
def test_groups_that_are_root_in_disguise_are_refused(bench: Bench, name: str) -> None:
    result = ask(bench, name)

    assert result.outcome.reason == "malformed-payload"
    assert "[executor] os_groups_allowed" in result.log


@pytest.mark.root
def test_the_administrator_can_allow_them(bench: Bench) -> None:
    bench.configure("executor", os_groups_allowed=["disk"])

    assert "disk" in ask(bench, "disk").output[0].split()


@pytest.mark.parametrize("name", ["users,shadow", "users:x", "a b", "", "users\n", "0", "42"])
def test_a_list_or_a_number_in_a_name_does_not_smuggle_groups_in(bench: Bench, name: str) -> None:
    result = ask(bench, name)

    assert result.outcome.reason == "malformed-payload"
    assert result.output == []


@pytest.mark.root
def test_another_name_for_a_refused_groups_number_is_refused(bench: Bench) -> None:
    alias = f"x{secrets.token_hex(4)}"
    gid = str(grp.getgrnam("shadow").gr_gid)
    subprocess.run(["groupadd", "--non-unique", "--gid", gid, alias], check=True, timeout=30)
    try:
        result = ask(bench, alias)
    finally:
        subprocess.run(["groupdel", alias], check=True, timeout=30)

    assert result.outcome.reason == "malformed-payload"
    assert "its members can make themselves root" in result.log


def test_a_worker_can_switch_groups_off(bench: Bench) -> None:
    bench.configure("executor", enable_os_groups=False)

    result = ask(bench, "users")

    assert result.outcome.reason == "malformed-payload"
    text = f"This task requires feature OS Groups, which is not enabled on this worker pool ({POOL})"
    assert text in result.log
    assert "https://tc.example.com/worker-manager/proj-x%2Flinux" in result.log


@pytest.mark.parametrize(("name", "works"), [("users", False), ("games", True)])
def test_without_root_a_task_has_the_workers_groups_only(bench: Bench, name: str, works: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives its rights up itself")
    address = bench.server.address("executor")
    for path in (bench.state_dir, address.socket.parent, address.socket, address.password_file):
        os.chown(path, ORDINARY_UID, ORDINARY_UID)
    payload = {"command": shell("true"), "maxRunTime": 20, "osGroups": [name]}
    claimed = bench.claim(payload, scopes=["*"])

    def execute() -> None:
        os.setgroups([grp.getgrnam("games").gr_gid])
        os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
        bench.execute(claimed)

    assert JobProcess(execute).wait() == 0
    result = bench.result(claimed)

    assert result.outcome.succeeded is works
    if not works:
        assert "task payload contains unsupported osGroups: [users]" in result.log
        assert result.outcome.reason == "malformed-payload"


@pytest.mark.root
def test_a_killed_worker_leaves_no_membership(bench: Bench, group: str) -> None:
    run = bench.claim({"command": shell("echo go; sleep 1000"), "maxRunTime": 900, "osGroups": [group]}, scopes=["*"])
    first = bench.start(run)
    bench.wait_until(lambda: bench.has_log(run) and "go" in bench.result(run).output)
    assert len(grp.getgrnam(group).gr_mem) == 1
    first.kill()

    assert bench.start(run).wait() == 0

    assert grp.getgrnam(group).gr_mem == []
