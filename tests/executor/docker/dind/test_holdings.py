"""What a run has, and how much of it."""

import select
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.docker.dind.quay import CONTAINER_ID, IMAGE_ID, TIMEOUT_S, VICTIM_ID, Quay
from taskward.executor.docker.daemon import without_host
from taskward.executor.docker.dind.server import MOST_CONNECTIONS


@pytest.fixture
def quay() -> Iterator[Quay]:
    directory = Path(tempfile.mkdtemp(prefix="tw"))
    quay = Quay(directory)
    yield quay
    quay.close()
    shutil.rmtree(directory)


def test_containers_are_counted_and_those_that_are_gone_are_not(quay: Quay) -> None:
    first, second = (quay.create({"Image": "busybox"}).document["Id"] for _ in range(2))
    quay.dockerd.stories["/containers/json"] = [{"Id": each} for each in (first, second, CONTAINER_ID)]
    refused = quay.create({"Image": "busybox"})
    quay.dockerd.stories["/containers/json"] = [{"Id": first}, {"Id": CONTAINER_ID}]
    taken = quay.create({"Image": "busybox"})

    assert refused.status == 403
    assert "at most 3 containers ([docker] dind_max_containers)" in refused.message
    assert taken.status == 201


def test_images_are_counted_by_what_the_task_has_added(quay: Quay) -> None:
    quay.dockerd.stories[f"{IMAGE_ID}/json"] = {"Id": IMAGE_ID, "Size": 10_000}
    quay.dockerd.stories["/json"] = {"Id": "sha256:new", "Size": 10_900}
    fits = quay.ask("POST", "/commit?container=mine&repo=own")
    quay.dockerd.stories["/json"] = {"Id": "sha256:newer", "Size": 10_200}
    refused = quay.ask("POST", "/commit?container=mine&repo=other")

    assert fits.status == 201
    assert refused.status == 403
    assert "at most 1000 bytes ([docker] dind_max_bytes)" in refused.message
    assert quay.asked[-1].method == "DELETE"
    assert quay.asked[-1].path.startswith("/images/taskward/dind-w:run-x.")


def test_what_is_sent_is_counted_while_it_comes(quay: Quay) -> None:
    assert quay.ask("POST", "/images/load", b"x" * 1001).status == 413
    assert quay.ask("POST", "/images/create?fromSrc=-&repo=x", b"x" * 1001).status in (413, 500)
    assert not quay.porter.loaded


def test_a_name_is_the_tasks_own_however_it_is_written(quay: Quay) -> None:
    assert quay.ask("POST", "/images/busybox/tag?repo=registry.example:5000/a/b&tag=1").status == 201
    listed = quay.ask("GET", "/images/json").document
    assert listed[0]["RepoTags"] == ["busybox:latest", "registry.example:5000/a/b:1"]
    assert quay.ask("DELETE", "/images/registry.example:5000/a/b:1").document == [
        {"Untagged": "registry.example:5000/a/b:1"}
    ]
    assert quay.ask("DELETE", "/images/busybox").status == 409  # a container is made of it
    assert not [each for each in quay.asked if each.method != "GET"]


def test_the_last_name_of_an_image_takes_its_pin_away(quay: Quay) -> None:
    quay.ask("DELETE", "/containers/mine")
    quay.asked.clear()
    reply = quay.ask("DELETE", "/images/docker.io/library/busybox")

    assert reply.document == [{"Untagged": "busybox:latest"}, {"Deleted": IMAGE_ID}]
    assert [(each.method, each.path) for each in quay.asked] == [("DELETE", "/images/taskward/dind-w:run-x.1")]
    assert quay.ask("GET", "/images/busybox/json").status == 404


def test_containers_are_renamed_and_found_by_the_beginning_of_their_id(quay: Quay) -> None:
    assert quay.ask("POST", "/containers/mine/rename?name=other").status == 204
    assert quay.ask("GET", "/containers/mine/json").status == 404
    assert quay.ask("GET", "/containers/other/json").document["Name"] == "/other"
    assert quay.ask("GET", "/containers/bbbbbbbbbbbb/json").document["Name"] == "/other"
    assert quay.ask("GET", "/containers/bbb/json").status == 404
    assert quay.create({"Image": "busybox"}).status == 201
    assert quay.ask("POST", "/containers/create?name=other", {"Image": "busybox"}).status == 409


def test_a_container_that_has_removed_itself_makes_room_for_its_name(quay: Quay) -> None:
    quay.dockerd.stories["/containers/json"] = []
    assert quay.ask("POST", "/containers/create?name=mine", {"Image": "busybox"}).status == 201


