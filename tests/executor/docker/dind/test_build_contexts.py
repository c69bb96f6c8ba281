"""Contexts of builds: archives as clients send them, and links in them, which lead nowhere else."""

import io
import tarfile

import pytest

from executor.docker.dind.slip import Slip, link, packed
from taskward.executor.docker.dind.build.errors import BuildFailed


def build(slip: Slip, copy: str, *links: tarfile.TarInfo, **files: bytes) -> dict[str, tarfile.TarInfo]:
    """What is put into the container by one ``COPY``."""
    slip.build("", packed({"Dockerfile": f"FROM busybox\n{copy}\n".encode(), **files}, *links))
    return slip.put()


def symlinks(**targets: str) -> list[tarfile.TarInfo]:
    return [link(tarfile.SYMTYPE, name.replace("__", "/"), target) for name, target in targets.items()]


@pytest.mark.parametrize("content", [b"FROM busybox", b"FROM busybox\n" + b"#" * 499])
def test_an_archive_without_padding_or_end_is_read_as_go_reads_it(slip: Slip, content: bytes) -> None:
    whole = packed({"a": b"1", "Dockerfile": content})
    end = 3 * tarfile.BLOCKSIZE + len(content)
    for length in (end, end + 1, -(-end // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, end + 700):
        assert "Successfully built" in slip.build("", whole[:length])


@pytest.mark.parametrize("missing_bytes", [1, 11, 12 + 1, 12 + 400])
def test_an_archive_that_is_really_broken_off_is_refused(slip: Slip, missing_bytes: int) -> None:
    whole = packed({"Dockerfile": b"FROM busybox", "last": b"content here"})
    end = 3 * tarfile.BLOCKSIZE + len(b"content here")
    with pytest.raises(BuildFailed, match=r"broken off in the middle of 'last'|no tar archive any more at byte 1024"):
        slip.build("", whole[: end - missing_bytes])
    assert slip.quay.asked == []


def test_rubbish_between_members_is_refused(slip: Slip) -> None:
    whole = bytearray(packed({"Dockerfile": b"FROM busybox", "last": b"content here"}))
    whole[1024 + 148] ^= 1
    with pytest.raises(BuildFailed, match="no tar archive any more at byte 1024"):
        slip.build("", bytes(whole))


def test_a_sparse_file_is_refused_before_it_grows(slip: Slip) -> None:
    member = tarfile.TarInfo("holes")
    member.size = 512
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "holes",
                          "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,512"}  # fmt: skip
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(bytes(512)))
    with pytest.raises(BuildFailed, match="has the sparse file 'holes'"):
        slip.build("", output.getvalue())


@pytest.mark.parametrize(
    "target", ["a", "/a", "d/../a", "../../a", "/../../a", "./a", "second", "d/up", "/dirlink/b/../../a"]
)
def test_a_source_that_is_a_link_is_what_it_leads_to_in_the_context(slip: Slip, target: str) -> None:
    links = symlinks(s=target, second="/a", d__up="../a", dirlink="d")
    put = build(slip, "COPY s /x/", *links, **{"a": b"1", "d/b": b"2"})

    assert set(put) == {"x", "x/s"}
    assert put["x/s"].isreg()
    assert put["x/s"].size == 1


def test_a_link_to_a_directory_is_its_content_and_links_in_there_stay_links(slip: Slip) -> None:
    put = build(slip, "COPY s /x", *symlinks(s="d", d__out="/etc/shadow"), **{"d/b": b"2"})

    assert set(put) == {"x", "x/b", "x/out"}
    assert put["x/out"].linkname == "/etc/shadow"


def test_each_part_of_a_path_is_followed(slip: Slip) -> None:
    put = build(
        slip, "COPY one/two/f /x", *symlinks(one="/real", real__two="../other"), **{"real/a": b"1", "other/f": b"12"}
    )

    assert put["x"].size == 2


