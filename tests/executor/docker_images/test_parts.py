"""Names, progress, turns and layers, without a daemon."""

import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.bench import settings
from executor.docker_images.archives import Member, archive
from taskward.core.errors import ConfigurationError
from taskward.core.settings import ImageSettings
from taskward.executor.docker.images.errors import ImageFailed
from taskward.executor.docker.images.layer import Count, Walk
from taskward.executor.docker.images.logins import login_for
from taskward.executor.docker.images.platform import Platform
from taskward.executor.docker.images.progress import Progress
from taskward.executor.docker.images.reference import Reference
from taskward.executor.docker.images.turn import Turns
from taskward.executor.docker.request import Image
from taskward.executor.errors import EngineFailed
from taskward.executor.mounts.errands import Refused


@pytest.mark.parametrize(
    ("written", "asked", "host", "path", "listed"),
    [
        ("ubuntu", "ubuntu:latest", "", "ubuntu", "ubuntu:latest"),
        ("ubuntu:14.04", "ubuntu:14.04", "", "ubuntu", "ubuntu:14.04"),
        ("docker.io/library/ubuntu:1", "ubuntu:1", "", "ubuntu", "ubuntu:1"),
        ("library/ubuntu:1", "ubuntu:1", "", "ubuntu", "ubuntu:1"),
        ("index.docker.io/people/image", "people/image:latest", "", "people/image", "people/image:latest"),
        (
            "docker.io/example.com/x",
            "docker.io/example.com/x:latest",
            "docker.io",
            "example.com/x",
            "docker.io/example.com/x:latest",
        ),
        ("people/image", "people/image:latest", "", "people/image", "people/image:latest"),
        ("localhost/x:1", "localhost/x:1", "localhost", "x", "localhost/x:1"),
        ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000", "x", "localhost:5000/x:latest"),
        ("example.com/a/b/c:d", "example.com/a/b/c:d", "example.com", "a/b/c", "example.com/a/b/c:d"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000", "x", "[::1]:5000/x:1"),
        ("localhostile/x", "localhostile/x:latest", "", "localhostile/x", "localhostile/x:latest"),
    ],
)
def test_names_are_understood_as_the_daemon_does(written: str, asked: str, host: str, path: str, listed: str) -> None:
    reference = Reference.parse(written)

    assert (str(reference), reference.host, reference.path) == (asked, host, path)
    assert reference.names([listed], [])
    assert not reference.names(["other:latest"], [f"{path}@sha256:{'0' * 64}"])
    assert not reference.names(None, None)


@pytest.mark.parametrize("name", ["people/image:1", "docker.io/people/image:1", "index.docker.io/people/image:1"])
def test_an_image_of_docker_hub_needs_its_scope_however_it_is_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / "login"
    path.touch(0o600)
    path.write_text('{"username": "u", "password": "p"}')
    images = ImageSettings(registries={"registry.hub.docker.com/people": str(path)})
    reference, wanted = Reference.parse(name), Image("docker-image", name=name)

    with pytest.raises(ImageFailed, match="Not authorized to use"):
        login_for(reference, images, [], wanted)
    login = login_for(reference, images, [f"docker-worker:image:{name}"], wanted)
    assert login is not None
    assert login.account == "u@registry.hub.docker.com"
    assert "'p'" not in repr(login)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("example.com/people/image", "example.com/people"),
        ("example.com/people/image", "example.com"),
        ("example.com/people/image", "example.com/"),
        ("example.com/image", "example.com"),
        ("example.com/image", None),
        ("example.com/others/image", None),
        ("people/image", None),
        ("ubuntu", None),
    ],
)
def test_the_login_of_the_nearest_entry_is_used(tmp_path: Path, name: str, entry: str | None) -> None:
    known = {"example.com/people", "elsewhere.com"} if entry is None else {entry, "example.com:443", "com"}
    images = ImageSettings(registries=dict.fromkeys(known, str(tmp_path / "missing")))
    wanted = Image("docker-image", name=name)

    if entry is None:
        assert login_for(Reference.parse(name), images, [], wanted) is None
    else:
        with pytest.raises(ImageFailed, match="Not authorized"):
            login_for(Reference.parse(name), images, [], wanted)


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        ('{"username": "u", "password": "geheim"}', 0o640, "others may read it"),
        ('{"username": "u", "password": "geheim"', 0o600, "it is no JSON"),
        ('{"username": "u", "pass": "geheim"}', 0o600, "it must be an object with username and password"),
        (None, 0o600, "No such file or directory"),
    ],
)
def test_a_file_of_logins_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, mode: int, expected: str
) -> None:
    path = tmp_path / "login"
    if content is not None:
        path.touch(mode)
        path.write_text(content)
    images, name = ImageSettings(registries={"example.com": str(path)}), "example.com/a/b"

    with pytest.raises(EngineFailed) as failure:
        login_for(Reference.parse(name), images, ["docker-worker:image:*"], Image("docker-image", name=name))

    where = f"[images] registries: the login for example.com cannot be used: {path}: "
    assert str(failure.value).startswith(where + expected)
    assert "geheim" not in str(failure.value)


