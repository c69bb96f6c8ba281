"""Waits for the doors of a worker that has just been started: a process that runs may not listen yet."""

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from taskward.cli import resolved
from taskward.cli.errors import Unavailable
from taskward.core.poll import until
from taskward.core.settings import Settings

_CONNECT_S: Final = 1.0


def await_all(settings: Settings, timeout_s: float) -> None:
    """Returns when gateway, proxy, signer, keyholder and decrypter take connections.

    Raises:
        CommandError: one of them does not in time; the text names it and where its log is.
    """
    deadline = time.monotonic() + timeout_s
    for role, address in _doors(settings):
        if not until(partial(_opens, address), deadline - time.monotonic()):
            raise Unavailable(f"{role} does not listen; see {settings.worker.state_dir}/var/log/{role}.log")


def _doors(settings: Settings) -> Iterator[tuple[str, Path | tuple[str, int]]]:
    sections = resolved.sections(settings)
    yield "gateway", (str(sections["gateway"]["host"]), int(sections["gateway"]["port"]))
    yield "proxy", ("127.0.0.1", int(sections["proxy"]["port"]))
    if not settings.uploader.signer_url:
        yield "signer", Path(sections["signer"]["socket"])
        yield "keyholder", Path(sections["keyholder"]["socket"])
    if settings.executor.enable_encrypted_env:
        yield "decrypter", Path(sections["decrypter"]["socket"])


def _opens(address: Path | tuple[str, int]) -> bool:
    try:
        if isinstance(address, Path):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_CONNECT_S)
                probe.connect(str(address))
        else:
            socket.create_connection(address, _CONNECT_S).close()
    except OSError:
        return False
    return True
