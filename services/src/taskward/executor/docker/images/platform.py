"""Which images can run here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_ALSO: Final[Mapping[str, frozenset[str]]] = {"amd64": frozenset({"386"}), "arm64": frozenset({"arm"})}
"""What processors of a kind can do besides."""


@dataclass(frozen=True)
class Platform:
    """In the words of the daemon: ``linux``, ``amd64``."""

    os: str
    architecture: str

    def mismatch(self, image: "Platform") -> str:
        """Why an image cannot run here; empty when it can. What an image does not say is no obstacle."""
        wrong_os = image.os and image.os != self.os
        known = {self.architecture, *_ALSO.get(self.architecture, ())}
        if not wrong_os and (not image.architecture or image.architecture in known):
            return ""
        return f"the image is for {image}, but this worker runs {self}: build it for that, or use another worker pool"

    def __str__(self) -> str:
        return f"{self.os or 'any system'}/{self.architecture or 'any processor'}"[:100]
