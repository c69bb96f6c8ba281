"""A task with the docker command: what it makes, and that nothing of it is left."""

import io
import json
import tarfile
from collections.abc import Iterator

import pytest
import slugid

from executor.bench import Result
from executor.docker.dind.conftest import dind_payload, leavings
from executor.docker.yard import Yard, task_output
from simulators.patience import until
from taskward.core.ids import RunId
from taskward.executor.docker.dind import remains

pytestmark = pytest.mark.root
ARTIFACTS = {"public/image.tar": {"type": "file", "path": "/image.tar"}}

SCRIPT = """
at() { echo "@ $1"; }
exec 2>&1
at run; docker run --rm $IMAGE sh -c 'echo out; echo err >&2; cat /proc/self/cgroup; exit 7'; echo code $?
at input; echo typed | docker run --rm -i $IMAGE cat
mkdir /w /w/sub; cd /w; echo one > a.txt; echo two > sub/b.txt; ln -s a.txt sub/link
cat > Dockerfile <<'EOF'
ARG BASE
FROM scratch AS files
COPY a.txt sub /files/
FROM $BASE
ARG WHO=nobody
ENV GREETING="hello $WHO"
WORKDIR /home/someone
ENTRYPOINT ["sh", "-c"]
CMD ["cat /greeting b.txt; ls -ln | tail -n +2 | awk '{print $3, $9}'; env | grep -c WHO"]
RUN echo "$GREETING from $WHO" > /greeting; exit 0
COPY --from=files --chown=someone /files .
EOF
at build; docker build -q --build-arg BASE=$IMAGE --build-arg WHO=world -t mine:1 . >/dev/null; echo code $?
at built; docker run --rm mine:1
at failing; printf 'FROM mine:1\\nRUN ["false"]\\n' | docker build -q -; echo code $?
at images; docker images --format '{{.Repository}}:{{.Tag}}' | sort; docker ps -aq
mkdir /other /context; echo four > /context/f; ln -s /f /context/link
cat > /other/Dockerfile <<'EOF'
ARG BASE
FROM $BASE AS made
RUN mkdir -p /v/deep; echo three > /v/deep/f; ln -s /v/deep /v/directory; ln -s directory/f /v/file
FROM scratch
COPY --from=made /v/file /x/
COPY --from=made /v/directory /y
COPY --from=made /v/f?le /v/*/f /w/
COPY link /z
EOF
at links; docker build -q -t linked -f /other/Dockerfile --build-arg BASE=$IMAGE /context >/dev/null 2>&1; echo code $?
linked=$(docker create linked none); docker export $linked | tar -xO x/file y/f z w/f w/file
docker rm $linked >/dev/null; docker rmi -f linked >/dev/null
docker run --network container:nosuch $IMAGE true 2>&1 | grep "No such container: nosuch"
at save; docker save mine:1 > /image.tar; echo code $?
docker rmi -f mine:1 >/dev/null; docker load -q -i /image.tar; docker run --rm mine:1 'cat b.txt'
at detached
docker run -d --name box --label a=b -v data:/data --network container:$(hostname) mine:1 \\
    'echo kept > /data/x; sleep 1000' >/dev/null
docker exec box sh -c 'until [ -e /data/x ]; do sleep 0.02; done; cat /data/x; hostname'; hostname
docker cp a.txt box:/copied >/dev/null 2>&1; docker cp box:/copied - | tar -xO
docker ps --filter label=a=b --format '{{.Names}} {{.Image}}'
at strangers
for verb in "inspect VICTIM" "logs VICTIM" "rm VICTIM" "start VICTIM" "exec VICTIM true" "cp VICTIM:/etc/passwd -" \\
    "commit VICTIM x"; do
    docker ${verb%%VICTIM*}$VICTIM${verb#*VICTIM} 2>&1 | grep -io 'no such [a-z]*'
done
docker run --rm --volumes-from $VICTIM $IMAGE true 2>&1 | grep -c 'No such container'
docker run --rm --privileged $IMAGE true 2>&1 | grep -c 'not allowed'
docker run --rm -v /:/host $IMAGE true 2>&1 | grep -c 'cannot be bound'
at left; docker pause box >/dev/null; echo paused
"""


@pytest.fixture(scope="module")
def victim(docking: Yard) -> Iterator[str]:
    """A container of somebody else's."""
    made: str = docking.daemon.create_container(docking.image, "true")["Id"]
    yield made
    docking.daemon.inspect_container(made)
    docking.daemon.remove_container(made)


@pytest.fixture(scope="module")
def result(docking: Yard, client_image: str, victim: str) -> Result:
    environment = {"IMAGE": docking.image, "VICTIM": victim}
    payload = dind_payload(docking, client_image, SCRIPT, env=environment, artifacts=ARTIFACTS)
    run = docking.bench.claim(payload)
    job = docking.bench.start(run)
    log = docking.bench.layout.log_directory(run) / "live.log"
    until(lambda: log.exists() and "=== Task Finished ===" in log.read_text(), "the task ends", within_s=300)
    assert job.wait() == 0
    return docking.bench.result(run)


