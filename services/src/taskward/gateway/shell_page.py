"""The pages with the terminal and the display: ours, with xterm.js and noVNC; nothing is loaded from elsewhere."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Response

_STATIC: Final = Path(str(files("taskward.gateway"))) / "static"
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


@dataclass(frozen=True)
class Asset:
    """A file of `static/`, by its name."""

    name: str

    def answer(self) -> Response:
        """Its content; cached by browsers for a day."""
        content_type = _TYPES[Path(self.name).suffix]
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response((_STATIC / self.name).read_bytes(), headers=headers, content_type=content_type)


_NAMES: Final = (str(path.relative_to(_STATIC)) for path in _STATIC.rglob("*") if path.suffix in _TYPES)
ASSETS: Final = {name: Asset(name) for name in _NAMES}


def page(name: str, base_url: str) -> Response:
    """A page; it finds its web socket beside its own address.

    Scripts come from here alone. xterm.js and noVNC write styles into the page, hence ``unsafe-inline`` for styles.
    """
    place = urlsplit(base_url).netloc
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; "
        f"connect-src 'self' ws://{place} wss://{place}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
    return Response((_STATIC / f"{name}.html").read_bytes(), headers=headers, content_type="text/html; charset=utf-8")
