"""What a hostile task sends to its Docker socket: nothing of it reaches the daemon."""

import json
from typing import Any

import pytest

from executor.docker.dind.quay import CONTAINER_ID, IMAGE_ID, LABELS, VICTIM_ID, Quay

API = "/v1.41"


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": True},
        {"privileged": True},
        {"PRIVILEGED": True},
        {"Binds": ["/:/host"]},
        {"Binds": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"Binds": ["../../etc:/e"]},
        {"Binds": ["~/x:/e"]},
        {"Binds": [":/e"]},
        {"Binds": ["data:/e:shared"]},
        {"Binds": ["data:relative"]},
        {"Binds": ["a/b:/e"]},
        {"binds": ["/:/host"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"Mounts": [{"type": "bind", "Source": "/", "Target": "/host"}]},
        {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/host"}]},
        {"Mounts": [{"Type": "volume", "Target": "/v", "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind"}}}}]},
        {"Mounts": [{"Type": "volume", "Source": "data", "Target": "/v", "BindOptions": {"Propagation": "shared"}}]},
        {"Mounts": [{"Type": "tmpfs", "Source": "/", "Target": "/v"}]},
        {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/v"}]},
        {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"DeviceRequests": [{"Count": -1}]},
        {"CapAdd": ["SYS_ADMIN"]},
        {"Capabilities": ["SYS_ADMIN"]},
        {"PidMode": "host"},
        {"PidMode": f"container:{VICTIM_ID}"},
        {"IpcMode": "host"},
        {"IpcMode": f"container:{VICTIM_ID}"},
        {"UTSMode": "host"},
        {"UsernsMode": "host"},
        {"CgroupnsMode": "host"},
        {"NetworkMode": "host"},
        {"NetworkMode": "HOST"},
        {"NetworkMode": "twother"},
        {"NetworkMode": "ns:/proc/1/ns/net"},
        {"NetworkMode": f"container:{VICTIM_ID}"},
        {"CgroupParent": "/"},
        {"Cgroup": "container:x"},
        {"Runtime": "other"},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"SecurityOpt": ["apparmor=unconfined"]},
        {"SecurityOpt": ["no-new-privileges=false"]},
        {"SecurityOpt": ["label=disable"]},
        {"Sysctls": {"kernel.core_pattern": "|/x"}},
        {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 1 << 20}]},
        {"OomKillDisable": True},
        {"OomScoreAdj": -1000},
        {"MaskedPaths": ["/nothing"]},
        {"ReadonlyPaths": ["/nothing"]},
        {"VolumeDriver": "other"},
        {"VolumesFrom": [VICTIM_ID]},
        {"VolumesFrom": ["mine:shared"]},
        {"Links": [f"{VICTIM_ID}:x"]},
        {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
        {"PublishAllPorts": True},
        {"ExtraHosts": ["x:host-gateway"]},
        {"ExtraHosts": ["x:1.2.3.4\n6.6.6.6 taskcluster"]},
        {"ExtraHosts": ["x:1.2.3"]},
        {"Dns": ["127.0.0.1"]},
        {"DnsOptions": ["x"]},
        {"StorageOpt": {"size": "1T"}},
        {"RestartPolicy": {"Name": "always"}},
        {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
        {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}]},
        {"CpuQuota": 100000},
        {"CpuRealtimeRuntime": 1},
        {"Tmpfs": {"/x": "dev,suid"}},
        {"Tmpfs": {"relative": "rw"}},
        {"GroupAdd": ["a b"]},
        {"CapDrop": ["ALL; x"]},
        {"CpusetCpus": "0 1"},
        {"Isolation": "hyperv"},
        {"KernelMemory": 1},
        {"SomethingOfTomorrow": True},
        {"Memory": "1g"},
        {"Memory": True},
        {"Memory": -1},
        {"Binds": "/:/host"},
        {"Binds": [["/:/host"]]},
        {"Mounts": {"Type": "bind"}},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_no_container_gets_more_than_its_task(quay: Quay, host: dict[str, Any]) -> None:
    reply = quay.create({"Image": "busybox", "HostConfig": host})

    assert reply.status in (400, 403, 404), reply.body
    assert not [each for each in quay.asked if each.method != "GET"]


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/swarm/init"), ("POST", "/swarm/join"), ("GET", "/swarm"), ("GET", "/nodes"), ("GET", "/services"),
        ("POST", "/services/create"), ("GET", "/tasks"), ("GET", "/secrets"), ("POST", "/secrets/create"),
        ("GET", "/configs"), ("POST", "/configs/create"), ("POST", "/plugins/pull"), ("POST", "/plugins/create"),
        ("GET", "/events"), ("GET", "/system/df"), ("GET", "/debug/pprof/"), ("GET", "/metrics"),
        ("POST", "/containers/prune"), ("POST", "/images/prune"), ("POST", "/volumes/prune"),
        ("POST", "/networks/prune"), ("POST", "/build/prune"), ("POST", "/session"), ("POST", "/grpc"),
        ("POST", "/build/cancel"),
        ("GET", "/distribution/busybox/json"), ("GET", "/images/search?term=x"), ("POST", "/images/busybox/push"),
        ("POST", "/networks/create"), ("POST", "/networks/bridge/connect"),
        ("DELETE", "/networks/bridge"), ("POST", "/containers/mine/update"), ("GET", "/containers/mine/checkpoints"),
        ("POST", "/containers/mine/checkpoints"), ("GET", "/containers/mine/attach/ws"), ("POST", "/auth"),
        ("POST", "/containers/mine/copy"), ("GET", "/containers/mine/stats"), ("PUT", "/containers/mine/json"),
        ("POST", "/containers/json"), ("DELETE", "/images/json/x/y/z"),
        ("GET", f"/containers/{VICTIM_ID}/json"), ("GET", f"/containers/{VICTIM_ID}/logs"),
        ("GET", "/containers/c/json"),
        ("POST", f"/containers/{VICTIM_ID}/start"), ("POST", f"/containers/{VICTIM_ID}/exec"),
        ("POST", f"/containers/{VICTIM_ID}/attach"), ("POST", f"/containers/{VICTIM_ID}/wait"),
        ("DELETE", f"/containers/{VICTIM_ID}?force=1"), ("GET", f"/containers/{VICTIM_ID}/archive?path=/"),
        ("GET", f"/containers/{VICTIM_ID}/export"), ("PUT", f"/containers/{VICTIM_ID}/archive?path=/"),
        ("POST", f"/commit?container={VICTIM_ID}"), ("POST", "/commit?container=mine&changes=LABEL%20taskward.run=x"),
        ("POST", "/exec/dddd/start"), ("GET", "/exec/dddd/json"), ("POST", "/exec/dddd/resize?h=1&w=1"),
        ("GET", "/images/taskward/artifact/json"), ("GET", "/images/taskward/dind-w:run-y.1/json"),
        ("GET", "/images/dddd/get"), ("GET", f"/images/get?names={'sha256:' + 'd' * 64}"), ("GET", "/images/get"),
        ("DELETE", "/images/alpine"), ("POST", "/images/alpine/tag?repo=x"),
        ("POST", "/images/busybox/tag?repo=taskward/executor&tag=latest"),
        ("POST", "/images/busybox/tag?repo=x&tag=a/b"), ("POST", "/images/busybox/tag?repo=x&tag=a%20b"),
        ("POST", "/images/create?fromSrc=http://169.254.169.254/&repo=x"),
        ("POST", "/images/create?fromSrc=-&repo=x&changes=LABEL%20taskward.run=x"),
        ("POST", "/images/create?fromSrc=-&repo=taskward/executor"),
        ("POST", "/images/create?fromImage=127.0.0.1:6379/x&tag=latest"),
        ("POST", "/images/create?fromImage=registry.example/x&tag=latest"),
        ("POST", "/images/create?fromImage=taskward/executor&tag=latest"), ("POST", "/images/create?fromImage=busybox"),
        ("POST", "/images/create"), ("GET", "/volumes/other"), ("DELETE", "/volumes/other"),
        ("POST", "/build?remote=https://example.org/x.git"), ("POST", "/build?remote=http://169.254.169.254/"),
        ("POST", "/build?networkmode=host"), ("POST", f"/build?networkmode=container:{VICTIM_ID}"),
        ("POST", "/build?version=2"), ("POST", "/build?cgroupparent=/x"), ("POST", "/build?memory=1"),
        ("POST", "/build?extrahosts=x:1"), ("POST", "/build?securityopt=%5B%22seccomp=unconfined%22%5D"),
        ("POST", "/build?ulimits=%5B%7B%22Name%22:%22x%22%7D%5D"), ("POST", "/build?session=abc"),
        ("POST", "/build?outputs=%5B%7B%22Type%22:%22local%22%7D%5D"), ("POST", "/build?t=taskward/executor"),
        ("POST", "/build?buildargs=%5B%5D"), ("POST", "/build?squash=1"), ("POST", "/build?isolation=x"),
        ("POST", "/containers/mine/start?checkpoint=x"), ("POST", "/containers/mine/kill?signal=a/b"),
        ("POST", "/containers/mine/rename?name=a/b"), ("POST", "/containers/mine/wait?condition=x"),
        ("GET", "/containers/json?filters=%7B%22volume%22:%5B%22x%22%5D%7D"), ("GET", "/containers/json?filters=x"),
        ("GET", "/containers/json?unknown=1"), ("GET", "/containers/mine/top?ps_args=-e%3Bx"),
        ("GET", "/containers/mine/archive"), ("GET", "/containers/json?all=1&all=0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["", API])
def test_what_is_not_the_tasks_is_not_there(quay: Quay, version: str, method: str, target: str) -> None:
    reply = quay.ask(method, f"{version}{target}")

    assert reply.status in (400, 403, 404, 409), reply
    assert reply.message
    assert [each for each in quay.asked if each.path != "/containers/taskward-w-run/json"] == []


def test_what_reaches_the_daemon_is_written_by_the_filter(quay: Quay) -> None:
    wanted = {
        "Image": "busybox", "Cmd": ["true"], "Env": ["A=b"], "Labels": {"mine": "1", **dict.fromkeys(LABELS, "other")},
        "HostConfig": {
            "Memory": 1 << 40, "MemorySwap": -1, "MemorySwappiness": -1, "PidsLimit": -1, "NanoCpus": 64 * 10**9,
            "CpusetCpus": "0-63", "ShmSize": 1 << 40, "LogConfig": {"Type": "syslog", "Config": {"address": "x"}},
            "NetworkMode": "default", "CapAdd": None, "CapDrop": ["CAP_CHOWN"], "MaskedPaths": [],
            "ReadonlyPaths": None,
            "Privileged": False, "OomKillDisable": False, "CgroupParent": "", "ConsoleSize": [24, 80],
            "AutoRemove": True, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "Ulimits": [],
        },
        "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Links": None, "IPAddress": ""}}},
    }  # fmt: skip
    reply = quay.ask("POST", f"{API}/containers/create?name=aa&platform=", wanted, X_Registry_Auth="secret")
    assert reply.status == 201, reply.body
    (asked,) = quay.asked
    sent = asked.document
    host = sent["HostConfig"]

    assert asked.path == "/containers/create"
    assert asked.query["name"][0].startswith("taskward-w-run-dind-box_")
    assert sent["Image"] == IMAGE_ID
    assert sent["Labels"] == {"mine": "1", **LABELS}
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (1 << 30, 1 << 30, 100)
    assert (host["NanoCpus"], host["CpusetCpus"], host["ShmSize"]) == (1_500_000_000, "0", 64 << 20)
    assert (host["NetworkMode"], host["CgroupParent"]) == ("twnetwork", "/taskward-w/run")
    assert (host["CapDrop"], host["SecurityOpt"]) == (["CHOWN", "NET_RAW"], ["no-new-privileges"])
    assert host["LogConfig"]["Type"] == "json-file"
    assert host["ExtraHosts"] == ["taskcluster:172.18.0.1"]
    assert not {"Privileged", "MaskedPaths", "CapAdd", "Devices", "OomKillDisable", "Ulimits"} & host.keys()
    quay.ask("DELETE", "/containers/aa")


