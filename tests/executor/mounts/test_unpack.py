"""What the process that unpacks does not believe."""

import hashlib
import os
from pathlib import Path

import pytest

from executor.mounts.archives import Entry, tar
from taskward.executor.mounts.errands import Refused
from taskward.executor.mounts.unpack import unpack

LIMITS = {"most_bytes": 0, "most_ratio": 0, "most_entries": 0, "longest_s": 10.0}
DATA = tar([Entry("f", b"hello")])


def unpacked(directory: Path, sha256: str) -> None:
    archive = directory / "archive"
    archive.write_bytes(DATA)
    target = directory / "target"
    target.mkdir()
    pid = os.fork()  # it changes its working directory
    if pid == 0:
        status = 1
        try:
            request = {"format": "tar", "limits": LIMITS, "sha256": sha256}
            unpack(request, (os.open(archive, os.O_RDONLY), os.open(target, os.O_RDONLY)))
            status = 0
        except Refused as error:
            status = 2 if "not what was downloaded" in str(error) else 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 2:
        raise Refused
    assert status == 0


def test_an_archive_with_the_hash_that_was_told_is_unpacked(tmp_path: Path) -> None:
    unpacked(tmp_path, hashlib.sha256(DATA).hexdigest())

    assert (tmp_path / "target/f").read_bytes() == b"hello"


def test_an_archive_under_a_false_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused):
        unpacked(tmp_path, hashlib.sha256(b"something else").hexdigest())
