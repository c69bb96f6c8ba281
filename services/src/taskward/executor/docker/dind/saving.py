"""``docker save`` with the names that the task knows: the daemon is asked for ids, and names none."""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from taskward.executor.docker.dind.errors import BROKEN, Refusal
from taskward.executor.docker.dind.wire import Answer

_MANIFEST: Final = "manifest.json"
_NAMES: Final = "repositories"
_LARGEST_MANIFEST: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 18
_ID: Final = re.compile(r"[0-9a-f]{64}")


def saved(answer: Answer, names: Mapping[str, Sequence[str]]) -> Iterator[bytes]:
    """The daemon's archive with a manifest in which each id has its `names`; what is in layers is not looked at.

    Raises:
        Refusal: the daemon's archive breaks off, or is another than it used to be.
    """
    try:
        with tarfile.open(fileobj=answer.as_file(), mode="r|") as archive:
            for member in archive:
                if member.name == _NAMES:
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                if member.name == _MANIFEST and content is not None:
                    text = _renamed(content.read(_LARGEST_MANIFEST), names)
                    member.size, content = len(text), io.BytesIO(text)
                yield member.tobuf(tarfile.PAX_FORMAT)
                if content is not None:
                    yield from _padded(content, member.size)
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise Refusal(BROKEN, f"the daemon's archive cannot be read: {error}") from error
    yield bytes(2 * tarfile.BLOCKSIZE)


def _renamed(text: bytes, names: Mapping[str, Sequence[str]]) -> bytes:
    manifest: list[dict[str, Any]] = json.loads(text)
    for image in manifest:
        found = _ID.search(image["Config"])
        image["RepoTags"] = list(names.get(f"sha256:{found[0]}" if found else "", ())) or None
    return json.dumps(manifest).encode()


def _padded(content: Any, size_bytes: int) -> Iterator[bytes]:
    while piece := content.read(_PIECE_BYTES):
        yield piece
    yield bytes(-size_bytes % tarfile.BLOCKSIZE)
