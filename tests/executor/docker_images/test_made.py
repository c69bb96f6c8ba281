"""Images that tasks have made: what is loaded, under which name, and for whom."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import Final

import pytest
from docker.api.client import APIClient
from docker.errors import ImageNotFound

from executor.docker_images.archives import Member, Picture, archive, tar
from executor.docker_images.conftest import Configure, Customers
from executor.docker_images.customer import Customer, at_once
from executor.docker_images.pushing import OTHER, TASK, artifact
from executor.mounts.archives import COMPRESSORS
from executor.mounts.web import Request, Web, cut_after
from simulators.patience import until
from taskward.executor.docker.images.site import Site
from taskward.executor.docker.request import Image

pytestmark = pytest.mark.root

QUEUE: Final = f"/api/queue/v1/task/{TASK}/artifacts"


@pytest.mark.parametrize("form", ["tar", "gz", "lz4", "zst"])
def test_an_image_is_loaded_in_every_format(customer: Customer, web: Web, daemon: APIClient, form: str) -> None:
    picture = Picture()
    packed = picture.saved() if form == "tar" else COMPRESSORS[form](picture.saved())

    ensured = customer.get(artifact(web, packed, f"public/image.{form}"))

    assert ensured.image_id == picture.id
    assert daemon.inspect_image(picture.id)["RepoTags"] == [f"taskward/artifact:{ensured.artifact_hash[7:]}"]
    assert f'Downloading artifact "public/image.{form}" from task ID: {TASK}.' in customer.told
    assert f"Image 'public/image.{form}' from task '{TASK}' loaded.  Using image ID {picture.id}." in customer.told


def test_what_storage_has_compressed_for_the_way_is_loaded(customer: Customer, web: Web) -> None:
    picture = Picture()
    where = web.page("/stored", gzip.compress(picture.saved()), Content_Encoding="gzip")
    web.page(f"{QUEUE}/public/image.tar", b"", 303, Location=where)

    assert customer.get(Image("task-image", task_id=TASK, path="public/image.tar")).image_id == picture.id


@pytest.mark.parametrize("compress", [True, False])
def test_an_oci_layout_is_loaded_and_gets_no_name_of_its_own(
    customer: Customer, web: Web, daemon: APIClient, compress: bool
) -> None:
    picture = Picture()
    statement = {"digest": "sha256:0", "platform": {"os": "unknown", "architecture": "unknown"}}
    layout = tar(picture.layout(compress=compress, name="docker.io/library/made:latest", more=[statement]))

    ensured = customer.get(artifact(web, layout))

    assert ensured.image_id == picture.id
    assert daemon.inspect_image(picture.id)["RepoTags"] == [f"taskward/artifact:{ensured.artifact_hash[7:]}"]


def test_of_an_image_for_several_platforms_the_one_for_this_machine_is_loaded(customer: Customer, web: Web) -> None:
    here, other = Picture(), Picture(architecture="s390x")
    files = here.layout() | other.layout()
    entries = [
        {**json.loads(each.layout()["index.json"])["manifests"][0], "platform": {"os": "linux", "architecture": name}}
        for each, name in ((other, "s390x"), (here, "amd64"))
    ]
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()

    assert customer.get(artifact(web, tar(files))).image_id == here.id


def test_layers_that_are_links_to_others_are_found(customer: Customer, web: Web, daemon: APIClient) -> None:
    """`docker save` writes a layer that occurs twice so."""
    layer = tar({"x": b"twice"})
    picture = Picture([layer, layer])
    files = picture.files()
    del files["1/layer.tar"]
    members = [Member("1/layer.tar", kind=tarfile.SYMTYPE, target="../0/layer.tar")]

    customer.get(artifact(web, archive([*members, *(Member(name, data) for name, data in files.items())])))

    assert len(daemon.inspect_image(picture.id)["RootFS"]["Layers"]) == 2


def test_names_in_the_archive_replace_no_other_image(
    customer: Customer, web: Web, daemon: APIClient, busybox: str
) -> None:
    before, theirs = daemon.inspect_image(busybox)["Id"], Picture()
    ours = customer.get(artifact(web, Picture().saved()))
    cached = f"taskward/artifact:{ours.artifact_hash[7:]}"

    customer.get(artifact(web, theirs.saved([busybox, cached, "ubuntu:latest"]), task_id=OTHER))

    assert daemon.inspect_image(busybox)["Id"] == before
    assert daemon.inspect_image(cached)["Id"] == ours.image_id
    assert daemon.images(name="ubuntu") == []


def test_a_second_task_with_the_same_image_loads_from_the_cache(customers: Customers, web: Web) -> None:
    image = artifact(web, Picture().saved())
    first, second = customers().get(image), customers().get(image)

    assert (first.image_id, first.artifact_hash) == (second.image_id, second.artifact_hash)
    assert web.count(f"/stored/{TASK}/public/image.tar") == 1


def test_the_same_content_of_another_task_is_loaded_once(customers: Customers, web: Web) -> None:
    data = Picture().saved()
    first = customers().get(artifact(web, data))
    customer = customers()

    assert customer.get(artifact(web, data, task_id=OTHER)) == first
    assert "Loading docker image" not in customer.told


def test_a_private_image_in_the_cache_is_not_for_tasks_that_may_not_read_it(customers: Customers, web: Web) -> None:
    image = artifact(web, Picture().saved(), "private/image.tar")
    customers().get(image)
    web.artifact(TASK, "private/image.tar", b"", 403)

    text = customers().fails(image)

    assert text.startswith("ImageFailed: Pulling docker image has failed.\nError: Not authorized to use {")
    assert "Ensure that the task scopes are correctly defined in the task definition" in text
    assert "not for you" in text


@pytest.mark.parametrize("name", ["taskward/artifact:{hash}", "docker.io/taskward/artifact:{hash}", "{id}", "{short}"])
def test_an_artifact_image_cannot_be_had_by_name_or_id(customers: Customers, web: Web, name: str) -> None:
    ensured = customers().get(artifact(web, Picture().saved(), "private/image.tar"))
    asked = name.format(hash=ensured.artifact_hash[7:], id=ensured.image_id, short=ensured.image_id[:19])

    assert customers().fails(Image("docker-image", name=asked)).startswith("ImageFailed: ")


def test_layers_of_others_cannot_be_had_by_naming_their_digests(customers: Customers, web: Web) -> None:
    """A daemon that has the layers would not look at the archive's."""
    private = Picture([tar({"secret": b"of somebody else, 1"})])
    customers().get(artifact(web, private.saved(), "private/image.tar"))
    thief = Picture([tar({"x": b"y"})], diff_ids=json.loads(private.config)["rootfs"]["diff_ids"])

    assert "but its configuration says sha256:" in customers().fails(artifact(web, thief.saved(), task_id=OTHER))


