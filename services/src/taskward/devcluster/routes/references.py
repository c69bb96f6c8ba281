"""What calls there are, in the form in which the real services publish theirs.

https://github.com/taskcluster/taskcluster, libraries/api/src/schemas/api-reference: without the schemas of bodies, and
without scopes.
"""

import re
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, current_app
from werkzeug.routing import Rule

from taskward.devcluster.errors import ResourceNotFound
from taskward.devcluster.names import camel_case
from taskward.devcluster.routes.queries import allowed_queries
from taskward.devcluster.routes.request import reply

routes = Blueprint("references", __name__, url_prefix="/references")

_API = re.compile(r"/api/(?P<service>[a-z-]+)/v1(?P<route>/.*)")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
_READING = frozenset({"HEAD", "OPTIONS"})


@routes.get("/manifest.json")
def manifest() -> Response:
    """Return where the references of the services are."""
    services = sorted({service for service, _, _ in _rules()})
    references = [f"/references/{service}/v1/api.json" for service in services]
    return reply({"$schema": "/schemas/common/manifest-v3.json#", "references": references})


@routes.get("/<service>/v1/api.json")
def api(service: str) -> Response:
    """Return the calls of a service."""
    entries: dict[str, dict[str, Any]] = {}
    for found, route, rule in _rules():
        entry = _entry(route, rule)
        known = entries.get(entry["name"])
        if found == service and (known is None or len(entry["route"]) > len(known["route"])):
            entries[entry["name"]] = entry
    if not entries:
        raise ResourceNotFound(f"There is no service {service}")
    return reply(
        {
            "$schema": "/schemas/common/api-reference-v0.json#",
            "apiVersion": "v1",
            "serviceName": service,
            "title": f"{service} of a development cluster",
            "description": "A part of the calls of the real service.",
            "entries": [entries[name] for name in sorted(entries)],
        }
    )


def _rules() -> Iterator[tuple[str, str, Rule]]:
    for rule in current_app.url_map.iter_rules():
        match = _API.fullmatch(rule.rule)
        if match:
            yield match["service"], match["route"], rule


def _entry(route: str, rule: Rule) -> dict[str, Any]:
    parameters = [camel_case(name) for name in _PARAMETER.findall(route)]
    lines = (current_app.view_functions[rule.endpoint].__doc__ or "").strip().splitlines() or [""]
    (method,) = (rule.methods or set()) - _READING
    return {
        "type": "function",
        "name": camel_case(rule.endpoint.rpartition(".")[2]),
        "method": method.lower(),
        "route": _PARAMETER.sub(lambda found: f"<{camel_case(found[1])}>", route),
        "args": parameters,
        "query": sorted(allowed_queries(rule.endpoint)),
        "stability": "stable",
        "title": lines[0],
        "description": "\n".join(lines),
    }
