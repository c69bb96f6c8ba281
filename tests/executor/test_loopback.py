"""``features.loopbackVideo`` and ``loopbackAudio``: the devices, and what a machine without them says."""

import grp
import os
from pathlib import Path

import pytest

from executor.bench import Bench, Result, shell
from taskward.executor import loopback
from taskward.executor.errors import EngineFailed
from taskward.executor.features.feature import Feature
from taskward.executor.features.loopback import LoopbackAudio, LoopbackVideo
from taskward.executor.loopback import Loopback


def ask(bench: Bench, feature: str, *scopes: str, **payload: object) -> Result:
    task = {"command": shell("echo $TASKCLUSTER_VIDEO_DEVICE"), "maxRunTime": 9, "features": {feature: True}, **payload}
    return bench.run_payload(task, scopes=list(scopes))


def modprobe(directory: Path, script: str) -> str:
    """A search path with a kernel of the test's own."""
    directory.mkdir()
    program = directory / "modprobe"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(directory)


@pytest.mark.root
def test_the_module_is_loaded_and_its_device_given_to_the_group(tmp_path: Path) -> None:
    device = loopback.video(3, tmp_path)

    device.provide(modprobe(tmp_path / "bin", f'echo "$@" > {tmp_path}/said; touch {tmp_path}/video3'))

    found = (tmp_path / "video3").stat()
    assert (tmp_path / "said").read_text() == "v4l2loopback video_nr=3\n"
    assert found.st_mode & 0o777 == 0o660
    assert os.geteuid() != 0 or found.st_gid == grp.getgrnam("video").gr_gid


@pytest.mark.root
def test_a_device_that_is_there_needs_no_module(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()

    loopback.video(0, tmp_path).provide(modprobe(tmp_path / "bin", "exit 1"))


def test_a_sound_card_has_five_devices(tmp_path: Path) -> None:
    (tmp_path / "snd").mkdir()
    device = loopback.audio(16, tmp_path)

    with pytest.raises(EngineFailed, match=r"did not make .*controlC16"):
        device.provide(modprobe(tmp_path / "bin", "true"))

    assert [path.name for path in device.files] == [
        "controlC16", "pcmC16D0c", "pcmC16D0p", "pcmC16D1c", "pcmC16D1p",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "text"),
    [("echo 'Module x not found' >&2; exit 1", "cannot be loaded: Module x not found"), ("true", "did not make")],
)
def test_a_kernel_without_the_module_is_told(tmp_path: Path, script: str, text: str) -> None:
    with pytest.raises(EngineFailed, match=text):
        loopback.video(0, tmp_path).provide(modprobe(tmp_path / "bin", script))


def test_a_machine_without_modprobe_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="no modprobe"):
        loopback.video(0, tmp_path).provide(str(tmp_path))


@pytest.mark.parametrize("feature", ["loopbackVideo", "loopbackAudio"])
@pytest.mark.parametrize("scopes", [[], ["generic-worker:loopback"], ["generic-worker:loopback-video:other/pool"]])
def test_a_device_needs_its_scope(bench: Bench, feature: str, scopes: list[str]) -> None:
    result = ask(bench, feature, *scopes)

    assert result.outcome.reason == "malformed-payload"
    assert "requires scopes:" in result.log


def with_device(monkeypatch: pytest.MonkeyPatch, feature: type[Feature], device: Loopback) -> None:
    """A machine where the feature's device is this one."""
    monkeypatch.setattr(feature, "device", lambda _self: device)


@pytest.mark.parametrize("scope", ["generic-worker:loopback-video", "generic-worker:loopback-video:proj-x/linux"])
def test_a_task_that_comes_to_the_wrong_machine_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    device = Loopback("no_such_module", (), (Path("/dev/no-such-device"),), "video")
    with_device(monkeypatch, LoopbackVideo, device)

    result = ask(bench, "loopbackVideo", scope)

    assert result.outcome.reason == "malformed-payload"
    assert (
        "requires feature loopbackVideo, which this worker cannot provide: kernel module no_such_module" in result.log
    )


@pytest.mark.root
@pytest.mark.parametrize("groups", [[], ["video"]])
def test_a_task_finds_its_camera(bench: Bench, monkeypatch: pytest.MonkeyPatch, groups: list[str]) -> None:
    path = bench.state_dir / "video7"
    path.touch()
    with_device(monkeypatch, LoopbackVideo, Loopback("unneeded", (), (path,), "video"))

    result = ask(bench, "loopbackVideo", "*", osGroups=groups)

    assert result.output == [str(path)]
    assert f"Loopback video device is available at {path}" in result.log
    assert ("Consider adding 'video' to payload.osGroups." in result.log) is (not groups)


@pytest.mark.root
def test_a_task_finds_its_sound_card(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    card = loopback.audio(16, bench.state_dir)
    card.files[0].parent.mkdir()
    for path in card.files:
        path.touch()
    with_device(monkeypatch, LoopbackAudio, card)

    result = ask(
        bench,
        "loopbackAudio",
        "generic-worker:loopback-audio:proj-x/linux",
        "generic-worker:os-group:audio",
        osGroups=["audio"],
    )

    assert result.outcome.succeeded, result.log
    assert {(path.stat().st_mode & 0o777, path.group()) for path in card.files} == {(0o660, "audio")}
    assert "Consider adding" not in result.log


def test_devices_that_the_group_has_need_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = loopback.video(0, tmp_path)
    device.files[0].touch(mode=0o660)
    device.files[0].chmod(0o660)
    monkeypatch.setattr(loopback, "group_of", lambda _name: device.files[0].stat().st_gid)
    monkeypatch.setattr(os, "chown", lambda *_: pytest.fail("it is the group's already"))

    device.provide(str(tmp_path))


def test_a_machine_without_the_group_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video0").touch()
    monkeypatch.setattr(loopback, "group_of", lambda _name: None)

    with pytest.raises(EngineFailed, match=r"this machine has no group 'video' for .*/video0"):
        loopback.video(0, tmp_path).provide(str(tmp_path))


def test_a_sound_cards_number_ends_at_31(bench: Bench) -> None:
    bench.configure("executor", loopback_audio_device_number=32)

    assert ask(bench, "loopbackAudio", "*").outcome.reason == "internal-error"
