"""Verifying the artifacts of one run, offline and strictly."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from taskward.cli.verify_claims import (
    Claim,
    VerificationError,
    claim_of_certificate,
    claim_of_chain_of_trust,
    claim_of_statement,
)
from taskward.cli.verify_signatures import check_ed25519, open_clear_signed, open_dsse, read_key_file

_CLEAR_SIGNED: Final = ("public/chainOfTrust.json.asc", "public/logs/chainOfTrust.json.asc")
_DOCUMENT: Final = "public/chain-of-trust.json"
_DETACHED: Final = "public/chain-of-trust.json.sig"
_CERTIFICATES: Final = ("public/logs/certificate.json.gpg", "public/certificate.json.gpg")
_PROVENANCE: Final = "public/provenance.intoto.json"
_LOGS: Final = frozenset({"public/logs/live.log", "public/logs/live_backing.log", "public/logs/terminal_bulk.log.gz"})
_MAX_DOCUMENT_BYTES: Final = 256 * 1024 * 1024


class NothingToVerifyError(Exception):
    """There is no signed document below the directory."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: `subject` is the name of a document or artifact."""

    subject: str
    ok: bool
    message: str


@dataclass(frozen=True)
class VerificationReport:
    """What was found; `ok` only if every check holds. `absent` names certified artifacts that are not there."""

    task_id: str | None
    run_id: int | None
    checks: tuple[Check, ...]
    absent: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that is there may be trusted."""
        return all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: ``{"ok", "taskId", "runId", "checks": [{subject, ok, message}], "absent": [name]}``."""
        return {
            "ok": self.ok,
            "taskId": self.task_id,
            "runId": self.run_id,
            "checks": [vars(check) for check in self.checks],
            "absent": list(self.absent),
        }


@dataclass(frozen=True)
class TrustedKeys:
    """The keys that a signature has to be by; a document whose kind has no key here fails."""

    openpgp: bytes | None
    ed25519: tuple[str, ...]
    dsse: tuple[str, ...]


def verify_directory(
    directory: Path,
    openpgp_key: Path | None = None,
    ed25519_keys: Sequence[str] = (),
    dsse_keys: Sequence[str] = (),
    *,
    task_id: str | None = None,
    run_id: int | None = None,
    complete: bool = False,
) -> VerificationReport:
    """Verify the artifacts of one run, which lie in `directory` under their artifact names.

    Every signed document found has to be good, all of them have to say the same, and every file has to have the
    stated hash; logs that go on after signing are the exception. Symbolic links are refused. Keys: an armored
    file with one OpenPGP key, and base64 of 32-byte ed25519 keys. `task_id` and `run_id` are compared when given;
    `complete` refuses certified artifacts that are not there.

    Raises `NothingToVerifyError`, or `VerificationError` when a key cannot be used.
    """
    keys = TrustedKeys(read_key_file(openpgp_key) if openpgp_key else None, tuple(ed25519_keys), tuple(dsse_keys))
    forms = [form for form in _FORMS if any(os.path.lexists(directory / name) for name in form.names)]
    if not forms:
        raise NothingToVerifyError(f"no signed document is below {directory}; expected {_DOCUMENT}, for example")
    checks: list[Check] = []
    claims = [claim for form in forms if (claim := _open(directory, form, keys, checks)) is not None]
    if not claims:
        return VerificationReport(None, None, tuple(checks), ())
    claim = claims[0]
    checks += _agreement(claims, task_id, run_id)
    checks += _files(directory, claim)
    absent = tuple(name for name in sorted(claim.artifacts) if not os.path.lexists(directory / name))
    checks += [Check(name, False, "certified, but not there") for name in absent if complete]
    return VerificationReport(claim.task_id, claim.run_id, tuple(checks), absent)


@dataclass(frozen=True)
class _Form:
    names: tuple[str, ...]
    """Where the form lies; more than one for names that changed over the years."""
    open: Callable[[Path, str, TrustedKeys], Claim]
    message: str


def _open(directory: Path, form: _Form, keys: TrustedKeys, checks: list[Check]) -> Claim | None:
    claim = None
    for name in form.names:
        if not os.path.lexists(directory / name):
            continue
        try:
            claim = form.open(directory, name, keys)
            checks.append(Check(name, True, form.message))
        except VerificationError as error:
            checks.append(Check(name, False, str(error)))
    return claim


