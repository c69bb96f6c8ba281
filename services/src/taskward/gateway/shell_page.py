"""The page with the terminal: ours, and xterm.js beside it; nothing is loaded from elsewhere."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from flask import Response

_STATIC: Final = files("taskward.gateway") / "static"
_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}


@dataclass(frozen=True)
class Asset:
    """A file of `static/`, by its name."""

    name: str

    def answer(self) -> Response:
        """Its content; cached by browsers for a day."""
        content_type = _TYPES[self.name[self.name.rindex(".") :]]
        headers = {"Cache-Control": "public, max-age=86400"}
        return Response((_STATIC / self.name).read_bytes(), headers=headers, content_type=content_type)


ASSETS: Final = {name: Asset(name) for name in ("shell.js", "shell.css", "xterm.js", "xterm.css", "xterm-addon-fit.js")}


def page(base_url: str) -> Response:
    """The page; it finds the web socket beside its own address.

    Scripts come from here alone. xterm.js writes its styles into the page, hence ``unsafe-inline`` for styles.
    """
    place = urlsplit(base_url).netloc
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src data:; "
        f"connect-src 'self' ws://{place} wss://{place}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Frame-Options": "DENY"}
    return Response((_STATIC / "shell.html").read_bytes(), headers=headers, content_type="text/html; charset=utf-8")
