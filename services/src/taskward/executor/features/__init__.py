"""What a task can have beside its commands: one module and one class each.

Features start in the order of `ORDER`, after their scopes and artifact names were checked, and stop in reverse. The
first error, in starting or stopping, decides how the run ends; every feature that was started is stopped, whatever
happens. A new feature is a new module and a line here.
"""

from typing import Final

from taskward.executor.features.artifacts import Artifacts
from taskward.executor.features.backing_log import BackingLog
from taskward.executor.features.chain_of_trust import ChainOfTrust
from taskward.executor.features.encrypted_env import EncryptedEnv
from taskward.executor.features.feature import Feature
from taskward.executor.features.interactive import Interactive
from taskward.executor.features.live_log import LiveLog
from taskward.executor.features.loopback import LoopbackAudio, LoopbackVideo
from taskward.executor.features.max_run_time import MaxRunTime
from taskward.executor.features.metadata import Metadata
from taskward.executor.features.mounts import Mounts
from taskward.executor.features.os_groups import OsGroups
from taskward.executor.features.rdp import RdpInfo
from taskward.executor.features.resource_monitor import ResourceMonitor
from taskward.executor.features.run_task_as_current_user import RunTaskAsCurrentUser
from taskward.executor.features.superseder import Superseder
from taskward.executor.features.taskcluster_proxy import TaskclusterProxy

__all__ = ["ORDER", "BackingLog", "Feature", "LiveLog"]

ORDER: Final[tuple[type[Feature], ...]] = (
    BackingLog, LiveLog, TaskclusterProxy, Superseder, EncryptedEnv, OsGroups, Mounts, ResourceMonitor, Metadata,
    RunTaskAsCurrentUser, RdpInfo, LoopbackAudio, LoopbackVideo, ChainOfTrust, Artifacts, Interactive, MaxRunTime,
)  # fmt: skip
