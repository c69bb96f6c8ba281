"""A person who logs in by RDP: the real client, FreeRDP, on a screen of its own; and a look at an X display's size."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SIZE_SCRIPT = """
import ctypes, sys, time
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
def size():
    display = x.XOpenDisplay(None)
    if not display:
        return "closed"
    display = ctypes.c_void_p(display)
    found = f"{x.XDisplayWidth(display, 0)}x{x.XDisplayHeight(display, 0)}"
    x.XCloseDisplay(display)
    return found
deadline = time.monotonic() + 20
while (found := size()) not in (sys.argv[1:] or [found]) and time.monotonic() < deadline:
    time.sleep(0.05)
print(found, flush=True)
"""
"""Prints the size of the display in the environment; waits until it is as the first argument says."""


def size_of_display(environment: Mapping[str, str], wanted: str = "") -> str:
    """``<width>x<height>`` of the display that a program with this environment has; ``closed`` if it has none."""
    argv = [sys.executable, "-c", SIZE_SCRIPT, *([wanted] if wanted else [])]
    done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, timeout=40, check=False)
    return done.stdout.strip()


class RdpClient:
    """FreeRDP; a desktop takes its size when it has been let in, and only then."""

    def __init__(self, display: str, home: str) -> None:
        self._environment = {"PATH": os.environ["PATH"], "DISPLAY": display, "HOME": home}

    @contextmanager
    def connect(self, info: Mapping[str, Any], size: str, **other: str) -> Iterator[subprocess.Popen[bytes]]:
        """Stays connected within the block; `other` replaces what `info` says. The server's certificate is checked."""
        told = {**info, **other}
        argv = [
            "xfreerdp", f"/v:{told['host']}:{told['port']}", f"/u:{told['username']}", f"/p:{told['password']}",
            f"/cert:fingerprint:sha256:{told['certificateSha256']}", f"/size:{size}", "/log-level:ERROR",
        ]  # fmt: skip
        client = subprocess.Popen(argv, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield client
        finally:
            client.kill()
            client.wait()


@contextmanager
def person() -> Iterator[RdpClient]:
    """A person with a screen."""
    told, tells = os.pipe()
    with tempfile.TemporaryDirectory(prefix="twrdp") as home, open(told) as stream:
        socket = f"{home}/vnc"
        argv = ["Xvnc", "-displayfd", str(tells), "-rfbunixpath", socket, "-SecurityTypes", "None", "-nolisten", "tcp"]
        screen = subprocess.Popen(argv, pass_fds=[tells], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(tells)
        try:
            yield RdpClient(f":{stream.readline().strip()}", home)
        finally:
            screen.terminate()
            screen.wait()
