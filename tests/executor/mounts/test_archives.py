"""Archives in every format: what they hold arrives, and nothing of it gets out of its directory."""

import base64
import random
import stat
import tarfile
from pathlib import Path

import pytest

from executor.bench import Bench, Result, shell
from executor.mounts.archives import (
    ARCHIVES,
    COMPRESSORS,
    Entry,
    encrypted_zip,
    lzip,
    mount,
    rar,
    seven_zip,
    tar,
    truncated,
    zipped,
)  # fmt: skip
from executor.mounts.web import Web

PLAIN = [Entry("a/b.txt", b"hello\n" * 50), Entry("run", b"#!/bin/sh\necho ran\n", mode=0o755)]
CARRIERS = {"tar": tar, "zip": zipped, "7z": seven_zip, "rar": rar}


@pytest.mark.parametrize("form", ARCHIVES)
def test_every_archive_format_is_unpacked(mounting: Bench, web: Web, form: str) -> None:
    script = "wc -l < d/a/b.txt; d/run"
    if form == "rar":
        script = "wc -l < d/a/b.txt; sh d/run"
    result = mounting.run(shell(script), mounts=[mount(web, ARCHIVES[form](PLAIN), form)])

    assert result.output == ["50", "ran"], result.log
    assert f"[mounts] Extracting {form} file {mounting.state_dir}/downloads/" in result.log


@pytest.mark.parametrize("form", COMPRESSORS)
def test_every_compression_of_a_file_is_undone(mounting: Bench, web: Web, form: str) -> None:
    data = bytes(range(256)) * 5000
    url = web.page("/f", COMPRESSORS[form](data))

    result = mounting.run(
        shell("stat -c %s f; sha256sum f"), mounts=[{"file": "f", "format": form, "content": {"url": url}}]
    )

    assert result.output[0] == str(len(data)), result.log
    assert f"[mounts] Decompressing {form} file " in result.log


@pytest.mark.parametrize("form", COMPRESSORS)
def test_only_one_layer_of_compression_is_undone(mounting: Bench, web: Web, form: str) -> None:
    url = web.page("/f", COMPRESSORS[form](COMPRESSORS["gz"](b"x\n")))

    result = mounting.run(shell("zcat < f"), mounts=[{"file": "f", "format": form, "content": {"url": url}}])

    assert result.output == ["x"]


def test_lzip_files_may_have_several_members(mounting: Bench, web: Web) -> None:
    url = web.page("/f", lzip(b"one\n") + lzip(b"two\n"))

    assert mounting.run(shell("cat f"), mounts=[{"file": "f", "format": "lz", "content": {"url": url}}]).output == [
        "one",
        "two",
    ]


@pytest.mark.parametrize("form", [*ARCHIVES])
def test_a_truncated_archive_fails_the_task_and_leaves_nothing(mounting: Bench, web: Web, form: str) -> None:
    noise = Entry("noise", random.Random(1).randbytes(200_000))
    result = mounting.run(shell("ls -R d"), mounts=[mount(web, truncated(ARCHIVES[form]([*PLAIN, noise])), form)])

    assert_failed(result, f"Could not extract {form} file ")
    assert not list((mounting.state_dir / "unpacked").glob("*/item.json"))


@pytest.mark.parametrize("form", COMPRESSORS)
def test_a_truncated_file_fails_the_task(mounting: Bench, web: Web, form: str) -> None:
    url = web.page("/f", truncated(COMPRESSORS[form](random.Random(1).randbytes(200_000))))

    result = mounting.run(shell("ls f"), mounts=[{"file": "f", "format": form, "content": {"url": url}}])

    assert_failed(result, f"Could not decompress {form} file ")


def test_of_several_files_the_one_that_cannot_be_decompressed_is_named(mounting: Bench, web: Web) -> None:
    good, bad = web.page("/good", COMPRESSORS["gz"](b"good")), web.page("/bad", b"this is not compressed")

    files = [{"file": name, "format": "gz", "content": {"url": url}} for name, url in (("a", good), ("b", bad))]
    result = mounting.run(shell("ls"), mounts=files)

    assert_failed(result)
    (line,) = [line for line in result.log.splitlines() if "Could not decompress" in line]
    assert line.endswith("/b': it is not of format gz")


@pytest.mark.parametrize("form", [*ARCHIVES])
def test_something_that_is_no_archive_fails_the_task(mounting: Bench, web: Web, form: str) -> None:
    assert_failed(mounting.run(shell("ls -R d"), mounts=[mount(web, b"this is no archive" * 100, form)]))


