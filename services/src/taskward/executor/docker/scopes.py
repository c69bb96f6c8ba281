"""Which scopes a task in a container needs, and docker-worker's words for those that it does not have.

A right that is not there fails the task; it does not make it malformed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from taskward.core.settings import DockerSettings
from taskward.executor.docker.request import DockerRequest, Image
from taskward.executor.features.feature import satisfies
from taskward.executor.names import shown
from taskward.executor.payload import Payload

_NOT_CONFIGURED: Final = (
    "Docker configuration could not be created.  This may indicate an authentication error when validating scopes "
    "necessary for running the task. \n"
)
_TRY: Final = {"balrogVPNProxy": " Try", "balrogStageVPNProxy": " Try", "allowPtrace": "  Try"}
_PUBLIC: Final = re.compile(r"/?public/")


@dataclass(frozen=True)
class Granted:
    """What a task may do.

    Attributes:
        written: ``task.scopes``; roles count only as what they are called.
        expanded: the same with what their roles stand for; equal to `written` when nobody could expand them.
        pool: the worker pool's name, with which some scopes may end.
    """

    written: Sequence[str]
    expanded: Sequence[str]
    pool: str

    def has(self, scope: str) -> bool:
        """Literally, or by a ``*`` at the end."""
        return satisfies(self.written, scope)

    def has_for_pool(self, scope: str, *, with_roles: bool) -> bool:
        """The scope itself, or for this pool only."""
        scopes = self.expanded if with_roles else self.written
        return satisfies(scopes, scope) or satisfies(scopes, f"{scope}:{self.pool}")


def missing(payload: Payload, granted: Granted, settings: DockerSettings) -> Iterator[str]:
    """Everything that a task with an image may not have."""
    if (request := payload.docker) is not None:
        yield from of_features(payload.features, granted)
        yield from of_image(request.image, granted)
        yield from of_container(request, granted, settings)


def first_refusal(payload: Payload, granted: Granted, settings: DockerSettings) -> str:
    """As the log tells it; empty when the task may have all that it asks for."""
    if (request := payload.docker) is None:
        return ""
    for text in (*of_features(payload.features, granted), *of_image(request.image, granted)):
        return text
    for text in of_container(request, granted, settings):
        return f"{_NOT_CONFIGURED}Error: {text}"
    return ""


def of_container(request: DockerRequest, granted: Granted, settings: DockerSettings) -> Iterator[str]:
    """What the container is given beside its image, in the order in which docker-worker looks."""
    yield from of_capabilities(request, granted, settings)
    yield from of_caches(request, granted)
    yield from of_devices(request, granted)


def of_features(features: frozenset[str], granted: Granted) -> Iterator[str]:
    """Some features need a scope of their name."""
    for flag in _TRY:
        scope = f"docker-worker:feature:{flag}"
        if flag in features and not granted.has(scope):
            yield f"Insufficient scopes to use '{flag}' feature.{_TRY[flag]} adding {scope} to the .scopes array."


def of_image(image: Image, granted: Granted) -> Iterator[str]:
    """An image that is an artifact which not everybody may read."""
    needs = bool(image.path) and not _PUBLIC.match(image.path)
    if needs and not granted.has(scope := f"queue:get-artifact:{image.path}"):
        yield f"{not_authorized(image)} (missing: {scope})"


def of_capabilities(request: DockerRequest, granted: Granted, settings: DockerSettings) -> Iterator[str]:
    """Each needs a scope, and a worker that has it switched on."""
    scope = "docker-worker:capability:privileged"
    if request.privileged and not granted.has_for_pool(scope, with_roles=False):
        yield f"Insufficient scopes to run task in privileged mode. Try adding {scope} to the .scopes array"
    elif request.privileged and not settings.allow_privileged:
        yield (
            "Cannot run task using docker privileged mode.  Worker must be enabled to allow running of privileged "
            "tasks. ([docker] allow_privileged)"
        )
    scope = "docker-worker:capability:disableSeccomp"
    if request.disable_seccomp and not granted.has_for_pool(scope, with_roles=False):
        yield f"Insufficient scopes to run task with seccomp disabled. Try adding {scope} to the .scopes array"
    elif request.disable_seccomp and not settings.allow_disable_seccomp:
        yield (
            "Cannot run task with seccomp disabled.  Worker must be enabled to allow running of such tasks. "
            "([docker] allow_disable_seccomp)"
        )


def of_caches(request: DockerRequest, granted: Granted) -> Iterator[str]:
    """One scope for each cache."""
    if any("::" in name for name in request.caches):
        yield 'Invalid key name was provided.  Ensure that the cache name does not contain "::".'
    scopes = [f"docker-worker:cache:{name}" for name in request.caches]
    if lacking := [scope for scope in scopes if not granted.has_for_pool(scope, with_roles=True)]:
        yield (
            "Insufficient scopes to attach cache volumes.  The task must have scope "
            f"`docker-worker:cache:<cache-name>` for each cache in `payload.caches`.{_named(lacking)}"
        )


def of_devices(request: DockerRequest, granted: Granted) -> Iterator[str]:
    """One scope for each device."""
    scopes = [f"docker-worker:capability:device:{name}" for name in sorted(request.devices)]
    if lacking := [scope for scope in scopes if not granted.has_for_pool(scope, with_roles=True)]:
        yield (
            "Insufficient scopes to attach devices to task container.  The task must have scope "
            f"`docker-worker:capability:device:<dev-name>` for each device.{_named(lacking)}"
        )


def not_authorized(image: Image) -> str:
    """An image that the task may not use, as the payload names it."""
    keys = {"type": image.type, "name": image.name, "namespace": image.namespace, "taskId": image.task_id}
    told = json.dumps({key: value for key, value in (keys | {"path": image.path}).items() if value})
    return f"Not authorized to use {told}.  Ensure that the task scopes are correctly defined in the task definition"


def _named(scopes: Sequence[str]) -> str:
    return f" Missing: {', '.join(map(shown, scopes))}"
