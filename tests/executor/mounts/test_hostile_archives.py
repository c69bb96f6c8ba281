"""Archives of attackers who know the formats: every one is refused or does no harm, soon and in little memory."""

import hashlib
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.archives import Entry, rar, seven_zip, tar, zipped
from executor.mounts.web import Web
from taskward.executor.mounts.errands import Refused
from taskward.executor.mounts.unpack import unpack as unpack_archive

END = bytes(1024)
NOBODY = 61_301
PLAIN = [Entry("f", b"hello\n" * 1000), Entry("run", b"#!/bin/sh\necho ran\n", mode=0o755), Entry("l", link="f")]


def header(
    kind: bytes, name: bytes, data: bytes = b"", size: int | None = None, link: bytes = b"", mode: int = 0o644
) -> bytes:
    """One entry of a tar archive; `size` is what it tells, whatever it has."""
    told = len(data) if size is None else size
    block = bytearray(512)
    block[:100] = name.ljust(100, b"\0")[:100]
    block[100:108] = b"%07o\0" % mode
    block[124:136] = b"%011o\0" % told if told < 8**11 else b"\x80" + told.to_bytes(11, "big")
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[157:257] = link.ljust(100, b"\0")[:100]
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def pax(records: Iterable[tuple[bytes, bytes]], name: bytes = b"f", data: bytes = b"x\n") -> bytes:
    """A file with more than fits into an ordinary entry's fields."""
    return header(b"x", b"x", b"".join(_record(*each) for each in records)) + header(b"0", name, data) + END


def _record(key: bytes, value: bytes) -> bytes:
    text = b" %b=%b\n" % (key, value)
    size = len(text)
    while len(b"%d" % size) + len(text) != size:
        size = len(b"%d" % size) + len(text)
    return b"%d" % size + text


