"""Builds of hostile and of honest Dockerfiles, by a builder that has nothing but the task's own socket."""

import gzip
import tarfile

import pytest

from executor.docker.dind.quay import CONTAINER_ID, IMAGE_ID, VICTIM_ID
from executor.docker.dind.slip import FILES, Slip, link, packed
from taskward.executor.docker.dind.build.errors import BuildFailed
from taskward.executor.docker.dind.errors import Refusal


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM taskward/executor", "FROM taskward/dind-w:run-y.1", f"FROM sha256:{'d' * 64}",
        "FROM registry.example/x", "FROM 127.0.0.1:6379/x", "FROM 169.254.169.254/x", "FROM ../x", "FROM absent",
        "ARG X=taskward/executor\nFROM $X", "FROM busybox\nCOPY --from=taskward/executor / /",
        f"FROM busybox\nCOPY --from={VICTIM_ID} / /",
        "FROM busybox\nADD http://169.254.169.254/ /x", "FROM busybox\nADD https://example.org/x /x",
        "FROM busybox\nADD git@example.org:x /x", "FROM busybox\nCOPY /etc/shadow /x", "FROM busybox\nCOPY absent /x",
        "FROM busybox\nCOPY ../../../etc/shadow /x", "FROM busybox\nCOPY a.txt",
        "FROM busybox\nCOPY --chown=nobody a.txt /",
        "FROM busybox\nCOPY --chown=-1:0 a.txt /", "FROM busybox\nHEALTHCHECK sometimes",
        "FROM busybox\nONBUILD FROM x",
        "FROM busybox\nSHELL sh", "FROM busybox\nEXPOSE http", "FROM busybox\nENV A=1 B",
        "FROM busybox\nVOLUME relative",
        "FROM busybox\nRUN --network=host x", "FROM busybox\nSTOPSIGNAL a b", "FROM",
    ],
)  # fmt: skip
def test_a_dockerfile_reaches_nothing_that_its_task_does_not(slip: Slip, dockerfile: str) -> None:
    with pytest.raises((BuildFailed, Refusal)):
        slip.build(dockerfile)

    assert slip.put() == {}
    assert not [each for each in slip.quay.asked if each.path == "/commit"]


def test_what_is_no_name_of_an_image_is_told_as_such(slip: Slip) -> None:
    with pytest.raises(Refusal, match=r"'\.\./\.\./x' is no name of an image"):
        slip.build("FROM ../../x")


@pytest.mark.parametrize(
    "context",
    [
        b"", b"no archive", b"\x1f\x8b\x08broken", packed({}), packed(FILES),
        packed({"Dockerfile": b"FROM busybox"})[:520], packed({}, link(tarfile.SYMTYPE, "Dockerfile", "/etc/passwd")),
        packed({"big": bytes(1 << 21)}),
    ],
)  # fmt: skip
def test_a_context_without_a_dockerfile_is_told(slip: Slip, context: bytes) -> None:
    with pytest.raises((BuildFailed, Refusal)):
        slip.build("", context)
    assert slip.quay.asked == []


def test_a_context_that_grows_when_it_is_unpacked_is_refused(slip: Slip) -> None:
    with pytest.raises(BuildFailed, match="larger than 1048576 bytes"):
        slip.build("", gzip.compress(packed({"Dockerfile": b"FROM busybox", "big": bytes(1 << 22)})))


