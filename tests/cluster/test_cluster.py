"""Tasks in the cluster: from the command line on the host to signatures that verify offline."""

from pathlib import Path

import pytest
from docker.api.client import APIClient

from simulators.docker import busybox_image

from .compose import ROLES, Cluster, until

PROGRAM = """
id --user --name
printf content >out.txt
curl --silent --fail --max-time 10 "$TASKCLUSTER_PROXY_URL/api/queue/v1/task/$TASK_ID" | head --bytes 20
"""

PUBLIC_KEYS = {"openpgp": "openpgp.asc", "ed25519": "ed25519.pub", "dsse": "dsse.pub"}


def test_task_runs_from_the_host_and_its_signatures_verify_offline(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "task.yml"
    lines = "".join(f"        {line}\n" for line in PROGRAM.strip().splitlines())
    file.write_text(
        f"payload:\n  command:\n    - - /bin/bash\n      - -c\n      - |\n{lines}"
        "  artifacts: [{name: public/out.txt, path: out.txt, type: file}]\n"
        "  features: {chainOfTrust: true, taskclusterProxy: true}\n  maxRunTime: 60\n"
    )
    output = cluster.taskward("run", str(file))
    assert "task_" in output
    assert '{"provisionerId"' in output
    task_id = next(line.split()[-1] for line in output.splitlines() if "Task ID:" in line)
    cluster.download(task_id, tmp_path / "artifacts")
    assert (tmp_path / "artifacts/public/out.txt").read_text() == "content"
    keys = cluster.state_dir / "public-keys"
    trusted = [f"--{form}-key={keys / name}" for form, name in PUBLIC_KEYS.items()]
    assert "public/out.txt" in cluster.taskward("verify", str(tmp_path / "artifacts"), *trusted, "--complete")
    (tmp_path / "artifacts/public/out.txt").write_text("other")
    cluster.taskward("verify", str(tmp_path / "artifacts"), *trusted, returns=1)


def test_live_log_is_read_through_the_published_port(cluster: Cluster) -> None:
    task_id = cluster.create({"command": [["/bin/bash", "-c", "echo early; sleep 4"]]})
    until(lambda: cluster.runs(task_id)[0]["state"] == "running", "it runs")
    until(lambda: "public/logs/live.log" in cluster.names(task_id), "the live log is announced")
    text = cluster.get(task_id, "public/logs/live.log")
    assert "early" in text
    assert cluster.resolution(task_id) == "completed/completed"


def test_task_runs_in_a_container_of_its_own(cluster: Cluster, daemon: APIClient) -> None:
    image = busybox_image(daemon)
    program = 'echo from a container; wget -q -O - "http://taskcluster/queue/v1/task/$TASK_ID" | head -c 20'
    payload = {"image": image, "command": ["sh", "-c", program], "features": {"taskclusterProxy": True}}
    task_id = cluster.create(payload)
    assert cluster.resolution(task_id) == "completed/completed"
    log = cluster.get(task_id, "public/logs/live_backing.log")
    assert "from a container" in log
    assert '{"provisionerId"' in log, "the proxy answers, on the task's own network"


def test_cache_goes_from_one_container_to_the_next(cluster: Cluster, daemon: APIClient) -> None:
    payload = {
        "image": busybox_image(daemon),
        "command": ["sh", "-c", "echo once >>/cache/count; wc -l </cache/count"],
        "cache": {"cluster-test": "/cache"},
    }
    for count in ("1", "2"):
        task_id = cluster.create(payload, scopes=["docker-worker:cache:cluster-test"])
        assert cluster.resolution(task_id) == "completed/completed"
        assert f"\n{count}\r\n" in cluster.get(task_id, "public/logs/live_backing.log")


def test_doctor_says_what_native_tasks_lack_in_a_container(cluster: Cluster) -> None:
    _, output = cluster.inside("executor", "python", "-m", "taskward.cli", "doctor")
    assert "cgroups: read-only, as in a container" in output


@pytest.mark.parametrize("role", ["claimer", "executor", "uploader"])
def test_metrics_of_each_container_are_there(cluster: Cluster, role: str) -> None:
    until(lambda: list((cluster.state_dir / "metrics" / role).glob("*.prom")), f"{role} has written its metrics", 30)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "taskhost"])
def test_container_becomes_healthy(cluster: Cluster, role: str) -> None:
    def healthy() -> bool:
        return all(each["State"]["Health"]["Status"] == "healthy" for each in cluster.containers(role))

    until(healthy, f"{role} is healthy", 40)
