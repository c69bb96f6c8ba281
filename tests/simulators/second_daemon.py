"""A second Docker daemon, for what the machine's own cannot be asked: other runtimes, above all.

It has a network namespace and a mount namespace of its own, so that it can neither see nor spoil the first one's
bridges and rules; all of that ends with it. Its containers are below this machine's control groups, as all are.
"""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from docker.api.client import APIClient

from simulators.docker import connect, missing

LESSER_RUNTIME: Final = "lesser"
_READY_WITHIN_S: Final = 30.0
_ENDS_WITHIN_S: Final = 20.0
_RUNTIME: Final = """\
#!/bin/sh
# runc, but privileged containers lack what this machine itself may lack
previous=
for word; do
    [ "$previous" != --bundle ] || sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$word/config.json"
    previous=$word
done
exec runc "$@"
"""


class SecondDaemon:
    """``with SecondDaemon() as daemon:`` starts it and leaves nothing behind.

    Attributes:
        url: for clients.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="twd"))
        self.url = f"unix://{self._directory}/socket"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        runtime = self._directory / "runtime"
        runtime.write_text(_RUNTIME)
        runtime.chmod(0o755)
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(self._command(runtime), stdout=log, stderr=log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends its containers, it, and takes its files away."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def connect(self) -> APIClient:
        """A new client."""
        return connect(self.url)

    def _command(self, runtime: Path) -> list[str]:
        program = shutil.which("dockerd")
        if program is None:
            missing("dockerd is not installed")
        own = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        return [
            "unshare", "--net", "--mount", "--propagation=slave", "setpriv", "--pdeathsig=TERM", program,
            *(f"--{option}={self._directory / name}" for option, name in own.items()),
            f"--host={self.url}", "--iptables=false", "--ip6tables=false", f"--add-runtime={LESSER_RUNTIME}={runtime}",
        ]  # fmt: skip

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._listens():  # it lets callers wait until it can answer
            text = (self._directory / "log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"the second Docker daemon has ended: {text}"
            assert time.monotonic() < deadline, f"the second Docker daemon does not listen: {text}"
            time.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.url.removeprefix("unix://")) == 0