@pytest.mark.parametrize(
    ("copy", "links"),
    [
        ("COPY s /x", {"s": "nowhere"}), ("COPY s /x", {"s": "/etc/shadow"}), ("COPY s /x", {"s": "../../etc/shadow"}),
        ("COPY s /x", {"s": "s"}), ("COPY s /x", {"s": "t", "t": "s"}), ("COPY s/etc/shadow /x", {"s": "/"}),
        ("COPY s* /x/", {"s1": "a", "s2": "nowhere"}), ("COPY s /x", {"s": "s/s"}), ("COPY s/b /x", {"s": "a"}),
        ("COPY s /x", {"s": "a/" * 3000}), ("ADD s /x", {"s": "/proc/self/environ"}),
    ],
)  # fmt: skip
def test_a_link_that_leads_nowhere_in_the_context_is_not_found(slip: Slip, copy: str, links: dict[str, str]) -> None:
    with pytest.raises(BuildFailed, match=r"file not found in build context|leads through too many links"):
        build(slip, copy, *symlinks(**links), a=b"1")
    assert slip.put() == {}


def test_a_long_chain_of_links_is_given_up(slip: Slip) -> None:
    chain = symlinks(s="l0", **{f"l{number}": f"l{number + 1}" for number in range(300)}, l300="a")
    with pytest.raises(BuildFailed, match="'s' leads through too many links"):
        build(slip, "COPY s /x", *chain, a=b"1")


def test_a_dockerfile_may_be_a_link_in_the_context(slip: Slip) -> None:
    files = {"docker/real": b"FROM busybox\n"}
    assert "Successfully built" in slip.build("", packed(files, *symlinks(Dockerfile="/docker/real")))
    hard = link(tarfile.LNKTYPE, "Dockerfile", "docker/real")
    assert "Successfully built" in slip.build("", packed(files, hard))


def test_an_archive_behind_a_link_is_unpacked_by_add(slip: Slip) -> None:
    inner = packed({"inner.txt": b"1"})
    slip.build("", packed({"Dockerfile": b"FROM busybox\nADD s /x\n", "a.tar": inner}, *symlinks(s="a.tar")))
    assert "inner.txt" in slip.put()


def test_a_hard_link_out_of_what_is_copied_is_copied_as_a_file(slip: Slip) -> None:
    put = build(
        slip, "COPY d /d\nCOPY h /h", link(tarfile.LNKTYPE, "d/a", "a"), link(tarfile.LNKTYPE, "h", "d/a"), a=b"1"
    )

    assert (put["d/a"].isreg(), put["d/a"].size) == (True, 1)
    assert (put["h"].isreg(), put["h"].size) == (True, 1)


def test_a_hard_link_follows_what_it_is_a_link_to(slip: Slip) -> None:
    put = build(slip, "COPY . /x", link(tarfile.LNKTYPE, "d-e/y", "d/x"), **{"d/x": b"1"})
    names = list(put)

    assert put["x/d-e/y"].linkname == "x/d/x"
    assert names.index("x/d/x") < names.index("x/d-e/y")


@pytest.mark.parametrize("target", ["d/a", "nowhere", "d", "/etc/shadow"])
def test_a_hard_link_to_no_file_of_the_context_is_told(slip: Slip, target: str) -> None:
    with pytest.raises(BuildFailed, match="which is no file of the context"):
        build(slip, "COPY d /d", link(tarfile.LNKTYPE, "d/a", target), **{"d/x": b"1"})


@pytest.mark.parametrize(
    ("copy", "links"),
    [
        ("COPY s* /x/", symlinks(s1="big", s2="big", s3="big")),
        ("COPY d /d", [link(tarfile.LNKTYPE, f"d/{number}", "big") for number in range(3)]),
    ],
)
def test_links_make_no_more_of_a_file_than_a_task_may_have(slip: Slip, copy: str, links: list[tarfile.TarInfo]) -> None:
    with pytest.raises(BuildFailed, match="more than 1048576 bytes"):
        build(slip, copy, *links, big=bytes(400_000))
    assert slip.put() == {}
