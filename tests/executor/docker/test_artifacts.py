"""What a container leaves behind becomes artifacts, and nothing else does."""

import time

import pytest

from executor.docker.yard import Yard

pytestmark = pytest.mark.root


def wanted(kind: str, path: str) -> dict[str, str]:
    return {"type": kind, "path": path}


def test_files_directories_and_volumes_become_artifacts(yard: Yard) -> None:
    result = yard.run(
        "mkdir -p /out/sub; echo one > /out/a.html; printf two > /out/sub/b.zip; echo three > /root/c;"
        "chmod 000 /root/c; echo four > /volume/d.txt; ls -ld /volume; stat -c %a /volume",
        artifacts={
            "public/out/": wanted("directory", "/out"),
            "public/c": wanted("file", "/root/c"),
            "public/vol": wanted("volume", "/volume"),
        },
    )

    assert result.outcome.succeeded, result.log
    assert "755" in result.output
    assert result.content("public/out/a.html") == b"one\n"
    assert result.content("public/out/sub/b.zip") == b"two"
    assert result.content("public/c") == b"three\n"
    assert result.content("public/vol/d.txt") == b"four\n"
    assert result.entries["public/out/a.html"].content_type.startswith("text/html")
    assert result.entries["public/out/a.html"].content_encoding == "gzip"
    assert result.entries["public/out/sub/b.zip"].content_encoding == "identity"
    assert len(result.entries) == 4


def test_what_is_missing_or_of_another_type_is_told_and_does_not_fail_the_task(yard: Yard) -> None:
    result = yard.run(
        "mkdir /d /empty; ln -s /etc/passwd /link; mkfifo /fifo; echo > /file",
        artifacts={
            "public/missing": wanted("file", "/nowhere"),
            "public/below-a-file": wanted("file", "/etc/passwd/x"),
            "public/link": wanted("file", "/link"),
            "public/fifo": wanted("file", "/fifo"),
            "public/dir": wanted("file", "/d"),
            "public/file": wanted("directory", "/file"),
            "public/empty": wanted("directory", "/empty"),
        },
    )

    assert result.outcome.succeeded
    reasons = {name: entry.reason for name, entry in result.entries.items()}
    assert reasons == {
        "public/missing": "file-missing-on-worker",
        "public/below-a-file": "file-missing-on-worker",
        "public/link": "invalid-resource-on-worker",
        "public/fifo": "invalid-resource-on-worker",
        "public/dir": "invalid-resource-on-worker",
        "public/file": "invalid-resource-on-worker",
    }
    assert 'Artifact "public/missing" not found at "/nowhere"' in result.log
    assert 'not found at "/etc/passwd/x": lstat /etc/passwd/x: not a directory' in result.log
    assert (
        '[taskcluster:error] Error uploading "public/link". Expected artifact to be a "file" but was "symlink"'
        in result.log
    )


def test_links_devices_and_pipes_in_a_directory_are_left_out(yard: Yard) -> None:
    result = yard.run(
        "mkdir /d; cd /d; ln -s /etc/shadow s; ln -s / root; mkfifo p; mknod null c 1 3; echo x > real; ln real second;"
        r"""echo y > '../d/..x'; echo z > "$(printf 'line\nfeed')"; mkdir -m 000 locked; echo w > locked/w""",
        artifacts={"public/d": wanted("directory", "/d")},
    )

    names = {name for name, entry in result.entries.items() if not entry.reason}
    assert names == {"public/d/real", "public/d/..x", "public/d/locked/w"}
    assert not any("root" in name or "null" in name for name in result.entries)


def test_a_sparse_file_takes_no_room_and_a_huge_one_is_refused(yard: Yard) -> None:
    yard.use(executor={"max_unpacked_bytes": 300 << 20})
    result = yard.run(
        "truncate -s 256M /sparse; printf end >> /sparse; truncate -s 1G /bomb",
        artifacts={"public/sparse": wanted("file", "/sparse"), "public/bomb": wanted("file", "/bomb")},
    )
    yard.use()

    assert result.outcome.state == "failed"
    assert result.entries["public/bomb"].reason == "too-large-file-on-worker"
    assert 'Error uploading "public/bomb". it is larger than' in result.log
    entry = result.entries["public/sparse"]
    assert entry.size_bytes == (256 << 20) + 3
    assert (result.outbox / entry.file).stat().st_blocks < 1000


def test_artifacts_of_a_task_that_took_too_long_or_failed_are_kept(yard: Yard) -> None:
    result = yard.run("echo saved > /a; sleep 1000", maxRunTime=1, artifacts={"public/a": wanted("file", "/a")})

    assert result.outcome.state == "failed"
    assert result.content("public/a") == b"saved\n"


def test_a_container_without_a_command_has_no_artifacts_and_no_hang(yard: Yard) -> None:
    began = time.monotonic()
    result = yard.run(["/nowhere"], artifacts={"public/a": wanted("file", "/a")})

    assert time.monotonic() - began < 20
    assert result.outcome.state == "failed"
    assert result.entries["public/a"].reason == "file-missing-on-worker"