def test_names_of_the_task_never_reach_the_daemon(quay: Quay) -> None:
    quay.ask("GET", f"{API}/containers/mine/json")
    quay.ask("POST", f"{API}/containers/bbbb/start?t=&detachKeys=ctrl-p,ctrl-q")
    quay.ask("POST", f"{API}/images/busybox/tag?repo=x/y&tag=1")
    quay.ask("GET", f"{API}/images/x/y:1/json")
    quay.ask("GET", f"{API}/images/docker.io/library/busybox:latest/json")

    assert [each.path for each in quay.asked] == [
        f"/containers/{CONTAINER_ID}/json", f"/containers/{CONTAINER_ID}/start",
        f"/images/{IMAGE_ID}/json", f"/images/{IMAGE_ID}/json",
    ]  # fmt: skip
    quay.ask("DELETE", "/images/x/y:1")


@pytest.mark.parametrize(
    "body",
    [{"Cmd": ["sh"], "Privileged": True}, {"Cmd": ["sh"], "privileged": True}, {"Cmd": ["sh"], "Other": 1},
     {"Cmd": ["sh"], "DetachKeys": "a b\n"}],
)  # fmt: skip
def test_a_further_program_has_no_more_rights(quay: Quay, body: dict[str, Any]) -> None:
    assert quay.ask("POST", "/containers/mine/exec", body).status == 403
    assert quay.asked == []