def test_the_hash_of_the_artifact_outlives_the_worker(customers: Customers, web: Web) -> None:
    image = artifact(web, Picture().saved())
    facts = customers().get(image).facts

    assert facts.keys() == {"imageHash", "imageArtifactHash"}
    assert customers().get(image).facts == facts


def test_an_image_that_somebody_removed_is_loaded_again(customers: Customers, web: Web, daemon: APIClient) -> None:
    image = artifact(web, Picture().saved())
    ensured = customers().get(image)
    daemon.remove_image(f"taskward/artifact:{ensured.artifact_hash[7:]}")

    assert customers().get(image) == ensured


def test_an_indexed_image_is_that_of_the_task_in_the_index(customer: Customer, web: Web) -> None:
    picture = Picture()
    artifact(web, picture.saved())
    web.page("/api/index/v1/task/project.images.x", json.dumps({"taskId": TASK}).encode())

    ensured = customer.get(Image("indexed-image", namespace="project.images.x", path="public/image.tar"))

    assert ensured.image_id == picture.id


@pytest.mark.parametrize("answer", [None, b'{"taskId": "../../secrets"}', b"[]", b"\xff"])
def test_an_index_that_does_not_know_the_image_fails_the_task(
    customer: Customer, web: Web, answer: bytes | None
) -> None:
    if answer is not None:
        web.page("/api/index/v1/task/project.x", answer)

    text = customer.fails(Image("indexed-image", namespace="project.x", path="public/image.tar"))

    assert 'Error: Could not find a task associated with "project.x" namespace.' in text


def test_a_missing_artifact_fails_the_task(customer: Customer) -> None:
    text = customer.fails(Image("task-image", task_id=TASK, path="public/image.tar"))

    assert f'Could not download artifact "public/image.tar" from task "{TASK}". Error: the server answered' in text


def test_a_download_that_breaks_off_is_taken_up_again(customer: Customer, web: Web) -> None:
    picture = Picture()
    data = picture.saved()
    where = web.on("/stored", cut_after(data, len(data) // 2))
    web.page(f"{QUEUE}/public/image.tar", b"", 303, Location=where)

    assert customer.get(Image("task-image", task_id=TASK, path="public/image.tar")).image_id == picture.id


def test_without_a_proxy_images_of_tasks_are_refused_as_malformed(customers: Customers, web: Web) -> None:
    customer = customers()
    object.__setattr__(customer.settings, "others", {})

    text = customer.fails(Image("task-image", task_id=TASK, path="public/image.tar"))

    assert text == "MalformedPayload: images of tasks need a proxy, which is not enabled on this worker"


def test_two_tasks_that_want_the_same_get_it_once(customers: Customers, web: Web, tmp_path: Path) -> None:
    """The second waits, and is asked for its own right before it gets what the first has loaded."""
    picture = Picture()
    data, everybody = picture.saved(), [customers(), customers()]

    def slow(request: Request) -> None:
        until(lambda: any("Waiting for another task that is getting" in each.told for each in everybody))
        request.reply(data)

    web.page(f"{QUEUE}/private/x.tar", b"", 303, Location=web.on("/stored", slow))
    image = Image("task-image", task_id=TASK, path="private/x.tar")

    got = at_once(tmp_path, everybody, lambda customer: customer.get(image).image_id)

    assert got == [picture.id] * 2
    assert web.count("/stored") == 1
    assert web.count(f"{QUEUE}/private/x.tar") == 2


def test_the_image_is_kept_from_removal_until_it_is_let_go(
    customers: Customers, configure: Configure, web: Web, daemon: APIClient
) -> None:
    configure(expire_after_s=0.0)
    customer = customers()
    with Site(customer.task) as site:
        ensured = customer.images.ensure(artifact(web, Picture().saved()), site)
    customer.images.sweep()
    assert daemon.inspect_image(ensured.image_id)
    ensured.close()
    customer.images.sweep()

    with pytest.raises(ImageNotFound):
        daemon.inspect_image(ensured.image_id)
