"""The order in which a request is checked, recorded and signed."""

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from taskward.signer import dsse, jsontext, names, policy
from taskward.signer.answers import AnswerError, TryLaterError
from taskward.signer.audit import AuditLog
from taskward.signer.caller import signed_call
from taskward.signer.content import ContentCheck
from taskward.signer.documents import Draft, Omission, drafts
from taskward.signer.keys import Keyholder, PublicKeys
from taskward.signer.metrics import Metrics
from taskward.signer.request import CertifyRequest
from taskward.signer.settings import SignerSettings
from taskward.signer.store import Store, conflict
from taskward.signer.taskcluster import Taskcluster

_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True)
class _Document:
    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Certifier:
    """Everything that a certification needs; safe for use by several threads.

    `content` None believes the uploader's hashes. `clock` gives seconds since the epoch.
    """

    settings: SignerSettings
    taskcluster: Taskcluster
    keyholder: Keyholder
    public_keys: PublicKeys
    store: Store
    audit: AuditLog
    metrics: Metrics
    content: ContentCheck | None
    clock: Callable[[], float] = time.time
    _runs_at_work: set[tuple[str, int]] = field(default_factory=set, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def certify(self, authorization: str | None, body: bytes) -> tuple[bytes, bool]:
        """The JSON of the answer, and whether it is a stored one.

        Raises `AnswerError`; OSError or sqlite3.Error when the log or the store cannot be written, in which case
        nothing was signed or what was signed is kept back.
        """
        call = signed_call(authorization, body, self.clock())
        request = CertifyRequest.parse(body)
        try:
            policy.check_scope(self.taskcluster.scopes(call), request.task_id, request.run_id)
            self.store.use_nonce(request.nonce, self.clock())
            with self._alone(request):
                stored = self._stored(request)
                return (stored, True) if stored is not None else (self._sign(request), False)
        except AnswerError as error:
            error.about = {"taskId": request.task_id, "runId": request.run_id}
            raise

    def _stored(self, request: CertifyRequest) -> bytes | None:
        reservation = self.store.find(request.task_id, request.run_id)
        if reservation is None:
            return None
        if reservation.request_digest != request.digest:
            raise conflict(request.task_id, request.run_id)
        return reservation.answer

    def _sign(self, request: CertifyRequest) -> bytes:
        grant = self._grant(request)
        self.public_keys.check_expiry(self.clock())
        made, omitted = drafts(request, grant, self.settings.environment, self.settings.deployment.root_url)
        self.store.reserve(request.task_id, request.run_id, request.digest, self.clock())
        documents = [document for draft in made for document in self._documents(request, draft)]
        return self.store.complete(request.task_id, request.run_id, _answer(documents, omitted))

    def _grant(self, request: CertifyRequest) -> policy.Grant:
        status = self.taskcluster.status(request.task_id)
        definition = self.taskcluster.definition(request.task_id)
        now = datetime.fromtimestamp(self.clock(), UTC)
        grant = policy.grant(request, status, definition, self.settings.deployment.worker, now)
        listed = self.taskcluster.artifacts(request.task_id, request.run_id)
        policy.check_artifacts(request, listed)
        if self.content is not None:
            for artifact in request.artifacts:
                self.content.check(request.task_id, request.run_id, artifact)
        return grant

    def _documents(self, request: CertifyRequest, draft: Draft) -> Iterator[_Document]:
        signature = self._signature(request, draft)
        match draft.form:
            case "openpgp":
                yield _Document(draft.name, _TEXT, signature)
            case "ed25519":
                self.public_keys.check("ed25519", draft.body, signature)
                yield _Document(draft.name, _TEXT, draft.body)
                yield _Document(names.DETACHED_SIGNATURE, "application/octet-stream", signature)
            case _:
                signed = dsse.pre_authentication_encoding(draft.body)
                key_id = self.public_keys.check("dsse", signed, signature)
                envelope = jsontext.write(dsse.envelope(draft.body, signature, key_id))
                yield _Document(draft.name, "application/json", envelope.encode())

    def _signature(self, request: CertifyRequest, draft: Draft) -> bytes:
        about = {"taskId": request.task_id, "runId": request.run_id, "name": draft.name, "form": draft.form}
        with self.keyholder.connect() as connection:  # while it is away, a line for each attempt would fill the log
            self.audit.append("sign", **about, requestDigest=request.digest, bodySha256=_sha256(draft.body))
            try:
                signature = connection.sign(draft.form, draft.body)
            except AnswerError as error:
                self.audit.append("not-signed", **about, code=error.code, message=error.message[:500])
                raise
        head = self.audit.append("signed", **about, signatureSha256=_sha256(signature))
        self.store.remember_head(head.seq, head.hash)
        self.metrics.signed(draft.form)
        return signature

    @contextlib.contextmanager
    def _alone(self, request: CertifyRequest) -> Iterator[None]:
        """Two requests for one run at the same time would be signed twice: the second one is sent away."""
        run = (request.task_id, request.run_id)
        with self._lock:
            if run in self._runs_at_work:
                raise TryLaterError("in-progress", "another request for this run is being answered")
            self._runs_at_work.add(run)
        try:
            yield
        finally:
            with self._lock:
                self._runs_at_work.remove(run)


def _answer(documents: list[_Document], omitted: tuple[Omission, ...]) -> bytes:
    return json.dumps(
        {
            "documents": [
                {
                    "name": document.name,
                    "content_type": document.content_type,
                    "content_base64": base64.b64encode(document.content).decode(),
                }
                for document in documents
            ],
            "omitted": [vars(omission) for omission in omitted],
        }
    ).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
