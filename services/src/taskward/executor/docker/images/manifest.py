"""What an image's archive says of itself: docker-archive (``manifest.json``) or OCI layout (``index.json``).

Nothing of it is believed: each layer must be in the archive, with the content that the configuration names. A daemon
takes a layer that it knows already without looking at the archive's; so an archive that only names layers of an image
would otherwise be that image, whoever may have it.
"""

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from taskward.executor.docker.images.platform import Platform
from taskward.executor.mounts.errands import Refused

ONE: Final = "Image tarballs must only contain one image"
_MOST_LAYERS: Final = 1000
_DEPTH: Final = 8
_NO_PLATFORM: Final = "unknown"
_ANY: Final = Platform("", "")


class Seen(Protocol):
    """A file of the archive, see `blob.Blob`."""

    fault: str

    @property
    def digest(self) -> str:
        """Of its bytes."""
        ...

    @property
    def layer(self) -> str:
        """Of the tar archive in it."""
        ...


@dataclass(frozen=True)
class Contents:
    """An archive that was read to its end.

    Attributes:
        files: by normalised name.
        links: name → the name that it leads to.
        small: the bytes of those that may be JSON.
    """

    files: Mapping[str, Seen]
    links: Mapping[str, str]
    small: Mapping[str, bytes]

    def resolve(self, name: Any) -> str:
        """The file behind a name that some JSON of the archive mentions.

        Raises:
            Refused: there is none.
        """
        if not isinstance(name, str):
            raise Refused("its manifest is not understood")
        found = posixpath.normpath(name)
        for _ in range(_DEPTH):
            if found not in self.links:
                break
            found = self.links[found]
        if found not in self.files:
            raise Refused(f"its manifest names {name[:200]!r}, which is not in the archive")
        return found

    def json(self, name: str) -> Any:
        """Of a small file.

        Raises:
            Refused: it is none, or too large for one.
        """
        try:
            return json.loads(self.small[self.resolve(name)])
        except KeyError as error:
            raise Refused(f"{name[:200]!r} is no JSON, or too large") from error
        except (ValueError, RecursionError) as error:
            raise Refused(f"{name[:200]!r} is no JSON") from error

    def blob(self, descriptor: Any) -> str:
        """The file that an OCI descriptor means.

        Raises:
            Refused: it is not there, or is another than its digest says.
        """
        digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
        if not isinstance(digest, str) or not digest.startswith("sha256:"):
            raise Refused("its index has a descriptor without a sha256 digest")
        name = self.resolve(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        if self.files[name].digest != digest:
            raise Refused(f"the digest of {name!r} is wrong: its content has {self.files[name].digest}")
        return name


@dataclass(frozen=True)
class Described:
    """The one image of an archive: names of its files, and where it runs."""

    config: str
    layers: tuple[str, ...]
    platform: Platform


def described(contents: Contents, here: Platform) -> Described:
    """The image; every layer is there and is what its configuration says.

    An OCI layout may have it for several platforms: then it is the one for `here`.

    Raises:
        Refused: there is none, or more than one, or something is missing or wrong.
    """
    if "manifest.json" in contents.files or "manifest.json" in contents.links:
        config, layers = _docker_archive(contents)
    elif "index.json" in contents.files:
        config, layers = _oci_layout(contents, here)
    else:
        raise Refused("Unknown docker archive format: it has neither manifest.json nor index.json")
    facts = contents.json(config)
    if not isinstance(facts, dict):
        raise Refused("its configuration is not understood")
    _check_layers(contents, facts, layers)
    platform = Platform(str(facts.get("os", "")), str(facts.get("architecture", "")))
    return Described(config, tuple(layers), platform)


def _docker_archive(contents: Contents) -> tuple[str, list[str]]:
    manifest = contents.json("manifest.json")
    if not isinstance(manifest, list) or not all(isinstance(entry, dict) for entry in manifest):
        raise Refused("its manifest is not understood")
    if len(manifest) != 1:
        raise Refused(ONE)
    layers = _list(manifest[0].get("Layers"))
    return contents.resolve(manifest[0].get("Config")), [contents.resolve(name) for name in layers]


def _oci_layout(contents: Contents, here: Platform) -> tuple[str, list[str]]:
    found = contents.json("index.json")
    for _ in range(_DEPTH):
        if not isinstance(found, dict):
            raise Refused("its index is not understood")
        if "manifests" not in found:
            break
        found = contents.json(contents.blob(_only(_list(found["manifests"]), here)))
    return contents.blob(found.get("config")), [contents.blob(layer) for layer in _list(found.get("layers"))]


def _only(entries: Sequence[Any], here: Platform) -> Any:
    """The one image of an index, beside the statements about images that build tools put there."""
    platforms = [(_platform(entry), entry) for entry in entries]
    images = [(platform, entry) for platform, entry in platforms if platform.os != _NO_PLATFORM]
    if len(images) > 1:
        images = [(platform, entry) for platform, entry in images if platform == here]
    if len(images) != 1:
        raise Refused(ONE)
    return images[0][1]


def _platform(entry: Any) -> Platform:
    told = entry.get("platform") if isinstance(entry, dict) else None
    return Platform(str(told.get("os", "")), str(told.get("architecture", ""))) if isinstance(told, dict) else _ANY


def _check_layers(contents: Contents, facts: Mapping[str, Any], layers: Sequence[str]) -> None:
    root = facts.get("rootfs")
    wanted = _list(root.get("diff_ids") if isinstance(root, dict) else None)
    if len(wanted) != len(layers):
        raise Refused(f"its manifest names {len(layers)} layers, its configuration {len(wanted)}")
    for number, (name, digest) in enumerate(zip(layers, wanted, strict=True)):
        layer = contents.files[name]
        if layer.fault:
            raise Refused(f"layer {number} cannot be used: {layer.fault}")
        if layer.layer != digest:
            raise Refused(f"layer {number} has digest {layer.layer}, but its configuration says {str(digest)[:100]}")


def _list(value: Any) -> list[Any]:
    """An image without a layer has null."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MOST_LAYERS:
        raise Refused("its manifest is not understood")
    return value
