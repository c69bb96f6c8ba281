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


def test_only_the_signer_has_the_keyholders_socket_and_secrets_have_one_reader(cluster: Cluster) -> None:
    assert _who_mounts(cluster, "run/keyholder") == {"keyholder", "signer"}
    assert _who_mounts(cluster, "keys") == {"keyholder"}
    for role in ("claimer", "executor", "gateway", "proxy", "signer", "uploader"):
        assert _who_mounts(cluster, f"secrets/{role}") == {role}
    assert _who_mounts(cluster, "run/redis") == {"redis", "claimer", "executor", "uploader", "proxy", "gateway"}


def test_signer_is_in_a_network_with_only_the_uploader_and_in_one_with_only_the_queue(cluster: Cluster) -> None:
    found = {role: {name.partition("_")[2] for name in _addresses(cluster, role)} for role in ROLES}
    assert {role for role in ROLES if "signing" in found[role]} == {"signer", "uploader"}
    assert {role for role in ROLES if "verifying" in found[role]} == {"signer", "devcluster"}
    assert found["signer"] == {"signing", "verifying"}


def test_private_key_is_on_no_network(cluster: Cluster) -> None:
    _, routes = cluster.inside("keyholder", "cat", "/proc/net/route", "/proc/net/dev")
    assert "eth" not in routes


PROBE = """
import socket, ssl, sys
try: print(socket.gethostbyname("signer.signing"))
except OSError: print("no such name")
for address in sys.argv[1:]:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        print(errno := probe.connect_ex((address, 60025)))
        if errno == 0:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try: print(context.wrap_socket(probe).recv(1))  # version 1.3 tells with the first bytes
            except ssl.SSLError as error: print(error.reason)
"""
REFUSED = "111"


@pytest.mark.parametrize("role", ["executor", "claimer", "gateway"])
def test_nobody_else_has_a_way_to_the_signer(cluster: Cluster, role: str) -> None:
    """Not by name, and not by address: their networks are not connected."""
    _, output = cluster.inside(role, "python", "-c", PROBE, *_addresses(cluster, "signer").values())
    name, *answers = output.splitlines()
    assert name == "no such name"
    assert not {"0", REFUSED} & set(answers), "an answer, be it a refusal, would mean a way there"


def test_queue_that_the_signer_asks_finds_no_listener_there(cluster: Cluster) -> None:
    (address,) = (each for name, each in _addresses(cluster, "signer").items() if name.endswith("_verifying"))
    _, output = cluster.inside("devcluster", "python", "-c", PROBE, address)
    assert output.splitlines() == ["no such name", REFUSED]


def test_uploader_is_nobody_to_the_signer_without_its_certificate(cluster: Cluster) -> None:
    (address,) = (each for name, each in _addresses(cluster, "signer").items() if name.endswith("_signing"))
    _, output = cluster.inside("uploader", "python", "-c", PROBE, address)
    assert output.splitlines() == [address, "0", "TLSV13_ALERT_CERTIFICATE_REQUIRED"]


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


def _addresses(cluster: Cluster, role: str) -> dict[str, str]:
    """By the full names of its networks."""
    networks: dict[str, Any] = cluster.container(role)["NetworkSettings"]["Networks"]
    return {name: each["IPAddress"] for name, each in networks.items()}


def _who_mounts(cluster: Cluster, path: str) -> set[str]:
    wanted = str(cluster.state_dir / path)
    return {
        role for role in ROLES if any(mount["Destination"] == wanted for mount in cluster.container(role)["Mounts"])
    }
