"""Nothing outside of this host, and no task, reaches the wrong socket."""

import socket
import stat
import tempfile
from pathlib import Path

import pytest

from proxy.rig import Rig, free_port
from taskward.proxy import listener
from taskward.proxy.errors import StartError


def test_the_task_port_is_bound_to_the_loopback_device_on_all_its_addresses() -> None:
    with listener.task_listener(free_port(), "lo") as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0") == b"lo"
        with socket.create_connection(("127.200.3.4", sock.getsockname()[1]), timeout=5):
            accepted, _ = sock.accept()
        assert accepted.getsockname()[0] == "127.200.3.4"
        accepted.close()


def test_a_missing_device_is_named() -> None:
    with pytest.raises(StartError, match="nosuchdev0"):
        listener.task_listener(free_port(), "nosuchdev0")


def test_a_port_in_use_is_named() -> None:
    with listener.task_listener(free_port(), "lo") as first:
        port = first.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}.*Choose another"):
            listener.task_listener(port, "lo", patience_s=0.1)


def test_the_status_socket_is_closed_to_other_users() -> None:
    path = Path(tempfile.mkdtemp(prefix="tw")) / "status.sock"
    with listener.status_listener(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_health_and_metrics_are_served_at_the_status_socket(rig: Rig) -> None:
    assert rig.status("/healthz").json == {"ok": True, "redis": "up"}
    page = rig.status("/metrics").body.decode()
    for name in ("requests_total", "refused_total", "retries_total", "runs", "requests_in_flight", "connections"):
        assert f"\ntaskward_proxy_{name}" in page


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/"])
def test_tasks_see_neither_health_nor_metrics(rig: Rig, path: str) -> None:
    assert rig.request(path).status == 404
