"""What the daemon packs for us as one archive, read as it comes."""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from requests import Response
from urllib3.exceptions import HTTPError

from taskward.executor.collect import OUTBOX_GROUP
from taskward.executor.docker.daemon import Daemon, DaemonAway, without_host
from taskward.executor.ownership import give_to_group

_OK: Final = 200
_BLOCK_BYTES: Final = 1 << 18


class NotThere(Exception):
    """The daemon has no such thing; the text is its own."""


class TooLarge(Exception):
    """There is more than is allowed."""


@contextmanager
def opened(daemon: Daemon, path: str, params: Mapping[str, str | Sequence[str]], what: str) -> Iterator[Response]:
    """The answer to ``GET <path>``, unread. `what` completes "the Docker daemon cannot …".

    Raises:
        NotThere: the daemon has refused.
        DaemonAway: it does not answer.
    """
    with daemon.asking(what):
        api = daemon.api
        plain = {"Accept-Encoding": "identity"}
        url = f"{api.base_url}/v{api.api_version}{path}"
        response = api.get(url, params=params, headers=plain, stream=True, timeout=daemon.settings.timeout_s)
    with response:
        if response.status_code != _OK:
            raise NotThere(_message(response))
        yield response


def save(response: Response, outbox: Path, file: str, most_bytes: int) -> None:
    """Writes it into a run's outbox: complete under its name, for the uploader to read, or not there.

    Raises:
        TooLarge: it has more bytes than that.
        DaemonAway: the daemon breaks off.
        OSError: it cannot be written.
    """
    draft = outbox / f".{file}"
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400), "wb") as target:
            written_bytes = 0
            for block in _blocks(response):
                written_bytes += len(block)
                if written_bytes > most_bytes:
                    raise TooLarge(f"it has more than {most_bytes} bytes, the most that is allowed")
                target.write(block)
        give_to_group(draft, OUTBOX_GROUP, stat.S_IRUSR | stat.S_IRGRP)
        draft.rename(outbox / file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        raise


def _blocks(response: Response) -> Iterator[bytes]:
    try:
        yield from response.raw.stream(_BLOCK_BYTES, decode_content=False)
    except (HTTPError, TimeoutError, ConnectionError) as error:
        raise DaemonAway(f"the Docker daemon broke off in the middle of an archive: {error}") from error


def _message(response: Response) -> str:
    try:
        return without_host(str(response.json()["message"]))
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}"
