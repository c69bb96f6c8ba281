"""The files that `taskward verify` finds, against what was certified."""

import errno
import json
import os
from pathlib import Path

import pytest

from cli.verify.downloads import ASC, LOG, Checker, bad, command, key_options, put


def test_a_file_that_was_not_certified_is_refused(check: Checker, run: Path) -> None:
    put(run, "public/extra.sh", b"rm -rf /")
    assert bad(check()) == {"public/extra.sh": "not certified by the documents"}


def test_a_symbolic_link_is_refused_even_to_the_right_content(check: Checker, run: Path) -> None:
    (run / "public/a.txt").rename(run.parent / "elsewhere")
    (run / "public/a.txt").symlink_to(run.parent / "elsewhere")
    assert "public/a.txt" in bad(check())


def test_a_linked_directory_is_refused(check: Checker, run: Path) -> None:
    (run / "public/build").rename(run.parent / "build")
    (run / "public/build").symlink_to(run.parent / "build")
    assert "public/build" in bad(check())


def test_a_fifo_does_not_hang_the_verifier(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    os.mkfifo(run / "public/a.txt")
    assert bad(check())["public/a.txt"] == "not a regular file"


def test_a_directory_in_place_of_an_artifact_is_refused(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    (run / "public/a.txt").mkdir()
    assert bad(check()) == {"public/a.txt": "certified, but what is there is not a file"}
    assert not check(complete=True).ok
    assert check().absent == ("public/a.txt",)


def test_a_directory_in_place_of_a_document_is_refused(check: Checker, run: Path) -> None:
    (run / ASC).unlink()
    (run / ASC).mkdir()
    assert bad(check()) == {ASC: "not a regular file"}


def test_a_log_that_goes_on_after_signing_is_listed_as_unchecked(signed: Path, run: Path) -> None:
    put(run, LOG, b"evil")
    report = json.loads(command(run, "--json", *key_options(signed)).output)
    assert report["ok"]
    assert report["unchecked"] == [LOG]
    assert f"unchecked  {LOG}: no signature covers it" in command(run, *key_options(signed)).output


def test_without_logs_nothing_is_unchecked(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    assert check().unchecked == ()


def test_a_log_that_is_a_link_is_refused(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    (run / LOG).symlink_to("/etc/passwd")
    assert bad(check()) == {LOG: "neither a regular file nor a directory that can be read"}
    assert check().unchecked == ()


def test_a_file_in_a_directory_with_the_name_of_a_log_is_refused(check: Checker, run: Path) -> None:
    (run / LOG).unlink()
    put(run, f"{LOG}/extra.sh", b"rm -rf /")
    assert bad(check()) == {f"{LOG}/extra.sh": "not certified by the documents"}


def test_a_directory_that_cannot_be_read_is_refused(check: Checker, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "public/closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:  # root reads every directory, so the system's refusal has to be simulated
        if str(path).endswith("/closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert bad(check()) == {"public/closed": "neither a regular file nor a directory that can be read"}


def test_an_absent_artifact_is_listed_and_refused_only_on_demand(check: Checker, run: Path) -> None:
    (run / "public/a.txt").unlink()
    assert check().ok
    assert check().absent == ("public/a.txt",)
    assert bad(check(complete=True)) == {"public/a.txt": "certified, but not there"}
