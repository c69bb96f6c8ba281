"""What a task in a container can have: the features of all tasks, and those that only containers have.

They start in this order and stop in reverse, as `taskward.executor.features` says.
"""

from typing import Final

from taskward.executor.docker.features.artifacts import ContainerArtifacts
from taskward.executor.docker.features.balrog import BalrogStageVPNProxy, BalrogVPNProxy
from taskward.executor.docker.features.bulk_log import BulkLog
from taskward.executor.docker.features.caches import ContainerCaches
from taskward.executor.docker.features.capabilities import AllowPtrace, Capabilities
from taskward.executor.docker.features.devices import ContainerDevices
from taskward.executor.docker.features.dind import Dind
from taskward.executor.docker.features.docker_save import DockerSave
from taskward.executor.docker.features.image import ContainerImage
from taskward.executor.docker.features.interactive import ContainerInteractive
from taskward.executor.docker.features.log import ContainerLog
from taskward.executor.docker.features.proxy_peer import ProxyPeer
from taskward.executor.docker.features.releng_api import RelengAPIProxy
from taskward.executor.docker.features.rights import Rights
from taskward.executor.docker.features.share import DiskLimit, OwnProcessor
from taskward.executor.docker.features.taskcluster_proxy import ContainerTaskclusterProxy
from taskward.executor.docker.features.testdroid import TestdroidProxy
from taskward.executor.features.chain_of_trust import ChainOfTrust
from taskward.executor.features.encrypted_env import EncryptedEnv
from taskward.executor.features.feature import Feature
from taskward.executor.features.live_log import LiveLog
from taskward.executor.features.resource_monitor import ResourceMonitor
from taskward.executor.features.superseder import Superseder

ORDER: Final[tuple[type[Feature], ...]] = (
    ContainerLog, LiveLog, BulkLog, Rights, Superseder, ProxyPeer, ContainerTaskclusterProxy, BalrogVPNProxy,
    BalrogStageVPNProxy, RelengAPIProxy, TestdroidProxy, ContainerImage, EncryptedEnv, ContainerCaches, DockerSave,
    Capabilities, AllowPtrace, ContainerDevices, OwnProcessor, DiskLimit, ContainerInteractive,
    ResourceMonitor, ChainOfTrust, ContainerArtifacts, Dind,
)  # fmt: skip
