"""The Docker daemon's API: one client for each process, each call with a time limit, each failure in our own words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from docker.api.client import APIClient
from docker.auth import AuthConfig
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException

from taskward.core.settings import DockerSettings
from taskward.executor.errors import EngineFailed

IMAGE_IS_GONE: Final = (404, 409)
"""What the daemon answers about an image that is not there; 409: a container that is being removed still needs it."""

_DRIVER: Final = r"overlay2?|overlayfs|fuse-overlayfs|aufs/mnt|btrfs/subvolumes|devicemapper/mnt|vfs/dir|zfs/graph"
_ROOT_OF_CONTAINER: Final = re.compile(rf"(?<![^\s\"'(])/[^\s:]*/({_DRIVER})/[0-9a-f]{{64}}(/merged|/rootfs)?(?=/)")


class DaemonAway(EngineFailed):
    """The daemon does not answer, or not in time; it may be another matter in a moment."""


class DaemonRefused(EngineFailed):
    """The daemon has answered that it will not; `status` is HTTP's, `reason` the daemon's own text."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"the Docker daemon cannot {what}: {reason}")
        self.status, self.reason = status, reason


class Daemon:
    """Connects when it is first asked for something. For one process; threads of it may share it."""

    def __init__(self, settings: DockerSettings) -> None:
        self.settings = settings

    @cached_property
    def api(self) -> APIClient:
        """The client; to be used inside of `asking`.

        Raises:
            DaemonAway: nobody answers.
        """
        with self.asking("tell its version"):
            api = APIClient(self.settings.host, version="auto", timeout=int(self.settings.timeout_s))
        api.trust_env = False  # no proxy stands between us and a local socket
        vars(api)["_auth_configs"] = AuthConfig({}, None)  # what is in the administrator's home is not for tasks
        return api

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Around calls: `what` completes "the Docker daemon cannot …".

        Raises:
            DaemonRefused: it said no.
            DaemonAway: it said nothing.
        """
        try:
            yield
        except APIError as error:
            status = error.response.status_code if error.response is not None else 500
            raise DaemonRefused(what, status, _one_line(without_host(error.explanation or str(error)))) from error
        except (DockerException, RequestException, OSError) as error:
            text = f"the Docker daemon at {self.settings.host} does not answer ({what}): {_one_line(str(error))}"
            raise DaemonAway(text) from error

    def forget_image(self, name: str) -> None:
        """Takes a name away from an image, and the image with its last; one that is gone or still used is left.

        Raises:
            DaemonAway, DaemonRefused: it may be there.
        """
        try:
            with self.asking("remove an image"):
                self.api.remove_image(name)
        except DaemonRefused as error:
            if error.status not in IMAGE_IS_GONE:
                raise

    @cached_property
    def shares_cgroups(self) -> bool:
        """Whether containers can be put below a control group of ours: not where systemd has them."""
        with self.asking("describe itself"):
            return bool(self.api.info().get("CgroupDriver") == "cgroupfs")

    def close(self) -> None:
        """Gives the connections back."""
        if "api" in vars(self):
            self.api.close()


def without_host(text: str) -> str:
    """What the daemon says of a container's file, without the directory in which it keeps that container."""
    return _ROOT_OF_CONTAINER.sub("", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:2000]