@pytest.mark.parametrize(
    "name",
    ["", "UPPER/case", "a b", "-x", "x:", "x@sha256:12", "sha256:" + "0" * 64, "taskward/artifact:x", "http://x/y",
     "x/../y", "a" * 300, "x:" + "t" * 129, "docker.io/taskward/x", "index.docker.io/taskward/x", "x\n", "ü"],
)  # fmt: skip
def test_what_is_no_name_of_an_image_is_refused(name: str) -> None:
    with pytest.raises(ImageFailed, match="Pulling docker image has failed"):
        Reference.parse(name)


def test_a_digest_says_more_than_the_tag_beside_it() -> None:
    digest = f"sha256:{'a' * 64}"
    reference = Reference.parse(f"ubuntu:1@{digest}")

    assert str(reference) == f"ubuntu@{digest}"
    assert reference.names([], [f"ubuntu@{digest}"])
    assert not reference.names(["ubuntu:1"], [])


@given(st.text(max_size=80))
def test_whatever_is_written_is_a_name_or_is_refused(written: str) -> None:
    try:
        reference = Reference.parse(written)
    except ImageFailed:
        return
    assert not set(str(reference)) & set(" \t\n?#&%\\")
    assert str(Reference.parse(str(reference))) == str(reference)


def test_a_pull_is_told_in_docker_workers_words() -> None:
    times = iter([1.0, 3.5])
    progress = Progress(lambda: next(times))
    messages = [
        {"id": "14.04", "status": "Pulling from library/ubuntu"},
        {"id": "a", "status": "Pulling fs layer"},
        {"id": "b", "status": "Already exists"},
        {"id": "a", "status": "Downloading"},
        {"id": "a", "status": "Downloading"},
        {"id": "a", "status": "Verifying Checksum"},
        {"id": "a", "status": "Download complete"},
        {"id": "a", "status": "Extracting"},
        {"id": "a", "status": "Pull complete"},
        {"status": "Digest: sha256:00"},
        {"status": "a\x1b[2Jb\nc"},
        {},
    ]

    assert [line for message in messages for line in progress.lines(message)] == [
        "14.04: Pulling from library/ubuntu",
        "b: Already exists",
        "a - Started downloading",
        "a - Downloaded in 2.500 seconds",
        "Digest: sha256:00",
        "a\\x1b[2Jb\\nc",
    ]


def test_a_registry_cannot_fill_the_log() -> None:
    progress = Progress()
    lines = [line for number in range(5000) for line in progress.lines({"status": f"{number}" * 1000})]

    assert len(lines) == 2000
    assert max(map(len, lines)) == 500


def test_one_has_the_turn_and_the_others_read_along(tmp_path: Path) -> None:
    turns, told = Turns(tmp_path / "turns"), list[str]()
    other = turns.follower("x", told.append)
    turn = turns.take("x", turns.follower("x", told.append))
    assert turn is not None
    turn.say("half")
    assert turns.take("x", other) is None
    other.waits = True
    other.read()
    turn.fail("no hope")
    turn.close()

    with pytest.raises(ImageFailed, match="no hope"):
        turns.take("x", other)
    assert told == ["half"]
    again = turns.take("x", turns.follower("x", told.append))
    assert again is not None
    again.close()


def test_turns_that_nobody_takes_any_more_are_forgotten(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    for name in ("held", "free"):
        turn = turns.take(name, turns.follower(name, print))
        assert turn is not None
        if name == "free":
            turn.close()
    turns.sweep(-1.0)

    assert [path.name for path in tmp_path.iterdir()] == ["held"]


@pytest.mark.parametrize(
    ("image", "fits"),
    [(("linux", "amd64"), True), (("linux", "386"), True), (("", ""), True), (("linux", "arm64"), False),
     (("windows", "amd64"), False), (("linux", "arm"), False)],
)  # fmt: skip
def test_images_for_other_machines_are_told(image: tuple[str, str], fits: bool) -> None:
    assert (Platform("linux", "amd64").mismatch(Platform(*image)) == "") == fits


@given(st.integers(1, 700))
def test_entries_of_a_layer_are_counted_in_pieces_of_any_size(step: int) -> None:
    names = ["a", "b" * 150, "c"]
    data = archive(
        [*(Member(name, bytes(700)) for name in names), Member("link", kind=tarfile.SYMTYPE, target="a"), Member("d")]
    )

    def walk(most: int) -> None:
        walk = Walk(Count(most))
        for at in range(0, len(data), step):
            walk.feed(data[at : at + step])

    walk(5)
    with pytest.raises(Refused, match="more than 4 entries"):
        walk(4)


@given(st.binary(max_size=3000))
def test_a_layer_of_any_bytes_is_walked_or_refused(data: bytes) -> None:
    try:
        Walk(Count(10)).feed(data)
    except Refused:
        return


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ({"pull": "never"}, "[images] pull: must be 'always' or 'if-missing'"),
        ({"registries": {"example.com": "relative"}}, "[images] registries: 'example.com' must name the absolute path"),
        ({"registries": {"example": {"com": "/x"}}}, "keys with dots are to be quoted"),
        ({"regitsries": {}}, "did you mean registries?"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(images: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        settings(Path("/state"), {"images": images})

    assert expected in str(failure.value)
