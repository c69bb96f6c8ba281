"""How an archive calls its image; read with the rights of the task, since the archive is the task's."""

import json
import os
import tarfile
from typing import Any, Final

from taskward.executor.mounts.errands import Refused

_MANIFEST: Final = "manifest.json"
_LARGEST_MANIFEST: Final = 1 << 20
_MOST_MEMBERS: Final = 10_000
_MOST_NAMES: Final = 50


def names_in(file: int) -> list[str]:
    """Of the only image in what ``docker save`` wrote; a layout without such names has none.

    Raises:
        Refused: it is no archive, or has several images.
    """
    try:
        with os.fdopen(os.dup(file), "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise Refused(f"it has more than {_MOST_MEMBERS} members")
                if member.name == _MANIFEST and (content := archive.extractfile(member)) is not None:
                    return _names(json.loads(content.read(_LARGEST_MANIFEST)))
    except (tarfile.TarError, EOFError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"it is no archive of an image: {error or type(error).__name__}") from error
    finally:
        os.lseek(file, 0, os.SEEK_SET)
    return []


def _names(manifest: Any) -> list[str]:
    if not isinstance(manifest, list) or len(manifest) != 1 or not isinstance(manifest[0], dict):
        raise Refused("one image at a time can be loaded")
    names = manifest[0].get("RepoTags") or []
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise Refused("its manifest cannot be read")
    return names[:_MOST_NAMES]
