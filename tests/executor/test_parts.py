"""Small parts: durations, content, names, control group mounts."""

import fcntl
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from taskward.executor.cgroup import Hierarchies, parent_name
from taskward.executor.content import content_encoding, content_type
from taskward.executor.duration import go_duration
from taskward.executor.names import obstacle, refusal, shown
from taskward.executor.payload_artifacts import ArtifactRequest
from taskward.executor.watch import readable


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0156, "15.6ms"),
        (0.000001, "1µs"),
        (0.0000015, "1.5µs"),
        (1e-9, "1ns"),
        (1, "1s"),
        (3.4, "3.4s"),
        (60, "1m0s"),
        (3723.4, "1h2m3.4s"),
        (3600, "1h0m0s"),
        (86400.000001, "24h0m0.000001s"),
        (-1.5, "-1.5s"),
    ],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


def test_a_descriptor_of_any_number_can_be_waited_for() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    ours, theirs = os.pipe()
    with open(ours, "rb"), open(fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 1500), "rb") as far:
        assert far.fileno() >= 1500
        assert not readable(far, 0)
        os.close(theirs)
        assert readable(far, 5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def request_for(**more: Any) -> ArtifactRequest:
    return ArtifactRequest.parse({"type": "file", "path": "x", **more})


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.log", "text/plain"),
        ("a.LOG", "text/plain"),
        ("a.jsonl", "application/jsonl"),
        ("a.json", "application/json"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.html", "text/html; charset=utf-8"),
        ("a.tar.gz", "application/gzip"),
        ("a.zip", "application/zip"),
        ("a.unheard-of", "application/octet-stream"),
        ("no-extension", "application/octet-stream"),
    ],
)
def test_content_types_follow_from_extensions(path: str, kind: str) -> None:
    assert content_type(request_for(), path) == kind


@pytest.mark.parametrize(
    ("path", "encoding"),
    [("a.txt", "gzip"), ("a.png", "identity"), ("a.PNG", "identity"), ("a.tar.gz", "identity"), ("a", "gzip")],
)
def test_what_is_compressed_is_not_compressed_again(path: str, encoding: str) -> None:
    assert content_encoding(request_for(), path) == encoding


def test_what_the_payload_says_goes_before_extensions() -> None:
    request = request_for(contentType="a/b", contentEncoding="gzip")

    assert (content_type(request, "a.png"), content_encoding(request, "a.png")) == ("a/b", "gzip")


@pytest.mark.parametrize("name", ["public/a", "a b", "~", "...", "a..b", "x" * 1024])
def test_names_that_the_queue_bears(name: str) -> None:
    assert refusal(name) == ""


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\n", "a\0", "ü", "..", "a/..", "../a", "a/./b", "\udc80"])
def test_names_that_it_does_not_bear(name: str) -> None:
    assert refusal(name)
    assert shown(name).isprintable()
    assert len(shown(name)) <= 201


@pytest.mark.parametrize(
    ("name", "text"),
    [("bad\udcffname", r"bad\xffname"), ("a\nb\0", r"a\nb\x00"), ("\u2011", r"\u2011"), ("\ud800", r"\ud800")],
)
def test_characters_that_cannot_be_seen_are_told(name: str, text: str) -> None:
    assert shown(name) == text


@pytest.mark.parametrize("name", ["public/100%", "public/a%20b", "public/a//b"])
def test_names_that_readers_cannot_fetch(name: str) -> None:
    assert refusal(name) == ""
    assert "does not escape" in obstacle(name)
    assert obstacle(f"private/{name}") == obstacle("public/a/b c?d#e") == ""


HYBRID = b"""cgroup /c/memory cgroup rw,memory 0 0
cgroup /c/pids cgroup rw,nosuid,pids 0 0
cgroup2 /c/unified cgroup2 rw 0 0
"""
MOUNTS = {"v2": b"cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "hybrid": HYBRID, "none": b"proc /proc proc rw 0 0\n"}


@pytest.mark.parametrize(
    ("system", "found"),
    [
        ("v2", Hierarchies(Path("/sys/fs/cgroup"), None, None)),
        ("hybrid", Hierarchies(Path("/c/unified"), Path("/c/memory"), Path("/c/pids"))),
        ("none", Hierarchies(None, None, None)),
    ],
)
def test_control_groups_are_found_in_the_mount_table(system: str, found: Hierarchies) -> None:
    assert Hierarchies.find(MOUNTS[system]) == found


def test_a_place_that_a_task_has_named_hides_no_control_group() -> None:
    """Only blanks, tabs and line feeds are escaped in the table."""
    odd = b"/dev/sda1 /tasks/a\x0cb\xc2\x85c\xe2\x80\xa8d\xc2\xa0e\xff ext4 rw 0 0\n"

    assert Hierarchies.find(odd + MOUNTS["v2"] + odd) == Hierarchies.find(MOUNTS["v2"])


def test_two_workers_on_one_host_have_different_parents() -> None:
    assert parent_name(Path("/a")) != parent_name(Path("/b"))
