"""The run record: where a run stands, and the only ways it may move.

::

    claimed → preparing → running → collecting → uploading → finishing → uploaded → resolving → resolved
    └ claimer ┘└────────── executor ─────────┘  └──── uploader ────┘   └────── claimer ──────┘

Every change is compare-and-set inside Redis (`functions.lua`), so a step that is delivered twice is done once. A phase
with work in it has an `owner` (`process.py`: one life of one process); only that owner, or someone who has seen it
dead, may move the run on.

A record lies under three keys, by who may write them (`keys.py`): what was claimed is the claimer's; where the run
stands and how it ended is the executor's, too; only the phases of the uploads, and what goes wrong there, are the
uploader's. A run can therefore succeed only by the executor's word, which it gives at the fan-out.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from taskward.core import keys
from taskward.core.clock import format_time, parse_time
from taskward.core.commands import Commands, text
from taskward.core.errors import PhaseConflict
from taskward.core.ids import RunId
from taskward.core.jobs import UPLOAD, Job
from taskward.core.outcome import Outcome, exception
from taskward.core.uploads import FIELDS, Uploads

KEEP_RESOLVED_S: Final = 3600
ACTIVE_BEFORE_UPLOAD: Final = ("claimed", "preparing", "running", "collecting")

_HANDED_OVER: Final = "uploading"
"""What stands in ``tw:run`` from the fan-out on, whatever the uploads do."""
_OVER: Final = ("uploaded", "resolving", "resolved")
_REFERENCE: Final = "reference:"


@dataclass(frozen=True)
class Reference:
    """An artifact that is only a URL; `expires` is the queue's form of a time. The URL may hold a secret."""

    name: str
    url: str = field(repr=False)
    expires: str
    content_type: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `to_json`.

        Raises:
            ValueError: it is not of that form.
        """
        try:
            reference = cls(**json.loads(text))
        except (TypeError, RecursionError) as error:
            raise ValueError(f"not a reference: {error}") from error
        if not all(isinstance(value, str) for value in asdict(reference).values()):
            raise ValueError("not a reference: a value is no text")
        return reference

    def to_json(self) -> str:
        """The form that the record holds."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Record:
    """A run as Redis holds it.

    `abort` is set when the run must stop early: ``canceled``, ``deadline-exceeded``, ``claim-expired`` (the queue has
    decided already) or ``worker-shutdown``. `outcome` is the first error's word, or how the commands ended; None before
    they have. What cannot be read of it, though it should, is an ``internal-error``.
    `expanded_scopes` is ``task.scopes`` with what their roles stand for; empty when there are no roles in them.
    """

    run: RunId
    phase: str
    owner: str
    definition: Mapping[str, Any]
    taken_until: datetime
    worker_group: str
    worker_id: str
    outcome: Outcome | None
    abort: str
    references: tuple[Reference, ...]
    expanded_scopes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, run: RunId, claimed: Mapping[Any, Any], standing: Mapping[Any, Any], uploads: Uploads) -> Self:
        """A record from what its three keys hold."""
        task, told = _strings(claimed), _strings(standing)  # the definition may not be UTF-8: half of a surrogate pair
        outcome = _outcome(told.get("outcome", ""))
        if told["phase"] in (_HANDED_OVER, *_OVER):
            outcome = uploads.spoil(outcome, over=told["phase"] in _OVER)
        return cls(
            run=run,
            phase=_phase(told["phase"], uploads),
            owner=told.get("owner", ""),
            definition=json.loads(claimed[b"definition"]),
            taken_until=parse_time(task["takenUntil"]),
            worker_group=task["workerGroup"],
            worker_id=task["workerId"],
            outcome=outcome,
            abort=task.get("abort", ""),
            references=tuple(_references(told)),
            expanded_scopes=tuple(json.loads(task["expandedScopes"])),
        )


def _compact(definition: Mapping[str, Any]) -> bytes:
    """Not larger than the queue allows it to be (10 MB), whatever characters are in it."""
    text = json.dumps(definition, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def _strings(fields: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name, "utf-8", "replace"): str(value, "utf-8", "replace") for name, value in fields.items()}


def _phase(told: str, uploads: Uploads) -> str:
    return uploads.phase if told == _HANDED_OVER else told