def _open_clear_signed(directory: Path, name: str, keys: TrustedKeys) -> Claim:
    return claim_of_chain_of_trust(_openpgp_body(directory, name, keys))


def _open_certificate(directory: Path, name: str, keys: TrustedKeys) -> Claim:
    return claim_of_certificate(_openpgp_body(directory, name, keys))


def _openpgp_body(directory: Path, name: str, keys: TrustedKeys) -> bytes:
    if keys.openpgp is None:
        raise VerificationError("no OpenPGP key was given to verify it with")
    return open_clear_signed(_read(directory / name), keys.openpgp)


def _open_detached(directory: Path, _name: str, keys: TrustedKeys) -> Claim:
    if not keys.ed25519:
        raise VerificationError("no ed25519 key was given to verify it with")
    body = _read(directory / _DOCUMENT)
    check_ed25519(body, _read(directory / _DETACHED), keys.ed25519)
    return claim_of_chain_of_trust(body)


def _open_provenance(directory: Path, name: str, keys: TrustedKeys) -> Claim:
    if not keys.dsse:
        raise VerificationError("no DSSE key was given to verify it with")
    return claim_of_statement(open_dsse(_read(directory / name), keys.dsse))


_FORMS: Final = (
    _Form(_CLEAR_SIGNED, _open_clear_signed, "OpenPGP signature is good"),
    _Form((_DOCUMENT, _DETACHED), _open_detached, "ed25519 signature is good"),
    _Form(_CERTIFICATES, _open_certificate, "OpenPGP signature is good"),
    _Form((_PROVENANCE,), _open_provenance, "provenance signature is good"),
)
_DOCUMENTS: Final = frozenset(name for form in _FORMS for name in form.names)


def _agreement(claims: list[Claim], task_id: str | None, run_id: int | None) -> Iterator[Check]:
    first = claims[0]
    for other in claims[1:]:
        for field in fields(Claim):
            if getattr(first, field.name) != getattr(other, field.name):
                yield Check("documents", False, f"the documents differ in {field.name}")
    if task_id is not None and first.task_id != task_id:
        yield Check("taskId", False, f"the documents are about task {first.task_id}, not {task_id}")
    if run_id is not None and first.run_id != run_id:
        yield Check("runId", False, f"the documents are about run {first.run_id}, not {run_id}")


def _files(directory: Path, claim: Claim) -> Iterator[Check]:
    unsigned = _DOCUMENTS | _LOGS | _own_log_names(claim.task)
    for path in _walk(directory):
        name = path.relative_to(directory).as_posix()
        if name in claim.artifacts:
            yield _file(path, name, claim.artifacts[name])
        elif name not in unsigned:
            yield Check(name, False, "not certified by the documents")


def _walk(directory: Path) -> Iterator[Path]:
    for parent, directories, files in os.walk(directory):
        directories.sort()
        yield from (Path(parent, name) for name in directories if Path(parent, name).is_symlink())
        yield from (Path(parent, name) for name in sorted(files))


def _own_log_names(task: dict[str, Any]) -> frozenset[str]:
    payload = task.get("payload")
    logs = payload.get("logs") if isinstance(payload, dict) else None
    chosen = list(logs.values()) if isinstance(logs, dict) else []
    chosen.append(payload.get("log") if isinstance(payload, dict) else None)
    return frozenset(name for name in chosen if isinstance(name, str))


def _file(path: Path, name: str, sha256: str) -> Check:
    try:
        with open(_descriptor(path), "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except VerificationError as error:
        return Check(name, False, str(error))
    return Check(name, found == sha256, "SHA-256 is right" if found == sha256 else f"SHA-256 is {found}")


def _read(path: Path) -> bytes:
    with open(_descriptor(path), "rb") as file:
        content = file.read(_MAX_DOCUMENT_BYTES + 1)
    if len(content) > _MAX_DOCUMENT_BYTES:
        raise VerificationError(f"larger than {_MAX_DOCUMENT_BYTES} bytes")
    return content


def _descriptor(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise VerificationError(f"cannot be read: {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VerificationError("not a regular file")
    return descriptor
