"""The storage itself, in the manner of S3: PUT and GET of whole bodies and ranges."""

import re
from xml.sax.saxutils import escape

from flask import Blueprint, Response, request
from werkzeug.wsgi import wrap_file

from taskward.devcluster.routes.request import cluster
from taskward.devcluster.signed_urls import PUBLIC_BUCKET, StorageError
from taskward.devcluster.storage import Blob

routes = Blueprint("s3", __name__, url_prefix="/s3")

_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?")


@routes.put("/<bucket>/<any_text:key>")
def put(bucket: str, key: str) -> Response:
    """Store a body of announced length."""
    _check(bucket, key)
    if request.headers.get("Transfer-Encoding"):
        raise StorageError("NotImplemented", 501, "A header you provided implies functionality that is not implemented")
    if request.content_length is None:
        raise StorageError("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
    blob = cluster().storage.receive(
        bucket,
        key,
        request.stream,
        request.content_length,
        request.headers.get("Content-Type"),
        request.headers.get("Content-Encoding"),
    )
    return Response(status=200, headers={"ETag": _etag(blob)})


@routes.get("/<bucket>/<any_text:key>")
def get(bucket: str, key: str) -> Response:
    """Return what a key holds, or a range of it."""
    if bucket != PUBLIC_BUCKET or "X-Amz-Signature" in request.args:
        _check(bucket, key)
    blob, file = cluster().storage.open(bucket, key)
    try:
        wanted = _range(blob.size_bytes)
    except StorageError:
        file.close()
        raise
    first, last = wanted or (0, blob.size_bytes - 1)
    file.seek(first)
    # The server sends the file by itself, from where it stands, as long as the announced length, and closes it.
    answer = Response(wrap_file(request.environ, file), direct_passthrough=True)
    answer.headers.update(_headers(blob))
    answer.headers["Content-Length"] = str(last - first + 1)
    if wanted:
        answer.status_code = 206
        answer.headers["Content-Range"] = f"bytes {first}-{last}/{blob.size_bytes}"
    return answer


@routes.errorhandler(StorageError)
def refuse(error: StorageError) -> Response:
    """Answer in the manner of S3."""
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error>"
    )
    return Response(document, error.status, mimetype="application/xml")


def _check(bucket: str, key: str) -> None:
    method = "GET" if request.method == "HEAD" else request.method
    headers = {name.lower(): value for name, value in request.headers.items()}
    cluster().urls.check(method, bucket, key, request.args, headers)


def _headers(blob: Blob) -> dict[str, str]:
    headers = {
        "Content-Type": blob.content_type or "binary/octet-stream",
        "ETag": _etag(blob),
        "Last-Modified": blob.modified.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Accept-Ranges": "bytes",
    }
    return {**headers, "Content-Encoding": blob.content_encoding} if blob.content_encoding else headers


def _etag(blob: Blob) -> str:
    return f'"{blob.file_name}"'


def _range(size_bytes: int) -> tuple[int, int] | None:
    """Return the first and the last byte that are wanted; None for all, also for several ranges at once."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match.groups() == (None, None):
        return None
    first, last = match.groups()
    if first is None:
        bounds = max(0, size_bytes - int(last)), size_bytes - 1
    else:
        bounds = int(first), min(int(last) if last else size_bytes, size_bytes - 1)
    if bounds[0] > bounds[1]:
        raise StorageError("InvalidRange", 416, "The requested range is not satisfiable")
    return bounds
