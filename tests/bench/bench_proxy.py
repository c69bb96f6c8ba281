"""What the proxy costs, beside nginx as a reverse proxy in the same run.

    python tests/bench/bench_proxy.py [--quick] [--runs N]

Prints medians: small requests per second over 8 kept connections, MB/s for one big body down and up, and the memory of
the proxy's worker process. The proxy under test has one core to itself (as nginx has in its turn), load and
servers share the other, where there are two and `taskset` is installed. nginx has buffers of the size of ours (its own
small ones make it three times slower). Everything runs on loopback without TLS.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from proxy.rig import free_port, running_redis
from simulators.patience import until
from taskward.proxy import keys

CONNECTIONS = 8
ADDRESS = "127.77.0.1"
SMALL = json.dumps({"status": {"taskId": "x" * 22, "runs": [{"runId": 0, "state": "completed"}] * 10}})
UPSTREAM = """
    location = /api/x/v1/small {{ default_type application/json; return 200 '{small}'; }}
    location = /api/x/v1/big {{ alias {folder}/big; }}
"""
FORWARD = """
    location / {{
        proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection "";
        proxy_buffering off; proxy_request_buffering off; client_max_body_size 0;
        proxy_buffer_size 256k; proxy_buffers 4 256k; client_body_buffer_size 256k;
    }}
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.log; {user}
events {{ worker_connections 512; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 10000000;
    client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
    fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
    upstream upstream {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 10000000; }}
    server {{ listen 127.0.0.1:{port} backlog=512; {locations} }}
}}
"""


def on_core(number: int) -> list[str]:
    """A command prefix that pins what follows, where that makes sense."""
    usable = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(usable[number])] if shutil.which("taskset") and len(usable) > 1 else []


@contextmanager
def running(command: Sequence[str], port: int, address: str = "127.0.0.1") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or _accepts(address, port))
        assert process.poll() is None, f"{command} ended at once"
        yield process
    finally:
        process.terminate()
        process.wait(40)


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def nginx(folder: Path, name: str, locations: str, core: int, upstream: int) -> Iterator[int]:
    port = free_port()
    user = "user root;" if os.getuid() == 0 else ""
    text = NGINX.format(folder=folder, name=name, user=user, port=port, upstream=upstream, locations=locations)
    (folder / f"{name}.conf").write_text(text)
    with running([*on_core(core), "nginx", "-p", str(folder), "-c", str(folder / f"{name}.conf")], port):
        yield port


def swallow(listener: socket.socket) -> None:
    """An upload's other end: counts the bytes of each body, keeps none, answers 200."""

    def serve(sock: socket.socket) -> None:
        buffer = memoryview(bytearray(1 << 20))
        with sock, sock.makefile("rb", buffering=0) as lines:
            while line := lines.readline():
                left = 0
                while line.strip():
                    if line.lower().startswith(b"content-length:"):
                        left = int(line.split(b":")[1])
                    line = lines.readline()
                while left:
                    left -= sock.recv_into(buffer[: min(left, len(buffer))])
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


@contextmanager
def sink() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        process = multiprocessing.get_context("fork").Process(target=swallow, args=(listener,), daemon=True)
        process.start()
        yield int(listener.getsockname()[1])
        process.kill()
        process.join()


@contextmanager
def taskward(folder: Path, redis_socket: Path, upstream: int) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    config = folder / f"taskward-{upstream}.toml"
    config.write_text(
        f'[taskcluster]\nroot_url = "http://127.0.0.1:{upstream}"\n'
        f'[proxy]\nport = {port}\nredis_socket = "{redis_socket}"\n'
    )
    with running([*on_core(0), sys.executable, "-m", "taskward.proxy", "--config", str(config)], port) as process:
        yield port, process


