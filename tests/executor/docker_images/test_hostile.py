"""Archives that are no image, or more than one, or a trap; each fails the task with words that say why."""

import gzip
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from docker.api.client import APIClient
from docker.errors import ImageNotFound

from executor.docker_images.archives import Member, Picture, archive, digest, tar
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer
from executor.docker_images.pushing import artifact
from executor.mounts.archives import COMPRESSORS, truncated
from executor.mounts.web import Web, endless, trickle
from taskward.executor.docker.images.child import as_ourselves
from taskward.executor.docker.images.platform import Platform
from taskward.executor.docker.images.rewrite import Limits, rewriter
from taskward.executor.docker.request import Image
from taskward.executor.mounts.errands import Errands
from taskward.executor.mounts.errors import MountFailed

pytestmark = pytest.mark.root

TASK: Final = "AAAAAAAAQAaAAAAAAAAAAA"


def with_files(change: Callable[[dict[str, bytes]], object], picture: Picture | None = None) -> bytes:
    files = (picture or Picture()).files()
    change(files)
    return tar(files)


def with_manifest(manifest: Any) -> bytes:
    return with_files(lambda files: files.update({"manifest.json": json.dumps(manifest).encode()}))


def with_member(member: Member) -> bytes:
    return archive([member, *(Member(name, data) for name, data in Picture().files().items())])


def two_images() -> bytes:
    one, two = Picture(), Picture([tar({"a": b"b"})])
    files = one.files()
    entry = {"Config": "second.json", "RepoTags": ["two:latest"], "Layers": ["second/layer.tar"]}
    files |= {"second.json": two.config, "second/layer.tar": two.layers[0]}
    return tar(files | {"manifest.json": json.dumps([*json.loads(files["manifest.json"]), entry]).encode()})


def sparse_layer() -> bytes:
    """1.5 KB that would become 8 GiB on the daemon's disk."""
    info = tarfile.TarInfo("hole")
    info.size, info.type = 0, tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = b"%011o\0" % (8 << 30)
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def sparse_by_extension() -> bytes:
    record = b"27 GNU.sparse.realsize=9999\n"
    head = tarfile.TarInfo("PaxHeaders/x")
    head.type, head.size = tarfile.XHDTYPE, len(record)
    return head.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0") + tar({"x": b"y"})


def layout_with(change: Callable[[dict[str, bytes]], None]) -> bytes:
    files = Picture().layout()
    change(files)
    return tar(files)


def two_in_layout() -> bytes:
    other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:" + "0" * 64, "size": 1}
    return tar(Picture().layout(more=[other]))


def wrong_blob() -> bytes:
    files = Picture().layout()
    largest = max((name for name in files if name.startswith("blobs")), key=lambda name: files[name][:2] == b"\x1f\x8b")
    return tar(files | {largest: gzip.compress(tar({"other": b"content"}))})