@pytest.fixture(scope="module")
def printed(result: Result) -> dict[str, list[str]]:
    """What was printed after each heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in task_output(result):
        if line.startswith("@ "):
            heading = line[2:]
        else:
            found.setdefault(heading, []).append(line)
    return found


def test_a_container_runs_with_its_output_and_exit_code(printed: dict[str, list[str]]) -> None:
    lines = printed["run"]
    assert {"out", "err"} <= set(lines)
    assert lines[-1] == "code 7"
    assert printed["input"] == ["typed"]


def test_a_container_is_in_the_runs_control_group(result: Result, printed: dict[str, list[str]]) -> None:
    memory = next(line for line in printed["run"] if ":memory:" in line or line.startswith("0::"))
    assert result.record.run.directory in memory


def test_an_image_is_built_from_a_dockerfile(printed: dict[str, list[str]]) -> None:
    assert printed["build"][-1] == "code 0"
    assert printed["built"] == ["hello world from world", "two", "1000 a.txt", "1000 b.txt", "1000 link", "0"]
    assert printed["failing"][-1] == "code 1"
    assert "returned a non-zero code: 1" in printed["failing"][-2]


def test_links_in_contexts_and_images_lead_to_files_with_a_dockerfile_from_elsewhere(
    printed: dict[str, list[str]],
) -> None:
    assert printed["links"] == [
        "code 0", *(["three"] * 4), "four", "docker: Error response from daemon: No such container: nosuch",
    ]  # fmt: skip


def test_only_what_has_a_name_is_left_of_builds(docking: Yard, printed: dict[str, list[str]]) -> None:
    assert printed["images"] == ["mine:1", docking.image]


def test_an_image_is_saved_and_loaded_under_the_tasks_own_name(
    docking: Yard, result: Result, printed: dict[str, list[str]]
) -> None:
    assert printed["save"] == ["code 0", "Loaded image: mine:1", "two"]
    with tarfile.open(fileobj=io.BytesIO(result.content("public/image.tar"))) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
        config = archive.extractfile(image["Config"])
        assert config is not None
        described = json.load(config)
    assert image["RepoTags"] == ["mine:1"]
    assert described["config"]["WorkingDir"] == "/home/someone"
    assert described["config"]["Labels"]["taskward.run"] == ""


def test_containers_have_volumes_further_programs_and_the_tasks_network(printed: dict[str, list[str]]) -> None:
    kept, name, own_name, copied, listed = printed["detached"]
    assert kept == "kept"
    assert name == own_name
    assert copied == "one"
    assert listed == "box mine:1"


def test_what_is_not_the_tasks_is_not_there_for_it(printed: dict[str, list[str]]) -> None:
    *missing, from_victim, privileged, bound = printed["strangers"]
    assert len(missing) == 7
    assert (from_victim, privileged, bound) == ("1", "1", "1")


def test_nothing_is_left_of_a_task(docking: Yard, result: Result, printed: dict[str, list[str]]) -> None:
    assert printed["left"] == ["paused"]
    assert result.outcome.succeeded, result.log
    assert leavings(docking, result.record.run) == []


def test_the_socket_belongs_to_a_worker_that_wants_it(yard: Yard) -> None:
    yard.use(docker={"enable_dind": False})
    refused = yard.run("true", features={"dind": True})
    yard.use(docker={"enable_dind": True})

    assert refused.outcome.reason == "malformed-payload"
    assert "payload.features: dind is not enabled on this worker ([docker] enable_dind)" in refused.log


def test_a_run_whose_process_is_killed_leaves_nothing(docking: Yard, client_image: str) -> None:
    script = """
    docker run -d -v data:/data $IMAGE sleep 1000 && docker commit $(docker ps -q) made && echo ready; sleep 1000
    """
    run = docking.bench.claim(dind_payload(docking, client_image, script, env={"IMAGE": docking.image}))
    job = docking.bench.start(run)
    docking.bench.wait_for_line(run, "ready")
    before = leavings(docking, run)
    job.kill()
    assert docking.bench.start(run).wait() == 0

    assert len(before) >= 4
    assert docking.bench.result(run).outcome.reason == "worker-shutdown"
    assert leavings(docking, run) == []


def test_a_sweep_finds_images_that_nobody_owns(docking: Yard) -> None:
    run = RunId(slugid.nice(), 0)
    repository, prefix = remains.pins(docking.bench.state_dir, run)
    docking.daemon.tag(docking.image, repository, f"{prefix}x")
    before = leavings(docking, run)
    docking.bench.sweep()

    assert before == [f"{repository}:{prefix}x"]
    assert leavings(docking, run) == []
