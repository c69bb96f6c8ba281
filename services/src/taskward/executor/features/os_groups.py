"""Groups of the system that the task's user is a member of, as long as the task lives.

The task needs a scope for each. That is generic-worker's only guard; here some groups are refused whatever the scopes
say: those of taskward and of other tasks and root's own, always; and those whose members can make themselves root
(`PRIVILEGED`), unless ``[executor] os_groups_allowed`` names them.
"""

import grp
import os
from collections.abc import Iterator, Sequence
from typing import Final

from taskward.executor.account import FIRST_UID, PREFIX
from taskward.executor.errors import MalformedPayload
from taskward.executor.features.feature import Feature, either

PRIVILEGED: Final = frozenset(
    {
        "adm", "disk", "docker", "incus", "incus-admin", "kmem", "libvirt", "lxd", "mem", "podman",
        "shadow", "ssl-cert", "staff", "sudo", "systemd-journal", "wheel",
    }
)  # fmt: skip
_OURS: Final = ("tw-", PREFIX)


class OsGroups(Feature):
    """``payload.osGroups``."""

    name = "OS Groups"
    switch = "enable_os_groups"

    def requested(self) -> bool:
        """When there are any."""
        return bool(self.task.payload.os_groups)

    def scopes(self) -> Sequence[str]:
        """One for each group, in today's form or the first one."""
        task, base = self.task, "generic-worker:os-group:"
        pool = task.settings.worker.task_queue_id
        return [either(task, f"{base}{pool}/{group}", f"{base}{group}") for group in task.payload.os_groups]

    def flaws(self) -> Iterator[str]:
        """Groups that no task of this worker may have, as far as their names tell."""
        for name in self.task.payload.os_groups:
            if why := self._refusal(name):
                yield _refused(name, why)

    def start(self) -> None:
        """Joins them; a worker that is not root can only look whether it is in them itself."""
        task = self.task
        wanted = task.payload.os_groups
        if "runTaskAsCurrentUser" in task.payload.features:
            text = "Not adding task user to group(s) [{}] since we are running as current user."
            task.log.info(text.format(" ".join(wanted)))
        elif task.engine.isolated:
            task.engine.join([self._group(name).gr_name for name in wanted])
        else:
            self._require_own(wanted)

    def _refusal(self, name: str) -> str:
        """Why not; empty when the name is acceptable."""
        if not name or not name.isprintable() or set(name) & {",", ":", " "}:
            return "this is not the name of a group"
        if name == "root" or name.startswith(_OURS):
            return "it belongs to the worker itself"
        if name in PRIVILEGED and name not in self.task.settings.executor.os_groups_allowed:
            return (
                "its members can make themselves root; the worker's administrator can allow it with "
                "[executor] os_groups_allowed"
            )
        return ""

    def _group(self, name: str) -> grp.struct_group:
        """The group, unless its number is that of one that is refused."""
        try:
            group = grp.getgrnam(name)
        except KeyError:
            raise MalformedPayload(_refused(name, "there is no such group on this worker")) from None
        names = [each.gr_name for each in grp.getgrall() if each.gr_gid == group.gr_gid]
        if group.gr_gid == 0 or group.gr_gid >= FIRST_UID:
            raise MalformedPayload(_refused(name, "it belongs to the worker itself"))
        for why in filter(None, map(self._refusal, names)):
            raise MalformedPayload(_refused(name, why))
        return group

    def _require_own(self, wanted: Sequence[str]) -> None:
        own = sorted(_own_groups())
        if missing := [name for name in wanted if name not in own]:
            raise MalformedPayload(
                f"task payload contains unsupported osGroups: {_list(missing)}; this worker does not run as root, its "
                f"tasks are in: {_list(own)}"
            )


def _own_groups() -> set[str]:
    """Names of the groups of this process."""
    gids = {*os.getgroups(), os.getegid()}
    return {each.gr_name for each in grp.getgrall() if each.gr_gid in gids}


def _refused(name: str, why: str) -> str:
    return f"[osGroups] Could not add task user to OS group {name!r}: {why}"


def _list(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"