def test_a_start_changes_no_container(quay: Quay) -> None:
    """Before API 1.24 a start could say how the container is made."""
    reply = quay.ask("POST", "/v1.12/containers/mine/start", {"Binds": ["/:/host"], "Privileged": True})

    assert reply.status == 403
    assert quay.asked == []


@pytest.mark.parametrize(
    "volume",
    [{"Name": "x", "DriverOpts": {"type": "none", "device": "/", "o": "bind"}}, {"Name": "x", "Driver": "other"},
     {"Name": "../x"}, {"Name": "x", "driveropts": {"device": "/"}}, {"Name": "x", "ClusterVolumeSpec": {"a": 1}}],
)  # fmt: skip
def test_a_volume_is_a_directory_of_the_daemons(quay: Quay, volume: dict[str, Any]) -> None:
    assert quay.ask("POST", "/volumes/create", volume).status in (400, 403)
    assert quay.asked == []


def test_a_volume_of_the_same_name_is_another(quay: Quay) -> None:
    assert quay.create({"Image": "busybox", "HostConfig": {"Binds": ["postgres:/data:ro"]}}).status == 201
    volume, container = (each.document for each in quay.asked)

    assert volume["Name"].startswith("taskward-w-run-dind-box_")
    assert volume["Labels"] == LABELS
    assert container["HostConfig"]["Binds"] == [f"{volume['Name']}:/data:ro"]