def test_an_encrypted_zip_is_refused_and_asks_nobody_for_a_password(mounting: Bench, web: Web, tmp_path: Path) -> None:
    result = mounting.run(shell("cat d/f"), mounts=[mount(web, encrypted_zip(tmp_path), "zip")])

    assert_failed(result)
    assert "assphrase" in result.log or "ncrypt" in result.log


class TestEscapes:
    """Each tries to write a file outside of the directory; none may, and the task is told or is not harmed."""

    @pytest.fixture
    def prey(self, state_dir: Path) -> Path:
        """A directory that everybody may write to, beside the worker's own."""
        directory = state_dir / "prey"
        directory.mkdir()
        directory.chmod(0o777)
        return directory

    def climb(self, prey: Path) -> str:
        return "../" * 30 + str(prey).lstrip("/")

    @pytest.mark.parametrize("form", CARRIERS)
    def test_a_name_with_dots(self, mounting: Bench, web: Web, form: str, prey: Path) -> None:
        data = CARRIERS[form]([Entry(f"{self.climb(prey)}/x", b"x")])

        result = mounting.run(shell("ls -R d"), mounts=[mount(web, data, form)])

        assert not list(prey.iterdir())
        assert_failed(result)

    @pytest.mark.parametrize("form", CARRIERS)
    def test_an_absolute_name(self, mounting: Bench, web: Web, form: str, prey: Path) -> None:
        data = CARRIERS[form]([Entry(f"{prey}/x", b"x")])

        mounting.run(shell("ls -R d"), mounts=[mount(web, data, form)])

        assert not list(prey.iterdir())

    @pytest.mark.parametrize("form", CARRIERS)
    @pytest.mark.parametrize("absolute", [True, False])
    def test_a_file_through_a_symbolic_link(
        self, mounting: Bench, web: Web, form: str, prey: Path, absolute: bool
    ) -> None:
        link = Entry("out", link=str(prey) if absolute else self.climb(prey))
        data = CARRIERS[form]([link, Entry("out/x", b"x")])

        mounting.run(shell("ls -R d"), mounts=[mount(web, data, form)])

        assert not list(prey.iterdir())

    def test_a_file_over_a_symbolic_link(self, mounting: Bench, web: Web, prey: Path) -> None:
        data = tar([Entry("out", link=f"{prey}/x"), Entry("out", b"x")])

        mounting.run(shell("ls -R d"), mounts=[mount(web, data, "tar")])

        assert not list(prey.iterdir())

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../../../../../../../../../etc/passwd"])
    def test_a_hard_link_to_something_else(self, mounting: Bench, web: Web, target: str) -> None:
        links = Path("/etc/passwd").stat().st_nlink

        assert_failed(mounting.run(shell("cat d/p"), mounts=[mount(web, tar([Entry("p", hard=target)]), "tar")]))
        assert Path("/etc/passwd").stat().st_nlink == links

    def test_a_hard_link_through_a_symbolic_link(self, mounting: Bench, web: Web, prey: Path) -> None:
        (prey / "f").write_text("original")
        (prey / "f").chmod(0o666)
        data = tar([Entry("s", link=f"{prey}/f"), Entry("h", hard="s"), Entry("h", b"changed")])

        mounting.run(shell("ls -R d"), mounts=[mount(web, data, "tar")])

        assert (prey / "f").read_text() == "original"

    @pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE])
    def test_a_device(self, mounting: Bench, web: Web, kind: bytes) -> None:
        assert_failed(mounting.run(shell("ls d"), mounts=[mount(web, tar([Entry("dev", kind=kind)]), "tar")]))

    @pytest.mark.root
    def test_a_set_uid_program(self, mounting: Bench, web: Web) -> None:
        data = tar([Entry("su", b"x", mode=0o6755)])

        result = mounting.run(shell("stat -c %a d/su; findmnt -no OPTIONS d"), mounts=[mount(web, data, "tar")])

        assert result.output[0] == "755"
        assert {"ro", "nosuid", "nodev"} <= set(result.output[1].split(","))
        unpacked = next((mounting.state_dir / "unpacked").glob("*/content"))
        assert not any(path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) for path in unpacked.rglob("*"))

    def test_the_last_of_several_entries_of_one_name_counts(self, mounting: Bench, web: Web) -> None:
        data = tar([Entry("f", b"one\n"), Entry("f", b"two\n"), Entry("f", b"three\n")])

        assert mounting.run(shell("cat d/f"), mounts=[mount(web, data, "tar")]).output == ["three"]

    def test_an_archive_that_is_a_list_of_files_to_read_gets_none(self, mounting: Bench, web: Web) -> None:
        data = b"#mtree\nf type=file contents=/etc/hostname\n"

        assert_failed(mounting.run(shell("cat d/f"), mounts=[mount(web, data, "tar")]))

    @pytest.mark.root
    def test_a_link_in_an_archive_does_not_lead_a_later_mount_away(self, mounting: Bench, web: Web, prey: Path) -> None:
        data = tar([Entry("out", link=str(prey))])
        into = {"directory": ".", "format": "tar", "content": {"url": web.page("/a", data)}}
        later = {"file": "out/x", "content": {"raw": "x"}}
        first = {"file": "keep", "content": {"raw": "x"}}

        result = mounting.run(shell("ls"), mounts=[first, into, later])

        assert_failed(result, "is a symbolic link or no directory")
        assert not list(prey.iterdir())

    def test_names_that_are_no_text_are_bearable(self, mounting: Bench, web: Web) -> None:
        data = tar([Entry("x\n[taskcluster:error] fake", b"1"), Entry("\x1b[31mred", b"1"), Entry("\udcff", b"1")])

        result = mounting.run(shell("ls d | wc -l"), mounts=[mount(web, data, "tar")])

        assert result.outcome.state in ("completed", "failed")
        assert "\n[taskcluster:error] fake" not in result.log