def test_a_name_in_the_context_leads_nowhere_else(slip: Slip) -> None:
    members = (
        link(tarfile.SYMTYPE, "d/out", "/etc"), link(tarfile.SYMTYPE, "../../up", "x"),
        link(tarfile.LNKTYPE, "d/hard", "d/b.txt"),
    )  # fmt: skip
    files = {"Dockerfile": b"FROM busybox\nCOPY . /srv/\n", "/etc/x": b"1", "d/../../../y": b"2", "d/b.txt": b"3"}
    slip.build("", packed(files, *members))

    assert set(slip.put()) == {
        "srv", "srv/Dockerfile", "srv/etc", "srv/etc/x", "srv/y", "srv/d", "srv/d/b.txt", "srv/d/out", "srv/up",
        "srv/d/hard",
    }  # fmt: skip
    assert slip.put()["srv/d/hard"].linkname == "srv/d/b.txt"
    assert {(each.uid, each.gid, each.uname) for each in slip.put().values()} == {(0, 0, "")}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("COPY a.txt /x", {"x"}), ("COPY a.txt /x/", {"x", "x/a.txt"}), ("COPY d /x", {"x/b.txt", "x/c.md", "x"}),
        ("COPY d/*.txt /x/y/", {"x", "x/y", "x/y/b.txt"}), ("COPY a.txt d /x/", {"x", "x/a.txt", "x/b.txt", "x/c.md"}),
        ('COPY ["a.txt", "/with space"]', {"with space"}), ("COPY ./d/../a.txt /x", {"x"}),
        ("WORKDIR /w\nWORKDIR v\nCOPY a.txt .", {"w", "w/v", "w/v/a.txt"}), ("ENV P=/p\nCOPY a.txt $P", {"p"}),
        ("COPY */b.txt /x", {"x"}),
    ],
)  # fmt: skip
def test_files_are_copied_where_docker_copies_them(slip: Slip, line: str, expected: set[str]) -> None:
    slip.build(f"FROM busybox\n{line}\n")
    assert set(slip.put()) == expected


def test_an_image_says_what_its_dockerfile_says(slip: Slip) -> None:
    slip.quay.dockerd.stories[f"{IMAGE_ID}/json"] = {
        "Id": IMAGE_ID, "Size": 1,
        "Config": {"Env": ["PATH=/bin", "OLD=1"], "Cmd": ["sh"], "OnBuild": ["ENV TRIGGERED=$OLD"],
                   "Labels": {"l": "0"}},
    }  # fmt: skip
    told = slip.build(
        "ARG BASE=busybox\nFROM $BASE\nARG V=1\nENV A=$V B='x y' C=\"$OLD\"\nENV OLD 2 3\nLABEL l=1 m=\"n o\"\n"
        "USER 1000\nEXPOSE 80 53/udp\nVOLUME /data\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=1m30s --retries=2 "
        "CMD test -e /x\n"
        'ENTRYPOINT ["run", "$A"]\nWORKDIR /w\nONBUILD RUN echo later\n',
        arguments={"V": "7"}, labels={"given": "here"},
    )  # fmt: skip
    image = slip.committed()

    assert "# Executing build trigger: ENV TRIGGERED=$OLD" in told
    assert "Successfully tagged own:1" in told
    assert image["Env"] == ["PATH=/bin", "OLD=2 3", "TRIGGERED=1", "A=7", "B=x y", "C=1"]
    assert (image["Cmd"], image["Entrypoint"]) == (None, ["run", "$A"])
    assert {key: value for key, value in image["Labels"].items() if value} == {"l": "1", "m": "n o", "given": "here"}
    assert image["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert image["Volumes"] == {"/data": {}}
    assert (image["User"], image["WorkingDir"], image["StopSignal"]) == ("1000", "/w", "SIGINT")
    assert image["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -e /x"], "Interval": 90 * 10**9, "Timeout": 0, "StartPeriod": 0, "Retries": 2
    }  # fmt: skip
    assert image["OnBuild"] == ["RUN echo later"]
    assert slip.quay.ask("GET", "/images/own:1/json").status == 200


def test_a_build_ends_with_its_target(slip: Slip) -> None:
    told = slip.build("FROM busybox AS one\nENV A=1\nFROM absent AS two\n", target="ONE")
    assert "Step 2/3" in told
    assert "Step 3/3" not in told
    with pytest.raises(BuildFailed, match="failed to reach build target"):
        slip.build("FROM busybox", target="nowhere")


def test_intermediate_things_go_with_the_build(slip: Slip) -> None:
    reply = slip.quay.ask("POST", "/build?t=own:2&dockerfile=Dockerfile", b"context")
    (order,) = slip.quay.porter.built
    assert reply.document == {"stream": "built"}
    assert order["names"] == ["own:2"]
    assert order["token"].startswith("build-")
    assert CONTAINER_ID in {each.id for each in slip.quay.holdings.containers()}
