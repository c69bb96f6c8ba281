"""What is hashed is what is sent; a file that is not what was collected is never sent whole."""

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.patience import until
from taskward.core.outbox import Entry
from taskward.core.outcome import COMPLETED
from taskward.core.settings import UploaderSettings
from taskward.uploader.content import CHUNK_BYTES, FOR_OBJECT_SERVICE, FOR_SIGNER, UNHASHED, Digest, FileBody
from taskward.uploader.errors import ArtifactLost
from taskward.uploader.gzipped import SpooledBody, collected, log_with_notes
from uploader.site import EXPIRES, LIVE, Site

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17]


def pattern(size: int) -> bytes:
    return hashlib.shake_128(b"seed").digest(size)


@pytest.mark.parametrize("hashes", [UNHASHED, FOR_SIGNER, FOR_OBJECT_SERVICE])
@pytest.mark.parametrize("size", SIZES)
def test_a_body_pours_all_bytes_and_the_hashes_that_are_wanted(
    tmp_path: Path, size: int, hashes: tuple[str, ...]
) -> None:
    content = pattern(size)
    path = tmp_path / "f"
    path.write_bytes(content)
    body, poured = FileBody(path, size, hashes), bytearray()
    digest = body.pour(poured.extend)
    again = body.pour(lambda _piece: None)
    body.close()
    assert poured == content
    assert digest == again
    assert digest == Digest(size, {name: hashlib.new(name, content).hexdigest() for name in hashes})


@pytest.mark.parametrize("size", SIZES)
def test_a_compressed_body_has_the_hash_of_what_went_in(tmp_path: Path, size: int) -> None:
    content = pattern(size)
    path = tmp_path / "f"
    path.write_bytes(content)
    body, poured = SpooledBody(collected(path, size), tmp_path, FOR_SIGNER), bytearray()
    digest = body.pour(poured.extend)
    body.close()
    assert len(poured) == body.length
    assert gzip.decompress(bytes(poured)) == content
    assert digest == Digest(size, {"sha256": hashlib.sha256(content).hexdigest()})
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_content_is_compressed_to_the_same_bytes() -> None:
    first, second = bytearray(), bytearray()
    for poured in (first, second):
        body = SpooledBody([b"some ", b"content"], None, UNHASHED)
        body.pour(poured.extend)
        body.close()
    assert first == second


def resize(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1 if path.stat().st_size else 1)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("size", [0, 100, CHUNK_BYTES, 2 * CHUNK_BYTES + 5])
@pytest.mark.parametrize("change", [resize, lengthen, link, fifo, Path.unlink])
def test_a_changed_file_is_not_uploaded(site: Site, encoding: str, size: int, change: Callable[[Path], None]) -> None:
    entry = site.file("public/a", pattern(size), "gzip" if encoding == "gzip" else "identity")
    site.left_by_the_executor(entry)
    change(site.outbox / entry.file)
    site.upload_all()
    assert "public/a" not in site.cloud.stored
    assert (site.outcome.state, site.outcome.reason) == ("exception", "internal-error")
    assert f"collected file {entry.file}: " in site.uploaded_log()


@pytest.mark.parametrize("hashes", [UNHASHED, FOR_SIGNER])
def test_a_file_that_is_cut_while_it_is_sent_is_not_uploaded(tmp_path: Path, hashes: tuple[str, ...]) -> None:
    path = tmp_path / "f"
    path.write_bytes(pattern(4 * CHUNK_BYTES))
    body, poured = FileBody(path, 4 * CHUNK_BYTES, hashes), bytearray()

    def send(piece: memoryview) -> None:
        poured.extend(piece)
        os.truncate(path, 2 * CHUNK_BYTES)

    with pytest.raises(ArtifactLost, match="bytes long"):
        body.pour(send)
    body.close()
    assert len(poured) < 4 * CHUNK_BYTES


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "index.json/..", ".index.json", "a/b"])
def test_only_plain_names_in_the_outbox_are_opened(site: Site, file: str) -> None:
    (site.outbox.parent / "secret").write_text("secret")
    site.left_by_the_executor(Entry("public/a", file, 6, "text/plain", "identity", EXPIRES))
    site.upload_all()
    assert "public/a" not in site.cloud.artifacts
    assert site.outcome.reason == "internal-error"


def test_notes_begin_on_a_line_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "live.log"
    log.write_bytes(b"no end")
    assert b"".join(log_with_notes(log, ["a", "b"])) == b"no end\na\nb\n"
    assert b"".join(log_with_notes(tmp_path / "none", ["a"])) == b"a\n"
    assert b"".join(log_with_notes(log, [])) == b"no end"


def test_a_log_that_became_a_link_is_not_followed(site: Site) -> None:
    site.left_by_the_executor()
    site.log.unlink()
    site.log.symlink_to("/etc/passwd")
    site.upload_all()
    assert LIVE not in site.cloud.stored
    assert not any(b"root:" in stored.content for stored in site.cloud.stored.values())
    assert site.outcome.reason == "resource-unavailable"


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_memory_does_not_grow_with_the_file(site: Site, encoding: str) -> None:
    size = 1 << 30
    with (site.outbox / "0").open("wb") as stream:
        stream.truncate(size)
    entry = Entry("public/big", "0", size, "text/plain", "gzip" if encoding == "gzip" else "identity", EXPIRES)
    process = site.process()
    until(lambda: list(site.layout.locks("upload").iterdir()))
    site.left_by_the_executor(entry)
    until(lambda: site.record.phase == "uploaded", within_s=120)
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    process.terminate()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert site.sent("public/big").size_bytes == size
    assert site.outcome == COMPLETED
    assert peak_kib < 100 << 10


def test_no_room_to_compress_makes_the_resources_unavailable(site: Site, tmp_path: Path) -> None:
    site.settings = UploaderSettings(spool_dir=tmp_path / "gone")
    site.left_by_the_executor(site.file("public/a", os.urandom(3 << 20), "gzip"))
    site.upload_all()
    assert site.outcome.reason == "resource-unavailable"
    assert "cannot be made ready to be sent: No such file or directory" in site.uploaded_log()


def test_a_spool_file_is_nobody_elses(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from taskward.uploader.gzipped import SpooledBody\n"
        "body = SpooledBody([os.urandom(3 << 20)], pathlib.Path(sys.argv[1]), ())\n"
        "assert os.listdir(sys.argv[1]) == []\n"
        "assert os.fstat(body._file.fileno()).st_mode & 0o777 == 0o600\n"
        "body.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, umask=0)
