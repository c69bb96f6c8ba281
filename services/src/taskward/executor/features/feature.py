"""The contract of a feature, and the checks that hold for all of them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar
from urllib.parse import quote

from taskward.executor.errors import MalformedPayload
from taskward.executor.task import Task


class Feature:
    """One feature of one run.

    `requested`, `scopes` and `reserved` are asked first; then `start`, once, before the commands; then `close`, when
    they are over; then `stop`, after every process of the task is dead. `close` and `stop` are called if `start` was,
    even when that failed, and perhaps in another process than `start` (after a crash), so they find out from the task
    and from Redis what there is to do. At last comes `retain`.

    Attributes:
        name: for people.
        key: of ``payload.features``; empty for a feature that every task has.
        switch: the setting of ``[executor]`` that offers it to tasks; empty for one that is always there.
        publishes: whether it takes files from the task; not done for a run that died with its process.
    """

    name: ClassVar[str]
    key: ClassVar[str] = ""
    switch: ClassVar[str] = ""
    publishes: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self.task = task

    def requested(self) -> bool:
        """Whether the task has it: one that is on by default does not stand against a worker that has it off."""
        payload = self.task.payload
        return not self.key or self.key in (payload.features if self.enabled() else payload.asked)

    def enabled(self) -> bool:
        """Whether this worker offers it."""
        return not self.switch or bool(getattr(self.task.settings.executor, self.switch))

    def flaws(self) -> Iterable[str]:
        """What is wrong with the request for it, as far as task and settings tell; touches nothing."""
        return ()

    def scopes(self) -> Sequence[str]:
        """What ``task.scopes`` must satisfy."""
        return ()

    def reserved(self) -> Sequence[str]:
        """Names of artifacts that it publishes; the payload's own artifacts must not have them."""
        return ()

    def start(self) -> None:
        """Before the commands.

        Raises:
            TaskEnded: the task cannot have it.
            EngineFailed: this machine cannot give it.
        """

    def close(self) -> None:
        """Before the task's processes are killed: whatever could still start some ends; errors as in `stop`."""

    def retain(self) -> None:
        """After the run was handed over: returns when the run's user and directory need not be kept any longer.

        Raises:
            ExecutorError, OSError: they are not kept.
        """

    def stop(self) -> None:
        """After the commands; errors are told to the task (`Task.fail`)."""


def admit(feature: Feature) -> None:
    """Checks a requested feature and reserves its artifact names.

    Raises:
        MalformedPayload: it is not offered here, scopes are missing, or a name is taken.
    """
    task = feature.task
    for objection in objections(feature):
        raise MalformedPayload(objection)
    for name in feature.reserved():
        owner = task.reserved.setdefault(name, feature.name)
        if owner != feature.name:
            raise MalformedPayload(
                f'Feature "{feature.name}" wishes to publish artifact {name} but feature {owner} has already '
                "reserved this artifact name"
            )


def objections(feature: Feature) -> Iterator[str]:
    """Why the task cannot have a requested feature: the switch, then its scopes, then its own flaws."""
    task, has = feature.task, task_scopes(feature.task)
    if not feature.enabled():
        pool = task.settings.worker.task_queue_id
        url = f"{task.settings.taskcluster.root_url.rstrip('/')}/worker-manager/{quote(pool, safe='')}"
        yield (
            f"This task requires feature {feature.key or feature.name}, which is not enabled on this worker pool "
            f"({pool}). Either create the task for a worker pool that has it or remove it from the task's payload, or "
            f"let the pool's administrators switch it on: [executor] {feature.switch}, see {url}"
        )
    if any(not satisfies(has, scope) for scope in feature.scopes()):
        yield (
            f'Feature "{feature.name}" requires scopes:\n\n{_list(feature.scopes())}\n\nbut task only has scopes:\n\n'
            f"{_list(has)}\n\nYou probably should add some scopes to your task definition."
        )
    yield from feature.flaws()


def either(task: Task, *forms: str) -> str:
    """Of several forms of one scope the one that the task has, else the first."""
    return next((scope for scope in forms if satisfies(task_scopes(task), scope)), forms[0])


def task_scopes(task: Task) -> list[str]:
    """What the task may do, with what its roles stand for."""
    return [str(scope) for scope in task.record.expanded_scopes or task.definition.get("scopes", ())]


def satisfies(has: Iterable[str], wanted: str) -> bool:
    """Whether one of the scopes `has` is `wanted`, or ends in ``*`` and begins it."""
    return any(wanted == scope or (scope.endswith("*") and wanted.startswith(scope[:-1])) for scope in has)


def _list(scopes: Iterable[str]) -> str:
    return "\n".join(f"  {scope}" for scope in scopes) or "  (none)"
