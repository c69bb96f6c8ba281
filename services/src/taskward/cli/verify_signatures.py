"""Opening signed documents: out comes what the signature covers, or an error.

Stricter than OpenPGP itself: a verifier that reads the file instead of what gpg hands out, counts a good signature
among bad ones, or ignores text around the message can be fooled.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gnupg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from taskward.cli.verify_claims import VerificationError, parse_json

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

_MAX_LINE_BYTES = 19_993  # gpg cuts longer lines when signing
_SIGNATURE_BYTES = 64
_CLEAR_SIGNED = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\n(?:Hash: SHA(?:256|384|512)\n)+\n(?P<body>.*?)\n"
    rb"-----BEGIN PGP SIGNATURE-----\n(?P<armor>[^-]*)\n-----END PGP SIGNATURE-----\n?",
    re.DOTALL,
)
_UNESCAPED = re.compile(rb"^-(?! )", re.MULTILINE)  # RFC 4880, 7.1: a line of the text that begins so is escaped
_MAX_KEY_BYTES = 1024 * 1024
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")
_STATUS = re.compile(r"^\[GNUPG:\] (\w+)", re.MULTILINE)
_EXACTLY_ONE = ("NEWSIG", "GOODSIG", "VALIDSIG")
_NEVER = {"BADSIG", "ERRSIG", "EXPSIG", "REVKEYSIG", "NODATA", "FAILURE", "ERROR", "KEYREVOKED"}


class UnusableKeyError(Exception):
    """What was given as a public key is none; the message says why. Give the right one."""


@dataclass(frozen=True)
class OpenPgpKey:
    """A public key in a keyring of its own, of `imported_key`."""

    gpg: gnupg.GPG
    fingerprint: str


@contextmanager
def imported_key(file: Path) -> Iterator[OpenPgpKey]:
    """The one public key of `file`, until the context ends; raises `UnusableKeyError`."""
    content = read_key(file)
    with tempfile.TemporaryDirectory(prefix="twv") as home:
        gpg = gnupg.GPG(gnupghome=home, options=["--no-autostart", "--no-auto-key-retrieve"])
        gpg.encoding = "utf-8"
        gpg.import_keys(content)
        keys = gpg.list_keys()
        if len(keys) != 1:
            raise UnusableKeyError(f"{file} has to hold exactly one OpenPGP public key, it holds {len(keys)}")
        yield OpenPgpKey(gpg, str(keys[0]["fingerprint"]))


def read_key(file: Path) -> bytes:
    """What is in a file, or comes out of a pipe, with a public key; raises `UnusableKeyError`."""
    try:
        with open(file, "rb") as opened:
            content = opened.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        raise UnusableKeyError(f"cannot read the key {file}: {error.strerror}") from error
    if len(content) > _MAX_KEY_BYTES:
        raise UnusableKeyError(f"{file} is longer than {_MAX_KEY_BYTES} bytes: no file with a public key is")
    return content


def open_clear_signed(text: bytes, key: OpenPgpKey) -> bytes:
    """The text of an OpenPGP clear-signed message, as gpg hands it out.

    There has to be exactly one message and nothing around it, with exactly one signature, good and unexpired, by
    `key`. Raises `VerificationError`.
    """
    _check_frame(text)
    result = key.gpg.decrypt(text)
    statuses = _STATUS.findall(result.stderr)
    if "EXPKEYSIG" in statuses:
        raise VerificationError(
            f"the key {key.fingerprint} has expired; what it signed before is good again with its public half as its "
            "owner hands it out after extending it (gpg --quick-set-expire)"
        )
    if bad := _NEVER.intersection(statuses):
        raise VerificationError(f"gpg does not accept the signature: {', '.join(sorted(bad))}")
    if result.returncode != 0 or any(statuses.count(word) != 1 for word in _EXACTLY_ONE):
        raise VerificationError(f"gpg does not see exactly one good signature (exit code {result.returncode})")
    if not result.valid or result.pubkey_fingerprint != key.fingerprint:
        raise VerificationError(f"the signature is not by the key {key.fingerprint}")
    return bytes(result.data)


def _check_frame(text: bytes) -> None:
    match = _CLEAR_SIGNED.fullmatch(text)
    if match is None or _UNESCAPED.search(match["body"]):  # where gpg might see another message, or its end
        raise VerificationError("not exactly one clear-signed message with nothing around it")
    if _CONTROL.search(match["body"]):
        raise VerificationError("the signed text has control characters, which gpg versions treat differently")
    if max(map(len, match["body"].split(b"\n"))) > _MAX_LINE_BYTES:
        raise VerificationError(f"the signed text has a line above {_MAX_LINE_BYTES} bytes, which gpg cuts")


def check_ed25519(body: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    """That one of `keys` made this raw signature; raises `VerificationError`."""
    if len(signature) != _SIGNATURE_BYTES:
        raise VerificationError(f"the signature has {len(signature)} bytes, a raw ed25519 signature has 64")
    for key in keys:
        try:
            key.verify(signature, body)
        except InvalidSignature:
            continue
        return
    raise VerificationError("no given ed25519 key made this signature")


def public_key(text: str) -> Ed25519PublicKey:
    """The ed25519 key whose 32 bytes `text` has in base64; raises `UnusableKeyError`."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError) as error:
        raise UnusableKeyError(f"not base64 of a 32-byte ed25519 public key: {text[:100]!r}") from error


def open_dsse(text: bytes, keys: Sequence[Ed25519PublicKey]) -> bytes:
    """The payload of a DSSE envelope around an in-toto statement, signed once by one of `keys`.

    Raises `VerificationError`.
    """
    envelope = parse_json(text)
    try:
        [signature] = envelope["signatures"]
        payload, raw = _decoded(envelope["payload"]), _decoded(signature["sig"])
        kind = envelope["payloadType"]
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"not a DSSE envelope with exactly one signature: {error!r}") from error
    if kind != PAYLOAD_TYPE:
        raise VerificationError(f"the envelope's payload is {kind!r}, not {PAYLOAD_TYPE}")
    prefix = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode()
    check_ed25519(prefix + payload, raw, keys)
    return payload


def _decoded(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)
