"""Verifying the artifacts of one run, offline and strictly."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from taskward.cli.verify_claims import Claim, VerificationError
from taskward.cli.verify_documents import DOCUMENT_NAMES, DOCUMENTS, Document, TrustedKeys, open_plain_file
from taskward.cli.verify_signatures import imported_key, public_key

_LOGS: Final = frozenset({"public/logs/live.log", "public/logs/live_backing.log", "public/logs/terminal_bulk.log.gz"})
_NOT_CERTIFIED: Final = "not certified by the documents"
_NO_FILE: Final = "neither a regular file nor a directory that can be read"


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
    """What was found; `ok` only if every check holds.

    `absent` names certified artifacts that are not there as plain files, `unchecked` the files there that nobody
    signed and nobody refuses: logs that are published after signing. Do not trust what they say.
    """

    task_id: str | None
    run_id: int | None
    checks: tuple[Check, ...]
    absent: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that is there may be trusted, except for what is `unchecked`."""
        return all(check.ok for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: ``{ok, taskId, runId, checks: [{subject, ok, message}], absent, unchecked}``, both of names."""
        return {
            "ok": self.ok,
            "taskId": self.task_id,
            "runId": self.run_id,
            "checks": [vars(check) for check in self.checks],
            "absent": list(self.absent),
            "unchecked": list(self.unchecked),
        }


def verify_directory(
    directory: Path,
    openpgp_key: Path | None = None,
    ed25519_keys: Sequence[str] = (),
    dsse_keys: Sequence[str] = (),
    *,
    every_key: bool = True,
    task_id: str | None = None,
    run_id: int | None = None,
    complete: bool = False,
) -> VerificationReport:
    """Verify the artifacts of one run, which lie in `directory` under their artifact names.

    Every signed document found has to be good, all of them have to say the same, and every file has to have the
    stated hash; logs that go on after signing are the exception. Symbolic links are refused. Keys: an armored
    file with one OpenPGP key, and base64 of 32-byte ed25519 keys. With `every_key` there has to be a document for
    each of the three kinds of keys that are given, lest somebody takes away all documents of the kind that he
    cannot forge. `task_id` and `run_id` are compared when given; `complete` refuses certified artifacts that are
    not there.

    Raises `NothingToVerifyError`, or `UnusableKeyError` when a key is none.
    """
    with ExitStack() as stack:
        keys = TrustedKeys(
            (stack.enter_context(imported_key(openpgp_key)),) if openpgp_key else (),
            tuple(map(public_key, ed25519_keys)),
            tuple(map(public_key, dsse_keys)),
        )
        found = [document for document in DOCUMENTS if document.lies_in(directory)]
        if not found:
            raise NothingToVerifyError(
                f"no signed document is below {directory}; expected {DOCUMENTS[0].name}, for example"
            )
        checks = list(_demands(found, keys)) if every_key else []
        claims = _claims(directory, found, keys, checks)
    if not claims:
        return VerificationReport(None, None, tuple(checks), (), ())
    checks += _agreement(claims, task_id, run_id)
    return _report(directory, claims[0], checks, complete)


def _demands(found: list[Document], keys: TrustedKeys) -> Iterator[Check]:
    for kind in keys.kinds:
        if not any(document.kind == kind for document in found):
            expected = " or ".join(document.name for document in DOCUMENTS if document.kind == kind)
            yield Check(f"{kind} key", False, f"was given, but no document for it is there: expected {expected}")


def _claims(directory: Path, found: list[Document], keys: TrustedKeys, checks: list[Check]) -> list[Claim]:
    """Of all good documents; adds to `checks` what became of each."""
    claims = []
    for document in found:
        try:
            claims.append(document.open(directory, keys))
            checks.append(Check(document.name, True, f"{document.kind} signature is good"))
        except VerificationError as error:
            checks.append(Check(document.name, False, str(error)))
    return claims


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


def _report(directory: Path, claim: Claim, checks: list[Check], complete: bool) -> VerificationReport:
    files = {path.relative_to(directory).as_posix(): path for path in _walk(directory)}
    unsigned = (_LOGS | _own_log_names(claim.task)) - claim.artifacts.keys() - DOCUMENT_NAMES
    unchecked = tuple(name for name, path in files.items() if name in unsigned and _is_plain_file(path))
    for name, path in files.items():
        if name in claim.artifacts:
            checks.append(_file(path, name, claim.artifacts[name]))
        elif name not in DOCUMENT_NAMES and name not in unchecked:
            checks.append(Check(name, False, _NOT_CERTIFIED if _is_plain_file(path) else _NO_FILE))
    absent = tuple(sorted(claim.artifacts.keys() - files.keys()))
    checks += _absence(directory, absent, complete)
    return VerificationReport(claim.task_id, claim.run_id, tuple(checks), absent, unchecked)


def _absence(directory: Path, absent: tuple[str, ...], complete: bool) -> Iterator[Check]:
    for name in absent:
        if os.path.lexists(directory / name):
            yield Check(name, False, "certified, but what is there is not a file")
        elif complete:
            yield Check(name, False, "certified, but not there")


def _walk(directory: Path) -> Iterator[Path]:
    """All that is not a directory, and the directories that cannot be looked into."""
    closed: list[OSError] = []
    for parent, directories, files in os.walk(directory, onerror=closed.append):
        directories.sort()
        yield from (Path(parent, name) for name in directories if Path(parent, name).is_symlink())
        yield from (Path(parent, name) for name in sorted(files))
    yield from (Path(os.fsdecode(error.filename)) for error in closed)


def _own_log_names(task: dict[str, Any]) -> frozenset[str]:
    payload = task.get("payload")
    logs = payload.get("logs") if isinstance(payload, dict) else None
    chosen = list(logs.values()) if isinstance(logs, dict) else []
    chosen.append(payload.get("log") if isinstance(payload, dict) else None)
    return frozenset(name for name in chosen if isinstance(name, str))


def _file(path: Path, name: str, sha256: str) -> Check:
    try:
        with open(open_plain_file(path), "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except VerificationError as error:
        return Check(name, False, str(error))
    return Check(name, found == sha256, "SHA-256 is right" if found == sha256 else f"SHA-256 is {found}")


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
