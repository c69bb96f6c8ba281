"""The object service."""

from flask import Blueprint, Response, redirect

from taskward.devcluster.clock import write_instant
from taskward.devcluster.objects import CREATE_UPLOAD, FINISH_UPLOAD, START_DOWNLOAD
from taskward.devcluster.routes.request import body, caller, check_path, cluster, reply

routes = Blueprint("object", __name__, url_prefix="/api/object/v1")
routes.url_value_preprocessor(check_path)


@routes.put("/upload/<any_text:name>")
def create_upload(name: str) -> Response:
    """Begin an upload."""
    wish = body(CREATE_UPLOAD)
    caller().require(f"object:upload:{wish['projectId']}:{name}")
    return reply(cluster().objects.create_upload(name, wish))


@routes.post("/finish-upload/<any_text:name>")
def finish_upload(name: str) -> Response:
    """Make an object readable."""
    wish = body(FINISH_UPLOAD)
    caller().require(f"object:upload:{wish['projectId']}:{name}")
    cluster().objects.finish_upload(name, wish)
    return reply({})


@routes.put("/start-download/<any_text:name>")
def start_download(name: str) -> Response:
    """Choose a way to read an object."""
    accepted = body(START_DOWNLOAD)["acceptDownloadMethods"]
    caller().require(f"object:download:{name}")
    return reply(cluster().objects.start_download(name, accepted))


@routes.get("/download/<any_text:name>")
def download(name: str) -> Response:
    """Lead to the bytes of an object."""
    caller().require(f"object:download:{name}")
    cluster().objects.load_finished(name)
    return redirect(cluster().objects.get_url(name), 303)  # type: ignore[return-value]  # Flask's own class


@routes.get("/metadata/<any_text:name>", endpoint="object")
def metadata(name: str) -> Response:
    """Return what is known of an object."""
    caller().require(f"object:download:{name}")
    known = cluster().objects.load_finished(name)
    return reply({"projectId": known.project_id, "expires": write_instant(known.expires), "hashes": known.hashes})