@pytest.mark.parametrize("login", ["eyJ1c2VybmFtZSI6ICJhIn0=", "eyJpZGVudGl0eXRva2VuIjogImEifQ", "%%%", "W10="])
def test_logins_of_a_task_go_nowhere(quay: Quay, login: str) -> None:
    reply = quay.ask("POST", "/images/create?fromImage=busybox&tag=1", X_Registry_Auth=login)

    assert reply.status in (400, 403)
    assert (quay.porter.pulled, quay.asked) == ([], [])


def test_labels_of_images_do_not_make_them_another_runs(quay: Quay) -> None:
    config = {"Labels": {"taskward.run": "victim/0", "mine": "1"}, "Cmd": ["true"]}
    assert quay.ask("POST", "/commit?container=mine&repo=own", config).status == 201
    sent = quay.asked[0]

    assert sent.document["Labels"] == {"mine": "1", **dict.fromkeys(LABELS, "")}
    assert sent.query["repo"] == ["taskward/dind-w"]
    assert "own" not in json.dumps([*sent.query.values()])


@pytest.mark.parametrize("name", ["taskward/executor:latest", "../x", "sha256:" + "a" * 64 + "x", "a b", ""])
def test_what_is_loaded_takes_no_name_of_the_workers(quay: Quay, name: str) -> None:
    quay.porter.called = [name]
    reply = quay.ask("POST", "/images/load?quiet=1", b"archive")

    assert reply.status == 400
    assert (quay.porter.loaded, quay.asked) == ([], [])


def test_what_is_loaded_bears_the_tasks_name_for_the_task_only(quay: Quay) -> None:
    quay.porter.called = ["tool:1"]
    reply = quay.ask("POST", "/images/load?quiet=1", b"archive")

    assert reply.document == {"stream": "Loaded image: tool:1\n"}
    assert quay.porter.loaded[-1].startswith("taskward/dind-w:run-x.")
    assert quay.ask("GET", "/images/tool:1/json").document["RepoTags"] == ["busybox:latest", "tool:1"]
    assert "tool" not in str([each for each in quay.asked if each.method != "GET"])
    quay.ask("DELETE", "/images/tool:1")