def test_only_the_runs_own_containers_are_listed(quay: Quay) -> None:
    told = {"Names": ["/secret"], "Labels": {"taskward.run": "x", "a": "b"}, "Mounts": [{"Source": "/host"}]}
    quay.dockerd.stories["/containers/json"] = [{**told, "Id": CONTAINER_ID}, {**told, "Id": "f" * 64}]
    reply = quay.ask("GET", '/containers/json?all=1&filters={"label":{"a=b":true},"name":["mine"]}')
    (listed,) = reply.document

    assert (listed["Names"], listed["Labels"], listed["Mounts"]) == (["/mine"], {"a": "b"}, [])
    assert '"label": ["a=b", "taskward.run=the-run/0"]' in quay.asked[0].query["filters"][0]
    assert b"/host" not in reply.body


def test_what_is_the_hosts_is_not_told(quay: Quay) -> None:
    secrets = {"ResolvConfPath": "/host/x", "GraphDriver": {"Data": "/host/y"}, "LogPath": "/host/z"}
    quay.dockerd.stories[f"{CONTAINER_ID}/json"] = {
        "Id": CONTAINER_ID, **secrets, "State": {"Pid": 4711, "Status": "running"}, "Config": {"Labels": {"a": "b"}},
        "HostConfig": {"CgroupParent": "/host/c", "Binds": ["/host/b:/x"], "AutoRemove": True},
        "Mounts": [{"Type": "volume", "Name": "other", "Source": "/host/v", "Destination": "/d"}],
    }  # fmt: skip
    reply = quay.ask("GET", "/containers/mine/json")

    assert reply.document["State"] == {"Status": "running", "Pid": 0}
    assert reply.document["HostConfig"] == {"AutoRemove": True, "NetworkMode": "default"}
    assert b"/host" not in reply.body
    assert b"4711" not in reply.body


def test_a_task_finds_its_own_container_by_its_host_name_for_the_network_only(quay: Quay) -> None:
    wanted = {"Image": "busybox", "HostConfig": {"NetworkMode": "container:eeeeeeeeeeee"}}
    assert quay.create(wanted).status == 201
    assert quay.asked[-1].document["HostConfig"]["NetworkMode"] == f"container:{'e' * 64}"
    assert quay.ask("POST", "/containers/eeeeeeeeeeee/stop").status == 404


def test_the_network_of_a_container_that_is_not_there_makes_no_client_pull_the_image(quay: Quay) -> None:
    for name in ("eee", "nosuch", VICTIM_ID):
        reply = quay.create({"Image": "busybox", "HostConfig": {"NetworkMode": f"container:{name}"}})
        assert (reply.status, reply.message) == (400, f"No such container: {name}")


def test_a_file_is_told_without_the_directory_where_the_daemon_keeps_it() -> None:
    for root in (
        f"/var/lib/docker/overlay2/{'a' * 64}/merged", f"/srv/docker/btrfs/subvolumes/{'a' * 64}",
        f"/run/x/rootfs/overlayfs/{'a' * 64}", f"/d/vfs/dir/{'a' * 64}",
    ):  # fmt: skip
        assert without_host(f"lstat {root}/a/f x/y: no") == "lstat /a/f x/y: no"
        assert without_host(f'mounting "{root}/proc"') == 'mounting "/proc"'
    own = f"Could not find the file /own/{'a' * 64}/x in container c"
    assert without_host(own) == own


def test_a_client_that_is_gone_ends_what_is_done_for_it(quay: Quay) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(quay.path))
        client.sendall(b"POST /containers/mine/wait HTTP/1.1\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert not quay.dockerd.abandoned.is_set()
    assert quay.dockerd.abandoned.wait(TIMEOUT_S)


def test_more_clients_than_there_may_be_are_sent_away(quay: Quay) -> None:
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(MOST_CONNECTIONS + 20)]
    try:
        for each in clients:
            each.connect(str(quay.path))
        sent_away: set[socket.socket] = set()
        while len(sent_away) < 20:
            found, _, _ = select.select([each for each in clients if each not in sent_away], [], [], TIMEOUT_S)
            assert found
            sent_away |= set(found)
        assert all(each.recv(1) == b"" for each in sent_away)
    finally:
        for each in clients:
            each.close()
    assert quay.ask("GET", "/_ping").body == b"OK"


def test_images_for_another_machine_are_not_taken_for_ours(quay: Quay) -> None:
    quay.dockerd.stories["/version"] = {"Os": "linux", "Arch": "amd64"}
    for target in ("/containers/create?", "/images/create?fromImage=x&tag=1&", "/build?"):
        assert "there is linux/amd64" in quay.ask("POST", f"{target}platform=linux/arm64", {"Image": "busybox"}).message
    assert quay.ask("POST", "/containers/create?platform=linux/amd64", {"Image": "busybox"}).status == 201