HOSTILE: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "no archive": (lambda: b"<html>not found</html>" * 100, "Unsupported image file format. Expected tarball with"),
    "nothing": (lambda: b"", "Unsupported image file format"),
    "xz": (lambda: COMPRESSORS["xz"](Picture().saved()), "Unsupported image file format"),
    "truncated": (lambda: truncated(Picture().saved()), "it is no whole tar archive"),
    "truncated gzip": (lambda: truncated(gzip.compress(Picture().saved())), "it "),
    "truncated lz4": (lambda: truncated(COMPRESSORS["lz4"](Picture().saved())), "it "),
    "damaged gzip": (lambda: gzip.compress(Picture().saved())[:-8] + bytes(8), "it cannot be decompressed: gzip: "),
    "no manifest": (lambda: tar({"x": b"y"}), "Unknown docker archive format"),
    "only repositories": (
        lambda: with_files(lambda files: files.pop("manifest.json")),
        "Unknown docker archive format",
    ),
    "two images": (two_images, "Image tarballs must only contain one image"),
    "two in a layout": (two_in_layout, "Image tarballs must only contain one image"),
    "none": (lambda: with_manifest([]), "Image tarballs must only contain one image"),
    "manifest of nonsense": (lambda: with_manifest([7]), "its manifest is not understood"),
    "manifest of an object": (lambda: with_manifest({"Config": "x"}), "its manifest is not understood"),
    "manifest too deep": (
        lambda: with_files(lambda files: files.update({"manifest.json": b"[" * 100_000})), "'manifest.json' is no JSON",
    ),
    "config outside": (
        lambda: with_manifest([{"Config": "../../../etc/passwd", "Layers": []}]), "which is not in the archive",
    ),
    "layer outside": (
        lambda: with_files(lambda files: files.pop("0/layer.tar")),
        "'0/layer.tar', which is not in the archive",
    ),
    "member with ..": (lambda: with_member(Member("../../evil", b"x")), "'../../evil' in it leads out of the archive"),
    "absolute member": (lambda: with_member(Member("/etc/evil", b"x")), "'/etc/evil' in it leads out of the archive"),
    "link outside": (
        lambda: with_member(Member("x", kind=tarfile.SYMTYPE, target="../../etc/shadow")), "leads out of the archive",
    ),
    "absolute link": (
        lambda: with_member(Member("x", kind=tarfile.SYMTYPE, target="/etc/shadow")), "leads out of the archive",
    ),
    "hard link outside": (
        lambda: with_member(Member("x", kind=tarfile.LNKTYPE, target="/etc/shadow")), "leads out of the archive",
    ),
    "device": (lambda: with_member(Member("x", kind=tarfile.CHRTYPE)), "'x' in it is no ordinary file"),
    "pipe": (lambda: with_member(Member("x", kind=tarfile.FIFOTYPE)), "'x' in it is no ordinary file"),
    "twice": (lambda: with_member(Member("manifest.json", b"[]")), "it has 'manifest.json' twice"),
    "link and file": (
        lambda: with_member(Member("manifest.json", kind=tarfile.SYMTYPE, target="x")), "it has 'manifest.json' twice",
    ),
    "links in a circle": (
        lambda: archive(
            [Member("manifest.json", kind=tarfile.SYMTYPE, target="a"),
             Member("a", kind=tarfile.SYMTYPE, target="manifest.json")]
        ), "which is not in the archive",
    ),
    "sparse layer": (lambda: Picture([sparse_layer()]).saved(), "layer 0 cannot be used: it has a sparse file"),
    "sparse by extension": (
        lambda: Picture([sparse_by_extension()]).saved(), "layer 0 cannot be used: it has a sparse file",
    ),
    "zstd layer": (
        lambda: with_files(lambda files: files.update({"0/layer.tar": COMPRESSORS["zst"](files["0/layer.tar"])})),
        "layer 0 cannot be used: it is compressed with zstd",
    ),
    "truncated layer": (
        lambda: with_files(
            lambda files: files.update({"0/layer.tar": truncated(gzip.compress(files["0/layer.tar"]))})
        ), "layer 0 cannot be used: it is truncated",
    ),
    "wrong layer": (
        lambda: with_files(lambda files: files.update({"0/layer.tar": tar({"other": b"x"})})),
        "layer 0 has digest sha256:",
    ),
    "wrong blob": (wrong_blob, "' is wrong: its content has sha256:"),
    "no layers told": (
        lambda: with_files(lambda _: None, Picture(diff_ids=["sha256:0", "sha256:1"])),
        "its manifest names 1 layers, its configuration 2",
    ),
    "another processor": (
        lambda: Picture(architecture="s390x").saved(), "the image is for linux/s390x, but this worker runs linux/",
    ),
    "another system": (lambda: Picture(os="windows").saved(), "the image is for windows/amd64, but this worker runs"),
    "much JSON": (
        lambda: tar({str(number): b"{" + bytes(3 << 20) for number in range(12)}), "more JSON than any image needs",
    ),
    "many members": (lambda: archive(Member(f"{n}") for n in range(10_001)), "it has more than 10000 members"),
}  # fmt: skip