def gzipped(*parts: tuple[bytes, int]) -> bytes:
    """Each part so many times, without ever having all of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [packer.compress(data) for data, count in parts for _ in range(count)]
    return b"".join([*packed, packer.flush()])


def unpack(bench: Bench, web: Web, form: str, data: bytes, script: str = "find d -mindepth 1") -> Result:
    mount = {"directory": "d", "format": form, "content": {"url": web.page("/archive", data)}}
    return bench.run(shell(script), mounts=[mount])


def refusal(form: str, data: bytes, most_bytes: int = 1 << 30) -> str:
    """Why the process that unpacks refuses it; empty if it does not. As the worker calls it, but for the worker."""
    limits = {"most_bytes": most_bytes, "most_ratio": 0, "most_entries": 0, "longest_s": 60.0}
    request = {"format": form, "limits": limits, "sha256": hashlib.sha256(data).hexdigest()}
    told, tells = os.pipe()
    with tempfile.TemporaryDirectory(prefix="tw") as target, tempfile.TemporaryFile() as archive:
        archive.write(data)
        archive.flush()
        Path(target).chmod(0o777)
        pid = os.fork()  # it changes its working directory and its user
        if pid == 0:
            _tell_refusal(request, archive.fileno(), target, tells)
        os.close(tells)
        with open(told) as stream:
            text = stream.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    return text


def _tell_refusal(request: dict[str, Any], archive: int, target: str, tells: int) -> NoReturn:
    status = 1
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        unpack_archive(request, (archive, os.open(target, os.O_RDONLY)))
        status = 0
    except Refused as error:
        os.write(tells, str(error).encode())
        status = 0
    finally:
        os._exit(status)


class TestTar:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (header(b"0", b"f", b"x" * 512, size=1 << 62) + END, "has a file larger than"),
            (header(b"0", b"f", b"x" * 512, size=(1 << 88) - 5) + END, "size overflow"),
            (pax([(b"path", b"a" * 300)]), "File name too long"),
            (pax([(b"path", b"\xff\xfe")]), "can't be converted"),
            (header(b"0", b"", b"x") + END, "empty or unreadable filename"),
            (header(b"1", b"a", link=b"a") + END, "pointing to itself"),
            (header(b"5", b"a/") + header(b"1", b"b", link=b"a") + END, "Can't create"),
            (header(b"2", b"a", link=b"b") + header(b"2", b"b", link=b"a") + header(b"0", b"a/x") + END, "symlink"),
            (header(b"2", b".", link=b"/etc") + header(b"0", b"x", b"x") + END, "Can't replace existing directory"),
            (header(b"0", b".", b"x") + END, "Can't replace existing directory"),
            (b"070701" + b"0" * 104, "bsdtar ended with status 1"),
        ],
    )
    def test_what_cannot_be_is_refused(self, data: bytes, text: str) -> None:
        assert text in refusal("tar", data)

    @pytest.mark.parametrize("kind", [b"x", b"L"])
    def test_a_header_of_gigabytes_is_refused_at_once(self, kind: bytes) -> None:
        began = time.monotonic()

        data = gzipped((header(kind, b"x", size=2 << 30), 1), (b"a" * (1 << 20), 100))

        assert "ended with status" in refusal("tar.gz", data)
        assert time.monotonic() - began < 50

    @pytest.mark.parametrize("real", [1 << 60, 50 << 30])
    def test_a_hole_as_large_as_a_disk_is_refused(self, real: int) -> None:
        records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"hole"),
                   (b"GNU.sparse.realsize", b"%d" % real)]  # fmt: skip

        assert refusal("tar", pax(records, data=(b"1\n%d\n0\n" % real).ljust(512, b"\0")), most_bytes=5_000_000)

    @pytest.mark.root
    def test_capabilities_attributes_and_access_lists_are_left_out(self, mounting: Bench, web: Web) -> None:
        records = [
            (b"SCHILY.xattr.security.capability", bytes.fromhex("0100000202000000000000000000000000000000")),
            (b"SCHILY.xattr.user.x", b"y"),
            (b"LIBARCHIVE.xattr.user.z", b"eQ=="),
            (b"SCHILY.acl.access", b"user::rwx,user:root:rwx,group::r-x,mask::rwx,other::r-x"),
        ]

        result = unpack(mounting, web, "tar", pax(records), "python3 -c 'import os; print(os.listxattr(\"d/f\"))'")

        assert result.output == ["[]"], result.log

    def test_a_long_chain_of_hard_links_is_followed(self, mounting: Bench, web: Web) -> None:
        chain = (header(b"1", b"l%d" % number, link=b"l%d" % (number - 1)) for number in range(1, 1000))

        result = unpack(mounting, web, "tar", header(b"0", b"l0", b"x\n") + b"".join(chain) + END, "cat d/l999")

        assert result.output == ["x"], result.log

    @pytest.mark.root
    @pytest.mark.parametrize("mode", [0, 0o7777])
    def test_an_entry_for_the_directory_itself_changes_nothing(self, mounting: Bench, web: Web, mode: int) -> None:
        data = header(b"5", b"./", mode=mode) + header(b"0", b"./f", b"x\n") + END

        assert unpack(mounting, web, "tar", data, "stat -c %a d; cat d/f").output == ["700", "x"]

    @pytest.mark.root
    def test_a_directory_that_nobody_may_enter_is_removed_in_the_end(self, mounting: Bench, web: Web) -> None:
        unpack(mounting, web, "tar", header(b"5", b"a/", mode=0) + header(b"0", b"a/f", b"x\n", mode=0) + END)
        into = {"directory": ".", "format": "tar", "content": {"url": web.url + "/archive"}}

        result = mounting.run(shell("ls -d a"), mounts=[into])

        assert result.output == ["a"]
        mounting.sweep()
        assert not list((mounting.state_dir / "tasks").iterdir())

    @pytest.mark.root
    def test_a_pipe_in_a_directory_stops_nobody_who_collects_it(self, mounting: Bench, web: Web) -> None:
        mount = {"directory": "d", "format": "tar", "content": {"url": web.page("/a", header(b"6", b"p") + END)}}

        result = mounting.run(
            shell("test -p d/p"), mounts=[mount], artifacts=[{"type": "directory", "path": "d", "name": "public"}]
        )

        assert "is a named pipe, not a regular file" in result.log


class TestZip:
    WHOLE = zipped(PLAIN)
    DIRECTORY = WHOLE.index(b"PK\x01\x02")
    LAST = WHOLE.index(b"PK\x05\x06")

    def with_number(self, *places: int, value: int, size: int = 4) -> bytes:
        data = bytearray(self.WHOLE)
        for place in places:
            data[place : place + size] = value.to_bytes(size, "little")
        return bytes(data)

    def test_the_whole_one_has_modes_and_links(self, mounting: Bench, web: Web) -> None:
        commented = self.with_number(self.LAST + 20, value=5, size=2) + b"PK\x05\x06!"

        result = unpack(mounting, web, "zip", commented, "d/run; readlink d/l")

        assert result.output == ["ran", "f"], result.log

    @pytest.mark.parametrize("missing", [1, 22, 40])
    def test_one_without_its_end_is_not_taken_for_whole(self, missing: int) -> None:
        assert "it is a truncated zip archive" in refusal("zip", self.WHOLE[:-missing])

    def test_one_that_is_cut_in_its_comment_is_not_either(self) -> None:
        data = self.with_number(self.LAST + 20, value=65_535, size=2)

        assert "it is a truncated zip archive" in refusal("zip", data)

    def test_sizes_that_are_lies_are_refused(self) -> None:
        for data in (
            self.with_number(22, value=5),
            self.with_number(self.DIRECTORY + 24, value=5),
            self.with_number(22, self.DIRECTORY + 24, value=5),
            self.with_number(self.DIRECTORY + 20, value=0xFFFF_FFF0),
            self.with_number(14, self.DIRECTORY + 16, value=7),  # the checksum
            self.with_number(self.DIRECTORY + 42, value=0x7FFF_FFFF),  # where the first file begins
            self.with_number(self.LAST + 16, value=0),  # where the directory begins
        ):
            assert "bsdtar ended with status 1" in refusal("zip", data)

    def test_one_member_for_thousands_of_names_makes_no_bomb(self, mounting: Bench, web: Web) -> None:
        mounting.use(executor={"max_unpacked_bytes": 5_000_000}, taskcluster={"root_url": web.url})
        one = zipped([Entry("000000", bytes(1_000_000))])
        begin, end = one.index(b"PK\x01\x02"), one.index(b"PK\x05\x06")
        entry = one[begin:end]
        names = b"".join(entry[:46] + b"%06d" % number + entry[52:] for number in range(1000))
        last = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1000, 1000, len(names), begin, 0)

        result = unpack(mounting, web, "zip", one[:begin] + names + last, "du -sk d | cut -f1")

        assert result.outcome.state == "failed" or int(result.output[0]) < 5000, result.log


class TestSevenZip:
    PADDED = seven_zip(PLAIN)
    OFFSET, SIZE = struct.unpack_from("<QQ", PADDED, 12)
    WHOLE = PADDED[: 32 + OFFSET + SIZE]

    @classmethod
    def telling(cls, offset: int, size: int, checksum: int, rest: bytes) -> bytes:
        """A beginning that is right by itself, whatever it tells."""
        told = struct.pack("<QQI", offset, size, checksum)
        return cls.WHOLE[:8] + struct.pack("<I", zlib.crc32(told)) + told + rest

    @classmethod
    def with_header(cls, header: bytes) -> bytes:
        return cls.telling(0, len(header), zlib.crc32(header), header)

    @pytest.mark.parametrize("share", [0.2, 0.9])
    def test_one_that_is_cut_is_refused(self, share: float) -> None:
        assert refusal("7z", self.WHOLE[: 33 + int((len(self.WHOLE) - 34) * share)])

    def test_numbers_that_would_need_all_memory_are_refused(self) -> None:
        most, many = (b"\xff" + number.to_bytes(8, "little") for number in (1 << 40, 99_999_999))
        for data in (
            self.telling(0, 1 << 62, 0, self.WHOLE[32:]),
            self.telling(1 << 63, 10, 0, self.WHOLE[32:]),
            self.telling(0, 2 << 30, 0, self.WHOLE[32:]),
            self.with_header(b"\x01\x05" + most + b"\0\0"),  # files
            self.with_header(b"\x01\x05" + many + b"\0\0"),
            self.with_header(b"\x01\x04\x06\x00" + many + b"\0\0"),  # packed streams
        ):
            assert "bsdtar ended with status 1" in refusal("7z", data)


class TestRar:
    WHOLE = rar(PLAIN)

    @pytest.mark.parametrize("size", [20, 3000, -20])
    def test_one_that_is_cut_is_refused(self, size: int) -> None:
        assert refusal("rar", self.WHOLE[:size])

    @pytest.mark.parametrize(
        "data",
        [
            b"Rar!\x1a\x07\x01\x00" + bytes(4) + b"\xff\xff\xff\x7f" + bytes(1000),  # version 5, a header of 256 MiB
            b"Rar!\x1a\x07\x01\x00" + b"\xff" * 2000,
            WHOLE[:20] + b"\0\0\x74\x00\x80\x07\x00" * 10_000,  # headers of seven bytes
        ],
    )
    def test_headers_that_cannot_be_are_refused(self, data: bytes) -> None:
        assert "bsdtar ended with status 1" in refusal("rar", data)

    def test_names_with_backslashes_climb_nowhere(self) -> None:
        assert "Path contains '..'" in refusal("rar", rar([Entry("..\\..\\x", b"x")]))


def test_what_stands_behind_an_archive_is_not_looked_at(mounting: Bench, web: Web) -> None:
    data = tar([Entry("f", b"x\n")]) + b"garbage" * 1000

    assert unpack(mounting, web, "tar", data, "cat d/f").output == ["x"]