def _outcome(text: str) -> Outcome | None:
    try:
        return Outcome.from_json(text) if text else None
    except ValueError:
        return exception("internal-error", "what Redis holds as the run's outcome cannot be read")


def _references(told: Mapping[str, str]) -> Iterator[Reference]:
    for name, value in told.items():
        if name.startswith(_REFERENCE):
            with contextlib.suppress(ValueError):
                yield Reference.parse(value)


class Records:
    """All run records; every method is safe to call twice and from several processes at once."""

    def __init__(self, redis: Commands) -> None:
        self._redis = redis

    def active(self) -> frozenset[RunId]:
        """Every run that is claimed and not yet resolved."""
        return frozenset(RunId.parse(text(key)) for key in self._redis.smembers(keys.RUNS))

    def read(self, run: RunId) -> Record | None:
        """The record, or None when the run is unknown: never claimed here, resolved, or claimed by a version that kept
        other records."""
        with self._redis.pipeline() as pipe:
            pipe.hgetall(keys.task(run.key))
            pipe.hgetall(keys.run(run.key))
            pipe.hmget(keys.upload(run.key), FIELDS)
            claimed, standing, uploads = pipe.execute(raise_on_error=False)
        for answer in (claimed, standing):
            if isinstance(answer, Exception):
                raise answer
        known = b"definition" in claimed and b"phase" in standing
        return Record.parse(run, claimed, standing, Uploads.parse(uploads)) if known else None

    def standing(self, run: RunId) -> tuple[str, str]:
        """Phase and `takenUntil`, as the queue writes it, of a run that is active: for people."""
        with self._redis.pipeline() as pipe:
            pipe.hmget(keys.task(run.key), ["takenUntil"])
            pipe.hmget(keys.run(run.key), ["phase"])
            pipe.hmget(keys.upload(run.key), FIELDS)
            (taken_until,), (phase,), uploads = pipe.execute(raise_on_error=False)
        return _phase(text(phase), Uploads.parse(uploads)), text(taken_until)

    def claim(self, run: RunId, definition: Mapping[str, Any], taken_until: datetime, worker_group: str,
              worker_id: str, credentials: str, expanded_scopes: Sequence[str] = ()) -> bool:  # fmt: skip
        """A new claim: record, credentials and execute job in one step; False when it was there already."""
        fields: list[str | bytes] = [
            "definition", _compact(definition), "takenUntil", format_time(taken_until),
            "workerGroup", worker_group, "workerId", worker_id, "expandedScopes", json.dumps(expanded_scopes),
        ]  # fmt: skip
        job = Job.execute(run)
        names = [keys.task(run.key), keys.run(run.key), keys.RUNS, keys.credentials(run.key), *job.keys]
        return bool(self._call("tw_claim", names, run.key, credentials, len(fields), *fields, job.id, *job.fields()))

    def renew(self, run: RunId, taken_until: datetime, credentials: str) -> None:
        """New credentials after a reclaim; the proxy is told, the uploader reads them for each attempt."""
        with self._redis.pipeline() as pipe:
            pipe.set(keys.credentials(run.key), credentials)
            pipe.hset(keys.task(run.key), "takenUntil", format_time(taken_until))
            pipe.publish(keys.CREDENTIALS_CHANNEL, run.key)
            pipe.execute()

    def stored_credentials(self, run: RunId) -> str:
        """The JSON of the newest claim credentials; empty when the run is resolved."""
        return text(self._redis.get(keys.credentials(run.key)))

    def move(self, run: RunId, allowed: Sequence[str], phase: str, owner: str, *, replace: str = "",
             outcome: Outcome | None = None) -> str:  # fmt: skip
        """Moves a run to `phase`, owned by `owner`; returns the phase it came from.

        Args:
            run: which run.
            allowed: the phases it may come from; ``uploading`` stands for all phases of the uploads.
            phase: the phase it goes to.
            owner: who works on it from now on; empty for nobody.
            replace: an owner that the caller has seen dead.
            outcome: what the record shall hold from now on.

        Raises:
            PhaseConflict: it was elsewhere, or somebody else's; nothing was changed.
        """
        more = ["outcome", outcome.to_json()] if outcome else []
        done, was, owned = self._call("tw_move", [keys.run(run.key)], ",".join(allowed), phase, owner, replace, *more)
        if not done:
            raise PhaseConflict(run.key, f"phase {text(was)}, owner {text(owned) or 'nobody'}")
        return text(was)

    def fan_out(self, run: RunId, owner: str, batches: int, outcome: Outcome) -> None:
        """collecting → uploading with `batches` upload jobs, numbered from 0; `outcome` is how the run has ended.

        Raises:
            PhaseConflict: the run is not being collected by `owner`.
        """
        finish = Job.finish(run)
        jobs = [Job.upload(run, number) for number in range(batches)]
        args: list[str | bytes | int] = [owner, outcome.to_json(), len(finish.fields())]
        for job in (finish, *jobs):
            args += [job.id, *job.fields()]
        names = [
            keys.run(run.key),
            keys.upload(run.key),
            keys.pending(run.key),
            *UPLOAD.keys,
            finish.key,
            *(job.key for job in jobs),
        ]
        done, was, owned = self._call("tw_fanout", names, *args)
        if not done:
            raise PhaseConflict(run.key, f"phase {text(was)}, owner {text(owned) or 'nobody'}")

    def publish(self, run: RunId) -> None:
        """Asks an uploader to send the outbox's early artifact (`outbox.write_early`) now, while the run goes on."""
        job = Job.publish(run)
        self._call("tw_put", job.keys, job.id, *job.fields())

    def batch_is_pending(self, run: RunId, number: int) -> bool:
        """Whether an upload batch still has to be done."""
        return bool(self._redis.sismember(keys.pending(run.key), Job.upload(run, number).id))

    def batch_done(self, run: RunId, number: int) -> None:
        """One batch less; the last one queues the finish job. A repeat changes nothing."""
        finish = Job.finish(run)
        names = [keys.upload(run.key), keys.pending(run.key), finish.key, *UPLOAD.keys]
        self._call("tw_done", names, Job.upload(run, number).id, finish.id, *finish.fields())

    def uploaded(self, run: RunId) -> bool:
        """finishing → uploaded: hands the run to the claimer to resolve; False when it was in another phase."""
        return bool(self._call("tw_uploaded", [keys.upload(run.key), keys.INBOX], run.key))

    def end(self, run: RunId, allowed: Sequence[str], outcome: Outcome) -> bool:
        """Ends a run that nobody else will end, for the claimer; False when it was not in one of the `allowed` phases.

        Raises:
            ValueError: `outcome` is a success, which only `fan_out` can tell.
        """
        if outcome.succeeded:
            raise ValueError(f"run {run.key}: a run that is ended has not succeeded")
        names = [keys.run(run.key), keys.upload(run.key), keys.INBOX]
        return bool(self._call("tw_end", names, run.key, ",".join(allowed), outcome.to_json()))

    def resolved(self, run: RunId) -> None:
        """The queue knows the outcome: free the slot, drop the credentials; for an hour nobody can claim it again."""
        names = [
            keys.task(run.key), keys.run(run.key), keys.upload(run.key), keys.RUNS, keys.credentials(run.key),
            keys.pending(run.key), keys.manifest(run.key), keys.notes(run.key),
        ]  # fmt: skip
        self._call("tw_resolved", names, run.key, KEEP_RESOLVED_S)

    def abort(self, run: RunId, reason: str) -> None:
        """Asks whoever works on the run to stop; the first reason stands."""
        self._redis.hsetnx(keys.task(run.key), "abort", reason)

    def abort_reason(self, run: RunId) -> str:
        """Why the run must stop, or an empty string; cheap enough to ask several times a second."""
        return text(self._redis.hget(keys.task(run.key), "abort"))

    def announce(self, run: RunId, reference: Reference) -> None:
        """Asks the claimer to publish a reference; one of the same name is replaced."""
        self._redis.hset(keys.run(run.key), f"{_REFERENCE}{reference.name}", reference.to_json())
        self._redis.rpush(keys.INBOX, run.key)

    def worsen(self, run: RunId, outcome: Outcome) -> None:
        """An upload went wrong: the outcome becomes `outcome`, unless it was bad before (first error wins)."""
        self._redis.hsetnx(keys.upload(run.key), "outcome", outcome.to_json())

    def _call(self, function: str, names: Sequence[str], *args: str | bytes | int) -> Any:
        return self._redis.fcall(function, len(names), *names, *args)