class TestBombs:
    @pytest.fixture
    def tight(self, mounting: Bench, web: Web) -> Bench:
        limits = {"max_unpacked_bytes": 5_000_000, "max_unpacked_entries": 100, "max_archive_ratio": 10}
        mounting.use(executor=limits, taskcluster={"root_url": web.url})
        return mounting

    @pytest.mark.parametrize("form", [form for form in ARCHIVES if form != "rar"])
    def test_one_file_that_is_too_large(self, tight: Bench, web: Web, form: str) -> None:
        data = ARCHIVES[form]([Entry("zeros", bytes(20_000_000))])

        assert_failed(tight.run(shell("true"), mounts=[mount(web, data, form)]), "larger than 5000000 bytes")

    @pytest.mark.parametrize("form", COMPRESSORS)
    def test_one_compressed_file_that_is_too_large(self, tight: Bench, web: Web, form: str) -> None:
        url = web.page("/f", COMPRESSORS[form](bytes(20_000_000)))

        result = tight.run(shell("true"), mounts=[{"file": "f", "format": form, "content": {"url": url}}])

        assert_failed(result, "larger than 5000000 bytes")

    @pytest.mark.parametrize("form", ["tar.gz", "zip"])
    def test_many_files_that_are_too_large_together(self, tight: Bench, web: Web, form: str) -> None:
        data = ARCHIVES[form]([Entry(f"f{number}", bytes(1_000_000)) for number in range(50)])

        assert_failed(tight.run(shell("true"), mounts=[mount(web, data, form)]), "larger than 5000000 bytes when")

    @pytest.mark.parametrize("form", ["tar", "zip"])
    def test_too_many_entries(self, tight: Bench, web: Web, form: str) -> None:
        data = ARCHIVES[form]([Entry(f"f{number}") for number in range(2000)])

        assert_failed(tight.run(shell("true"), mounts=[mount(web, data, form)]), "more than 100 entries")

    def test_a_ratio_that_only_bombs_have(self, mounting: Bench, web: Web) -> None:
        mounting.use(executor={"max_archive_ratio": 100}, taskcluster={"root_url": web.url})
        data = ARCHIVES["tar.zst"]([Entry("zeros", bytes(200_000_000))])

        result = mounting.run(shell("true"), mounts=[mount(web, data, "tar.zst")])

        assert_failed(result, "more than 100 times larger when unpacked")

    def test_what_was_unpacked_of_a_bomb_is_removed(self, tight: Bench, web: Web) -> None:
        data = ARCHIVES["tar.gz"]([Entry(f"f{number}", bytes(1_000_000)) for number in range(50)])

        tight.run(shell("true"), mounts=[mount(web, data, "tar.gz")])
        tight.sweep()

        assert not list((tight.state_dir / "unpacked").iterdir())


