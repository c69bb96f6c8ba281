"""The object service: named objects of projects, uploaded by one of two methods."""

import base64
import binascii
import io
import sqlite3
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from taskward.devcluster.clock import Clock, parse_instant, write_instant
from taskward.devcluster.database import Database
from taskward.devcluster.errors import InputError, NoMatchingMethod, RequestConflict, ResourceNotFound
from taskward.devcluster.identifiers import SLUG
from taskward.devcluster.shapes import flag, instant, integer, mapping, record, text
from taskward.devcluster.signed_urls import OBJECT_BUCKET, SignedUrls
from taskward.devcluster.storage import Storage

PROJECT = r"[a-zA-Z0-9._/-]{1,500}"
_LIFETIME = timedelta(minutes=45)
_HASHES = mapping(text(r"[0-9a-f]{64}|[0-9a-f]{128}"))
#: 8 KiB in base64.
_LONGEST_INLINE = 10926

CREATE_UPLOAD = record(
    {
        "projectId": text(PROJECT),
        "uploadId": text(SLUG),
        "expires": instant,
        "proposedUploadMethods": record(
            {},
            {
                "dataInline": record(
                    {
                        "contentType": text(longest=255),
                        "objectData": text(r"[A-Za-z0-9/+=]*", longest=_LONGEST_INLINE),
                    }
                ),
                "putUrl": record({"contentType": text(longest=255), "contentLength": integer(0, 2**53)}),
            },
        ),
    },
    {"hashes": _HASHES},
)
FINISH_UPLOAD = record({"projectId": text(PROJECT), "uploadId": text(SLUG)}, {"hashes": _HASHES})
START_DOWNLOAD = record({"acceptDownloadMethods": record({}, {"simple": flag, "getUrl": flag})})


@dataclass(frozen=True)
class StoredObject:
    """What is known of an object; it can be read once it is ``finished``."""

    name: str
    project_id: str
    upload_id: str
    expires: datetime
    hashes: dict[str, str]
    finished: bool


class Objects:
    """The stored objects."""

    def __init__(self, database: Database, storage: Storage, urls: SignedUrls, clock: Clock) -> None:
        self._database = database
        self._storage = storage
        self._urls = urls
        self._clock = clock

    def reserve(self, name: str, project_id: str, upload_id: str, expires: datetime) -> None:
        """Note that a name is being uploaded; raises ``RequestConflict`` when another upload has it."""
        with self._database.transaction() as db:
            known = self._find(db, name)
            if known is None:
                db.execute("INSERT INTO objects VALUES (?, ?, ?, ?, '{}', 0)", (name, project_id, upload_id, expires))
            elif known.finished or (known.project_id, known.upload_id) != (project_id, upload_id):
                raise RequestConflict("Object already exists")

    def create_upload(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Begin an upload and choose its method; the body has the shape ``CREATE_UPLOAD``.

        Data inline is stored at once. Raises ``RequestConflict`` as ``reserve`` does.
        """
        expires = parse_instant(body["expires"])
        with self._database.transaction():
            self.reserve(name, body["projectId"], body["uploadId"], expires)
            if body.get("hashes"):
                self._add_hashes(self.load(name), body["hashes"])
        proposed = body["proposedUploadMethods"]
        method: dict[str, Any] = {}
        if "dataInline" in proposed:
            self._store_inline(name, proposed["dataInline"])
            method = {"dataInline": True}
        elif "putUrl" in proposed:
            method = {"putUrl": self._put_url(name, proposed["putUrl"])}
        return {
            "projectId": body["projectId"],
            "uploadId": body["uploadId"],
            "expires": write_instant(expires),
            "uploadMethod": method,
        }

    def finish_upload(self, name: str, body: dict[str, Any]) -> None:
        """Make an object readable; the body has the shape ``FINISH_UPLOAD``. May be repeated.

        Raises ``ResourceNotFound``, ``InputError`` for another project, and ``RequestConflict`` for other hashes
        or, of what is not finished, another upload.
        """
        with self._database.transaction() as db:
            known = self.load(name)
            if known.project_id != body["projectId"]:
                raise InputError(f'Object "{name}" does not have projectId {body["projectId"]}')
            if not known.finished and known.upload_id != body["uploadId"]:
                raise RequestConflict(f'Object "{name}" does not have uploadId {body["uploadId"]}')
            self._add_hashes(known, body.get("hashes", {}))
            db.execute("UPDATE objects SET finished = 1 WHERE name = ?", (name,))

    def start_download(self, name: str, accepted: dict[str, bool]) -> dict[str, Any]:
        """Return how to read a finished object, by a method that the caller accepts.

        Raises ``ResourceNotFound`` and ``NoMatchingMethod``.
        """
        known = self.load_finished(name)
        if accepted.get("getUrl"):
            expires = write_instant(self._clock.now() + _LIFETIME)
            return {
                "method": "getUrl", "url": self.get_url(name), "expires": expires, "hashes": known.hashes,
            }  # fmt: skip
        if accepted.get("simple"):
            return {"method": "simple", "url": self.get_url(name)}
        raise NoMatchingMethod("Object supports methods simple, getUrl")

    def get_url(self, name: str) -> str:
        """Return a URL that anybody may read the object by, for 45 minutes."""
        return self._urls.sign("GET", OBJECT_BUCKET, name, _LIFETIME)

    def load_finished(self, name: str) -> StoredObject:
        """Return an object that can be read; raises ``ResourceNotFound``."""
        known = self.load(name)
        if not known.finished or known.expires < self._clock.now():
            raise ResourceNotFound(f"Object {name!r} not found")
        return known

    def load(self, name: str) -> StoredObject:
        """Return an object, finished or not; raises ``ResourceNotFound``."""
        with self._database.transaction() as db:
            known = self._find(db, name)
        if known is None:
            raise ResourceNotFound(f"Object {name!r} not found")
        return known

    @staticmethod
    def _find(db: sqlite3.Connection, name: str) -> StoredObject | None:
        row = db.execute("SELECT * FROM objects WHERE name = ?", (name,)).fetchone()
        return StoredObject(**row) if row else None

    def _add_hashes(self, known: StoredObject, hashes: dict[str, str]) -> None:
        for algorithm, value in hashes.items():
            if known.hashes.get(algorithm, value) != value or (known.finished and algorithm not in known.hashes):
                raise RequestConflict(f"Object has another {algorithm} hash already")
        with self._database.transaction() as db:
            db.execute("UPDATE objects SET hashes = ? WHERE name = ?", ({**known.hashes, **hashes}, known.name))

    def _store_inline(self, name: str, proposal: dict[str, str]) -> None:
        try:
            data = base64.b64decode(proposal["objectData"], validate=True)
        except binascii.Error as error:
            raise InputError(f"Invalid base64 objectData: {error}") from None
        self._storage.receive(OBJECT_BUCKET, name, io.BytesIO(data), len(data), proposal["contentType"])

    def _put_url(self, name: str, proposal: dict[str, Any]) -> dict[str, Any]:
        headers = {
            "Content-Type": proposal["contentType"],
            "Content-Length": str(proposal["contentLength"]),
        }
        lower = {key.lower(): value for key, value in headers.items()}
        return {
            "url": self._urls.sign("PUT", OBJECT_BUCKET, name, _LIFETIME, lower),
            "expires": write_instant(self._clock.now() + _LIFETIME),
            "headers": headers,
        }
