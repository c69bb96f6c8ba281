"""``/healthz`` and ``/metrics``: how the gateway is doing."""

import socket

from flask import Blueprint, Response, abort, jsonify, request

from taskward.gateway.follower import Follower
from taskward.gateway.metrics import Metrics
from taskward.gateway.tokens import Registry


def blueprint(registry: Registry, follower: Follower, metrics: Metrics) -> Blueprint:
    """The routes; ``/metrics`` exists on the status socket only."""
    routes = Blueprint("status", __name__)

    @routes.get("/healthz")
    def healthz() -> tuple[Response, int]:
        """200 while readers are served, even without Redis (they go on, only new ones are refused), else 503."""
        running = follower.is_running
        body = {"ok": running, "redis": registry.is_reachable(), "readers": follower.reader_count}
        return jsonify(body), 200 if running else 503

    @routes.get("/metrics")
    def show_metrics() -> Response:
        """Prometheus text."""
        if request.environ["gunicorn.socket"].family != socket.AF_UNIX:
            abort(404)
        return Response(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