def requests_per_s(address: str, port: int, seconds: int) -> float:
    url = f"http://{address}:{port}/api/x/v1/small"
    if not shutil.which("wrk"):
        return own_requests_per_s(address, port, seconds)
    command = [*on_core(-1), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in output, output
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    return float(found[1])


def own_requests_per_s(address: str, port: int, seconds: int) -> float:
    """Without `wrk`: raw sockets in threads; a Python client reaches its own limit first against nginx."""
    request = f"GET /api/x/v1/small HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    end = time.monotonic() + seconds
    counts = [0] * CONNECTIONS

    def load(number: int) -> None:
        with socket.create_connection((address, port)) as sock:
            while time.monotonic() < end:
                sock.sendall(request)
                received = b""
                while SMALL[-20:].encode() not in received:
                    received += sock.recv(65536)
                counts[number] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def megabytes_per_s(direction: str, address: str, port: int, big: Path) -> float:
    path = "big" if direction == "download" else "sink"
    command = [
        *on_core(-1),
        "curl",
        "-sS",
        "-f",
        "-o",
        "/dev/null",
        "-H",
        "Expect:",
        "-w",
        f"%{{speed_{direction}}} %{{size_{direction}}}",
    ]
    command += ["-T", str(big)] if direction == "upload" else []
    done = subprocess.run(
        [*command, f"http://{address}:{port}/api/x/v1/{path}"], capture_output=True, text=True, check=True
    )
    speed, size = done.stdout.split()
    assert int(size) == big.stat().st_size, f"{size} bytes of {big.stat().st_size}"
    return float(speed) / 1e6


def worker_memory_mib(arbiter: subprocess.Popen[bytes]) -> tuple[float, float]:
    """Resident set of gunicorn's worker, now and at its highest."""
    pid = Path(f"/proc/{arbiter.pid}/task/{arbiter.pid}/children").read_text().split()[0]
    fields = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+)", Path(f"/proc/{pid}/status").read_text()))
    return int(fields["VmRSS"]) / 1024, int(fields["VmHWM"]) / 1024


def medians(runs: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure; they take turns, so that a noisy minute hits all alike."""
    taken = [[measure() for measure in measures] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def row(what: str, unit: str, direct: float, by_nginx: float, by_us: float) -> None:
    print(f"{what:<28}{direct:>10.0f}{by_nginx:>10.0f}{by_us:>10.0f}  {unit:<6}{by_us / by_nginx:>6.2f}")


def bench(folder: Path, runs: int, seconds: int, size_mib: int) -> None:
    big = folder / "big"
    with big.open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(1 << 16) * 16)
    locations = UPSTREAM.format(small=SMALL, folder=folder)
    memory: list[tuple[str, float, float]] = []
    print(f"{'median of ' + str(runs):<28}{'direct':>10}{'nginx':>10}{'taskward':>10}  {'':<6}{'x nginx':>6}")
    with running_redis() as redis_server:
        with redis_server.client as client:
            client.hset(keys.peer(ADDRESS), mapping={"taskId": "T", "runId": "0", "uid": os.getuid()})
            stored: dict[str, object] = {"clientId": "task-client/T/0", "accessToken": "token", "certificate": None}
            stored |= {"takenUntil": "2100-01-01T00:00:00Z", "authorizedScopes": ["queue:create-artifact:T/0"]}
            client.set(keys.credentials("T/0"), json.dumps(stored))
        with (
            nginx(folder, "upstream", locations, -1, 1) as upstream,
            nginx(folder, "front", FORWARD.format(), 0, upstream) as front,
            taskward(folder, redis_server.socket, upstream) as (port, process),
        ):
            ends = (("127.0.0.1", upstream), ("127.0.0.1", front), (ADDRESS, port))
            rates = medians(runs, *(partial(requests_per_s, *end, seconds) for end in ends))
            row(f"small requests, {CONNECTIONS} connections", "/s", *rates)
            memory.append(("small requests", *worker_memory_mib(process)))
            rates = medians(runs, *(partial(megabytes_per_s, "download", *end, big) for end in ends))
            row(f"download of {size_mib} MiB", "MB/s", *rates)
            memory.append(("downloads", *worker_memory_mib(process)))
        with (
            sink() as upstream,
            nginx(folder, "front", FORWARD.format(), 0, upstream) as front,
            taskward(folder, redis_server.socket, upstream) as (port, process),
        ):
            ends = (("127.0.0.1", upstream), ("127.0.0.1", front), (ADDRESS, port))
            rates = medians(runs, *(partial(megabytes_per_s, "upload", *end, big) for end in ends))
            row(f"upload of {size_mib} MiB", "MB/s", *rates)
            memory.append(("uploads", *worker_memory_mib(process)))
    for what, now, highest in memory:
        print(f"{'worker memory after ' + what:<38}{now:>10.1f} MiB, at most {highest:.1f} MiB")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short runs with 256 MiB")
    parser.add_argument("--runs", type=int, help="how many runs to take the median of (default 5)")
    chosen = parser.parse_args(arguments)
    for program in ("nginx", "curl", "redis-server"):
        if not shutil.which(program):
            sys.exit(f"bench_proxy: {program} is not installed")
    runs, seconds, size_mib = (2, 1, 256) if chosen.quick else (5, 4, 1024)
    folder = Path(tempfile.mkdtemp(prefix="tw", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    folder.chmod(0o755)
    try:
        bench(folder, chosen.runs or runs, seconds, size_mib)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