class TestReadOnly:
    @pytest.mark.root
    def test_the_second_task_need_not_unpack(self, mounting: Bench, web: Web) -> None:
        data = mount(web, tar(PLAIN), "tar")
        mounting.run(shell("true"), mounts=[data])

        result = mounting.run(shell("cat d/a/b.txt | wc -l; stat -c %U d/run; id -un"), mounts=[data])

        assert "Extracting" not in result.log
        assert "[mounts] Found existing directory unpacked from " in result.log
        assert result.output[0] == "50"
        assert result.output[1] == result.output[2]

    @pytest.mark.root
    def test_nobody_can_write_not_even_its_owner(self, mounting: Bench, web: Web) -> None:
        script = "chmod 700 d; touch d/x; rm d/run; mv d e; umount d; mount -o remount,rw d; rmdir d; ls d"

        result = mounting.run(shell(script), mounts=[mount(web, tar(PLAIN), "tar")])

        assert result.output[-2:] == ["a", "run"]

    @pytest.mark.root
    def test_two_tasks_share_it_at_once(self, mounting: Bench, web: Web) -> None:
        payload = {
            "command": shell("echo up; while ! [ -e /tmp/none ] && read -t 0.1 x < /dev/zero; do :; done; sleep 1"),
            "maxRunTime": 9,
            "mounts": [mount(web, tar(PLAIN), "tar")],
        }
        runs = [mounting.claim(payload) for _ in range(2)]
        jobs = [mounting.start(run) for run in runs]
        for run in runs:
            mounting.wait_until(lambda run=run: mounting.has_log(run) and "up" in mounting.result(run).output)  # type: ignore[misc]
        for run in runs:
            mounting.records.abort(run, "canceled")
        assert [job.wait() for job in jobs] == [0, 0]
        assert len(list((mounting.state_dir / "unpacked").glob("*/item.json"))) == 1

    @pytest.mark.root
    def test_files_with_closed_modes_are_the_tasks_own(self, mounting: Bench, web: Web) -> None:
        data = tar([Entry("secret", b"mine\n", mode=0o600)])

        assert mounting.run(shell("cat d/secret"), mounts=[mount(web, data, "tar")]).output == ["mine"]

    @pytest.mark.root
    def test_nothing_stays_mounted(self, mounting: Bench, web: Web) -> None:
        mounting.run(shell("true"), mounts=[mount(web, tar(PLAIN), "tar")])

        assert str(mounting.state_dir) not in Path("/proc/self/mountinfo").read_text()

    def test_the_task_directory_itself_can_be_filled(self, mounting: Bench, web: Web) -> None:
        result = mounting.run(shell("./run; touch run"), mounts=[mount(web, tar(PLAIN), "tar", ".")])

        assert result.output == ["ran"]

    @pytest.mark.root
    def test_a_place_that_is_not_empty_is_filled_and_the_log_warns(self, mounting: Bench, web: Web) -> None:
        first = {"file": "d/mine", "content": {"raw": "x"}}
        result = mounting.run(shell("ls d; touch d/more"), mounts=[first, mount(web, tar(PLAIN), "tar")])

        assert result.output == ["a", "mine", "run"]
        assert "is not empty: what is unpacked into it can be written to by the task" in result.log

    @pytest.mark.root
    def test_a_file_cannot_be_mounted_into_it(self, mounting: Bench, web: Web) -> None:
        later = {"file": "d/x", "content": {"raw": "x"}}

        assert_failed(
            mounting.run(shell("true"), mounts=[mount(web, tar(PLAIN), "tar"), later]), "Read-only file system"
        )

    def test_inline_content_can_be_an_archive(self, mounting: Bench) -> None:
        content = {"base64": base64.b64encode(tar(PLAIN)).decode()}

        result = mounting.run(shell("d/run"), mounts=[{"directory": "d", "format": "tar", "content": content}])

        assert result.output == ["ran"]

    def test_hard_links_inside_an_archive_work(self, mounting: Bench, web: Web) -> None:
        data = tar([Entry("x/one", b"1\n"), Entry("x/two", hard="x/one")])

        assert mounting.run(shell("cat d/x/two; stat -c %h d/x/one"), mounts=[mount(web, data, "tar")]).output == [
            "1",
            "2",
        ]


def assert_failed(result: Result, text: str = "[mounts] ") -> None:
    assert (result.outcome.state, result.outcome.reason) == ("failed", "failed"), result.log
    assert text in result.log, result.log
    assert not [line for line in result.output if "hello" in line]
