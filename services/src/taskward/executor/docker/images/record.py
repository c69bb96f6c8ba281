"""What is remembered of an image that this worker has brought, beside the facts of its item on the shelf."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from taskward.executor.mounts.shelf import Item


@dataclass(frozen=True)
class Brought:
    """One image at the daemon.

    Attributes:
        name: by which the daemon knows it; ours to remove.
        id: what the name meant when it was brought; when it means something else, somebody else has changed it. Empty
            while it is being brought, and when that was not finished.
        artifact_hash: ``sha256:…`` of the artifact that it came in; empty for images of registries.
        account: the login that it was pulled with, as user@registry; empty for none.
        older: ids that the name had before.
        misfit: why it cannot run here; empty if it can.
    """

    name: str
    id: str
    artifact_hash: str = ""
    account: str = ""
    older: tuple[str, ...] = ()
    misfit: str = ""

    def write(self, item: Item) -> None:
        """To be called before the item is complete."""
        draft = item.content.with_name(f".{item.content.name}")
        draft.write_text(json.dumps(asdict(self)))
        draft.rename(item.content)

    @classmethod
    def read(cls, item: Item) -> Self | None:
        """None for an item that is not complete, or that a crash of the machine left unreadable."""
        if item.facts is None:
            return None
        try:
            data: Mapping[str, Any] = json.loads(item.content.read_text())
            return cls(**{**data, "older": tuple(data["older"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None
