"""A small file, and mounts of it."""

import hashlib
from typing import Any

TASK = "AAAAAAAAQAaAAAAAAAAAAA"
CONTENT = b"hello\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def file(content: dict[str, Any], path: str = "f", **more: Any) -> dict[str, Any]:
    return {"file": path, "content": content, **more}
