"""X displays of a container for people outside: seen, typed into, and worth nothing to a hostile container."""

import base64
import contextlib
import os
import select
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.bench import JobProcess
from executor.docker.yard import Yard
from executor.terminal import PATIENCE_S, Shell
from simulators.rfb import Viewer
from simulators.x_server import need, x_server, x_server_image
from taskward.core.shell import Exited, Open, Opened, Refused, Show
from taskward.executor.docker.display.tools import PROGRAMS, Tools
from taskward.executor.docker.features.interactive import DISPLAY, ENTRY, SHELL, SOCKETS
from taskward.executor.errors import EngineFailed
from taskward.executor.rdp.credentials import authority_file

pytestmark = pytest.mark.root

WHITE = b"\xff\xff\xff"
PLAIN, LOCKED, SILENT, GARBLED, LINKED = 7, 8, 5, 4, 3
BEGIN = (
    f"{x_server(PLAIN)} echo {base64.b64encode(authority_file()).decode()} | base64 -d >/tmp/cookie; "
    f"{x_server(LOCKED, '-auth /tmp/cookie')} echo holding; while [ ! -e /tmp/end ]; do sleep 0.05; done"
)


class Screens:
    """A container with two X servers, one of which wants a cookie."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self.bench = yard, yard.bench
        image = x_server_image(yard.daemon)
        self.run = yard.claim(BEGIN, features={"interactive": True}, image=image)
        self.job: JobProcess = self.bench.start(self.run)
        self.bench.wait_for_line(self.run, "holding")
        self.shells: list[Shell] = []

    def ask(self, wish: Open | Show) -> Shell:
        self.shells.append(Shell(self.bench.layout.shell_socket(self.run), wish))
        return self.shells[-1]

    def view(self, display: str) -> Viewer:
        shell = self.ask(Show(display))
        assert isinstance(shell.answer, Opened), shell.answer
        return Viewer(lambda: _read(shell.descriptors[1]), lambda data: os.write(shell.descriptors[0], data))

    def listed(self) -> list[str]:
        """Lines, in any order."""
        return sorted(_read_all(self.ask(Show("")).descriptors[1]).decode().splitlines())

    def do(self, script: str) -> str:
        """What it prints, once it has ended."""
        shell = self.ask(Open(("sh", "-c", script), terminal=False, resume_s=0.0))
        output = _read_all(shell.descriptors[1]).decode()
        assert shell.told() == Exited(0)
        return output

    def processes(self, words: str, *, at_first: bool = False) -> list[int]:
        """Those whose command line has these words, or begins with them."""
        (container,) = [each for each in self.yard.containers() if each["State"] == "running"]
        rows = self.yard.daemon.top(container["Id"], ps_args="-o pid,args")["Processes"]
        return [int(pid) for pid, command in rows if (command.startswith(words) if at_first else words in command)]

    def leave(self) -> None:
        for shell in self.shells:
            with contextlib.suppress(BrokenPipeError):  # refused, or it has ended
                shell.end()
            shell.vanish()
        self.shells.clear()


def _read(fd: int) -> bytes:
    assert select.select([fd], [], [], PATIENCE_S)[0], "nothing comes"
    return os.read(fd, 1 << 16)


def _read_all(fd: int) -> bytes:
    found = b""
    while data := _read(fd):
        found += data
    return found


@pytest.fixture(scope="module")
def task(yard: Yard) -> Iterator[Screens]:
    need(*PROGRAMS)
    yard.bench.layout.shells.mkdir(parents=True, mode=0o750, exist_ok=True)
    yard.use(docker={"interactive_min_s": 0, "interactive_linger_s": 0})
    screens = Screens(yard)
    yield screens
    screens.do("touch /tmp/end")
    assert screens.job.wait() == 0
    screens.leave()
    assert yard.left_over(screens.run) == []


@pytest.fixture
def screens(task: Screens) -> Iterator[Screens]:
    yield task
    task.leave()
    task.bench.wait_until(lambda: not task.processes("x11vnc"))


def test_displays_are_listed_with_their_sizes_those_too_that_want_a_cookie(screens: Screens) -> None:
    assert screens.listed() == [f":{PLAIN}.0\t320x200", f":{LOCKED}.0\t320x200"]


@pytest.mark.parametrize("display", [f":{PLAIN}", f":{LOCKED}.0"])
def test_a_display_is_seen_as_it_is(screens: Screens, display: str) -> None:
    viewer = screens.view(display)

    assert viewer.version == b"RFB 003.008\n"
    assert (viewer.width, viewer.height) == (320, 200)
    assert WHITE in {pixel[:3] for pixel in viewer.pixels()}


def test_what_is_typed_reaches_programs_on_the_display(screens: Screens) -> None:
    events = screens.ask(Open(("env", f"DISPLAY=:{PLAIN}", "xev", "-root"), terminal=False, resume_s=0.0))
    viewer = screens.view(f":{PLAIN}")
    viewer.pixels()
    said, deadline = b"", time.monotonic() + PATIENCE_S
    while b"keysym 0x71, q" not in said:
        viewer.press(ord("q"))
        if select.select([events.descriptors[1]], [], [], 0.2)[0]:
            said += os.read(events.descriptors[1], 1 << 16)
        assert time.monotonic() < deadline, said


def test_what_shows_a_display_is_confined_as_the_container_is(screens: Screens) -> None:
    screens.view(f":{PLAIN}")
    for pid in screens.processes("x11vnc"):
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1\n" in status
        assert "Seccomp:\t2\n" in status


def test_a_viewer_that_leaves_takes_its_server_along_even_if_the_display_hangs(screens: Screens) -> None:
    (server,) = screens.processes(f"Xvnc :{PLAIN} ", at_first=True)
    screens.view(f":{PLAIN}")
    os.kill(server, signal.SIGSTOP)
    try:
        screens.leave()
        screens.bench.wait_until(lambda: not screens.processes("x11vnc"))
    finally:
        os.kill(server, signal.SIGCONT)
    assert screens.view(f":{PLAIN}").width == 320


@pytest.mark.parametrize("display", [":7;id", ":7 -rfbport 5900", "-remote", ":7,exec:id"])
def test_only_names_of_displays_are_taken(screens: Screens, display: str) -> None:
    answer = screens.ask(Show(display)).answer
    assert answer == Refused("no display can be shown: a display's name has the form :0 or :0.0")


def test_a_display_that_is_not_there_ends_the_view(screens: Screens) -> None:
    shell = screens.ask(Show(":99"))
    assert _read(shell.descriptors[1]) == b""
    assert isinstance(shell.told(), Exited)


def test_displays_that_lie_or_say_nothing_hide_no_others(screens: Screens) -> None:
    sockets = "/tmp/.X11-unix"
    socat = "/.taskclusterutils/loader --library-path /.taskclusterutils /.taskclusterutils/socat"
    screens.do(
        f"cd {sockets}; ln -s / X{LINKED}; ln -s /.taskclusterutils 'X; touch owned #'; mkfifo X2; : >X1; ln -s X6 X6; "
        f"{socat} UNIX-LISTEN:X{SILENT},fork OPEN:/dev/null,ignoreeof >/dev/null 2>&1 & "
        f"cd {sockets}; {socat} -u OPEN:/dev/urandom UNIX-LISTEN:X{GARBLED},fork >/dev/null 2>&1 & "
        f"while [ ! -e {sockets}/X{GARBLED} -o ! -e {sockets}/X{SILENT} ]; do sleep 0.02; done"
    )
    try:
        assert screens.listed() == [f":{PLAIN}.0\t320x200", f":{LOCKED}.0\t320x200"]
        for number in (SILENT, GARBLED, LINKED):
            assert isinstance(screens.ask(Show(f":{number}")).answer, Opened)  # and `screens` sees them end
        assert screens.do("ls /owned /tmp/owned 2>&1 || true").count("No such file") == 2
        assert screens.view(f":{PLAIN}").width == 320
    finally:
        screens.do(f"cd {sockets}; rm -f X[0-6]* 'X; touch owned #'; kill $(pidof socat) 2>/dev/null; true")


def test_the_container_cannot_change_what_shows_its_displays(screens: Screens) -> None:
    assert "Read-only" in screens.do("(echo >/.taskclusterutils/x11vnc) 2>&1 || true")


def test_the_pages_are_where_docker_workers_were(screens: Screens) -> None:
    record = screens.bench.records.read(screens.run)
    assert record is not None
    pages = {each.name: each for each in record.references}
    assert {SHELL, DISPLAY, ENTRY, SOCKETS} <= set(pages)
    assert "/display?v=1&" in pages[DISPLAY].url
    assert pages[SOCKETS].content_type == "application/json"


def test_tools_are_copied_once_and_again_when_they_change(yard: Yard) -> None:
    tools = Tools.find()
    parent = yard.bench.state_dir / "copies"
    first = tools.lay_out(parent)
    assert tools.lay_out(parent) == first
    assert {"loader", *PROGRAMS} < {each.name for each in first.iterdir()}

    os.utime(first, (0, 0))
    (parent / "draft-of-another").mkdir()

    second = Tools({"loader": tools.files["loader"]}).lay_out(parent)

    assert sorted(each.name for each in parent.iterdir()) == sorted([second.name, "draft-of-another"])
    assert stat.S_IMODE(second.stat().st_mode) == 0o755


def test_a_worker_without_the_programs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskward.executor.docker.display.tools.PATH", "/nowhere")
    with pytest.raises(EngineFailed, match=r"x11vnc is not installed on this worker \(Debian's package x11vnc\)"):
        Tools.find()


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ldd").write_text("#!/bin/sh\necho '\tlibmissing.so.1 => not found'\n")
    (tmp_path / "ldd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EngineFailed, match=r"libmissing\.so\.1, which .*x11vnc needs, is not installed"):
        Tools.find()


def test_an_image_that_brings_the_programs_needs_no_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x11vnc").write_bytes(b"")
    monkeypatch.setattr("taskward.executor.docker.display.tools.BUNDLE", tmp_path)
    monkeypatch.setattr("taskward.executor.docker.display.tools.PATH", "/nowhere")
    assert Tools.find().files == {"x11vnc": tmp_path / "x11vnc"}