@pytest.fixture(scope="module")
def rewriting() -> Iterator[Errands]:
    """A process as tasks have it, for many archives."""
    limits = Limits(1 << 30, 100, 1000, 30.0)
    with Errands(as_ourselves(rewriter(limits, Platform("linux", "amd64"))), lambda files: set(files)) as errands:
        yield errands


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_are_refused_with_the_reason(rewriting: Errands, what: str, tmp_path: Path) -> None:
    make, expected = HOSTILE[what]
    data, made = make(), tmp_path / "made.tar"
    (tmp_path / "archive").write_bytes(data)
    sha256 = digest(data)[7:]
    with (tmp_path / "archive").open("rb") as source, made.open("wb") as target, pytest.raises(MountFailed) as failure:
        rewriting.ask("rewrite", source.fileno(), target.fileno(), sha256=sha256, name="taskward/x:y")

    assert expected in str(failure.value)
    assert b"manifest.json" not in made.read_bytes()


def test_another_content_than_was_downloaded_is_refused(rewriting: Errands, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(Picture().saved())
    with (tmp_path / "archive").open("rb") as source, pytest.raises(MountFailed, match="not what was downloaded"):
        rewriting.ask("rewrite", source.fileno(), os.open(os.devnull, os.O_WRONLY), sha256="0" * 64, name="x")


def test_a_refused_archive_leaves_nothing_at_the_daemon(customer: Customer, web: Web, daemon: APIClient) -> None:
    """All of its layers have been sent by then."""
    picture = Picture(architecture="s390x")
    text = customer.fails(artifact(web, picture.saved()))

    assert text.startswith(
        "ImageFailed: Pulling docker image has failed.\nError: Error loading docker image. the image is"
    )
    with pytest.raises(ImageNotFound):
        daemon.inspect_image(picture.id)


def test_a_layer_that_is_a_bomb_is_refused_early(rewriting: Errands, tmp_path: Path) -> None:
    files = Picture([tar({"zeros": bytes(70 << 20)})]).files()
    files["0/layer.tar"] = gzip.compress(files["0/layer.tar"], 1)
    data = tar(files)
    (tmp_path / "archive").write_bytes(data)
    with (tmp_path / "archive").open("rb") as source, pytest.raises(MountFailed, match="as only bombs do"):
        rewriting.ask("rewrite", source.fileno(), os.open(os.devnull, os.O_WRONLY), sha256=digest(data)[7:], name="x")


def test_an_archive_that_is_a_bomb_is_refused_early(customers: Customers, configure: Configure, web: Web) -> None:
    configure(max_ratio=100)
    image = artifact(web, gzip.compress(tar({"zeros": bytes(70 << 20)}), 1))

    assert "it becomes more than 100 times larger when unpacked" in customers().fails(image)


def test_limits_of_settings_hold(customers: Customers, configure: Configure, web: Web) -> None:
    configure(max_unpacked_bytes=5000, max_entries=3, max_download_bytes=100_000)
    customer = customers()
    many = Picture([tar({"a": b"", "b": b"", "c": b"", "d": b""})])

    assert "it is larger than 5000 bytes when unpacked" in customer.fails(artifact(web, Picture().saved(), "public/a"))
    configure(max_entries=3, max_download_bytes=100_000)
    customer = customers()
    assert "there are more than 3 entries" in customer.fails(artifact(web, many.saved(), "public/b"))
    web.page(f"/api/queue/v1/task/{TASK}/artifacts/public/c", b"", 303, Location=web.on("/endless", endless))
    text = customer.fails(Image("task-image", task_id=TASK, path="public/c"))
    assert "it is larger than 100000 bytes, the most that this worker downloads" in text


def test_a_download_without_end_ends_in_time(customers: Customers, configure: Configure, web: Web) -> None:
    configure(timeout_s=1)
    web.page(f"/api/queue/v1/task/{TASK}/artifacts/public/x", b"", 303, Location=web.on("/trickle", trickle))

    assert "it takes longer than 1 s" in customers().fails(Image("task-image", task_id=TASK, path="public/x"))


def test_a_run_that_is_cancelled_stops_downloading(customer: Customer, web: Web) -> None:
    def cancel(request: Any) -> None:
        customer.abort = "canceled"
        trickle(request)

    web.page(f"/api/queue/v1/task/{TASK}/artifacts/public/x", b"", 303, Location=web.on("/trickle", cancel))
    begun_s = time.monotonic()

    assert customer.fails(Image("task-image", task_id=TASK, path="public/x")).startswith("TaskEnded: ")
    assert time.monotonic() - begun_s < 3
