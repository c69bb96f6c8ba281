"""What a container may, and cannot; what its neighbours cannot do to it."""

from typing import Any

import pytest

from .compose import ROLES, Cluster

AS_ROOT = {"executor"}
"""It makes users and processes for tasks."""
ON_LOOPBACK = {"devcluster", "gateway"}


@pytest.mark.parametrize("role", ROLES)
def test_container_has_no_more_rights_than_its_role_needs(cluster: Cluster, role: str) -> None:
    found = cluster.container(role)
    host = found["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert not host["Privileged"]
    assert host["PidMode"] == ""
    assert host["ReadonlyRootfs"] == (role not in AS_ROOT)
    assert bool(host["CapAdd"]) == (role in AS_ROOT)
    assert (found["Config"]["User"] == "") == (role in AS_ROOT)


@pytest.mark.parametrize("role", [role for role in ROLES if role not in AS_ROOT])
def test_process_is_an_ordinary_user_without_capabilities(cluster: Cluster, role: str) -> None:
    code, status = cluster.inside(role, "sh", "-c", "cat /proc/1/status; touch /etc/x")
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert code != 0
    assert "Read-only file system" in status
    assert "0" not in lines["Uid"].split()
    assert {int(lines[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert lines["NoNewPrivs"] == "1"


@pytest.mark.parametrize("role", ROLES)
def test_ports_are_published_on_loopback_only(cluster: Cluster, role: str) -> None:
    bindings = cluster.container(role)["HostConfig"]["PortBindings"] or {}
    addresses = {each["HostIp"] for bound in bindings.values() for each in bound}
    assert addresses == ({"127.0.0.1"} if role in ON_LOOPBACK else set())


def test_only_the_signer_has_the_keyholders_socket_and_only_the_uploader_the_signers(cluster: Cluster) -> None:
    assert _who_mounts(cluster, "run/keyholder") == {"keyholder", "signer"}
    assert _who_mounts(cluster, "run/signer") == {"signer", "uploader"}
    assert _who_mounts(cluster, "keys") == {"keyholder"}
    assert _who_mounts(cluster, "secrets/claimer") == {"claimer"}
    assert _who_mounts(cluster, "run/redis") == {"redis", "claimer", "executor", "uploader", "proxy", "gateway"}


def test_private_key_is_on_no_network(cluster: Cluster) -> None:
    _, routes = cluster.inside("keyholder", "cat", "/proc/net/route", "/proc/net/dev")
    assert "eth" not in routes


@pytest.mark.parametrize("role", ["executor", "claimer", "uploader", "gateway"])
def test_nobody_reaches_the_signer_by_network(cluster: Cluster, role: str) -> None:
    """Not by name, and not by address: their networks are not connected."""
    networks: dict[str, Any] = cluster.container("signer")["NetworkSettings"]["Networks"]
    (address,) = (each["IPAddress"] for each in networks.values())
    probe = (
        "import socket, sys\n"
        "try: print(socket.gethostbyname('signer'))\n"
        "except OSError: print('no such name')\n"
        "with socket.socket() as s:\n"
        "    s.settimeout(1)\n"
        "    print(s.connect_ex((sys.argv[1], 80)) == 111)\n"
    )
    _, output = cluster.inside(role, "python", "-c", probe, address)
    assert output.split("\n")[:2] == ["no such name", "False"], "an answer, be it a refusal, would mean a way there"


def test_task_finds_neither_sockets_nor_secrets(cluster: Cluster) -> None:
    state = cluster.state_dir
    script = f"cd {state}; ls run/redis run/shells keys run/signer; cat run/redis/redis.sock secrets/executor/*"
    program = f"{script}; curl --silent --unix-socket /var/run/docker.sock http://x/info; true"
    task_id = cluster.create({"command": [["/bin/bash", "-c", program]]})
    assert cluster.resolution(task_id) == "completed/completed"
    log = cluster.get(task_id, "public/logs/live_backing.log")
    for hidden in ("'run/redis'", "'run/shells'", "run/redis/redis.sock", "'secrets/executor/*'"):
        assert any(hidden in line and "Permission denied" in line for line in log.splitlines()), f"{hidden}: {log}"
    for absent in ("keys", "run/signer"):
        assert f"'{absent}': No such file or directory" in log
    assert "ServerVersion" not in log


def _who_mounts(cluster: Cluster, path: str) -> set[str]:
    wanted = str(cluster.state_dir / path)
    return {
        role for role in ROLES if any(mount["Destination"] == wanted for mount in cluster.container(role)["Mounts"])
    }
