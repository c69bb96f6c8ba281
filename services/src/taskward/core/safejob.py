"""RQ with the doors shut: only listed functions run, JSON only, nothing is imported because a message names it.

Stock RQ runs whatever function a message names, with any serializer; it also imports callbacks and calls webhooks.
Here a process lists its functions by plain names in a `Registry`; a message that is anything else is refused and ends
in RQ's failed registry, where the reaper finds it.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job

from taskward.core.errors import JobRefused
from taskward.core.ids import RunId

MAX_STORED_BYTES: Final = 4096
MAX_DATA_BYTES: Final = 8192
_FORBIDDEN: Final = (
    "success_callback_name", "failure_callback_name", "stopped_callback_name", "webhooks", "dependency_ids",
    "dependency_id", "meta", "group_id", "repeats_left", "rate_limit_key",
)  # fmt: skip
_REFUSED: Final = zlib.compress(b'["",null,[],{}]')


@dataclass
class Registry:
    """The functions that one queue may call: plain name → (callable, argument types)."""

    queue: str
    functions: dict[str, tuple[Callable[..., None], Mapping[str, type]]] = field(default_factory=dict)

    def add(self, name: str, function: Callable[..., None], **arguments: type) -> None:
        """Lists `function` under `name`; `arguments` are its keyword arguments and their exact types."""
        self.functions[name] = (function, arguments)

    def resolve(self, name: object, arguments: object) -> Callable[..., None]:
        """The function for a message.

        Raises:
            JobRefused: not listed, or other arguments than listed.
        """
        if not isinstance(name, str) or name not in self.functions:
            raise JobRefused(f"queue {self.queue}: function {str(name)[:80]!r} is not listed")
        function, types = self.functions[name]
        if not isinstance(arguments, dict) or {k: type(v) for k, v in arguments.items()} != dict(types):
            raise JobRefused(f"queue {self.queue}: {name} wants {', '.join(types)} and nothing else")
        return function


class StrictJSON:
    """RQ's serializer interface, JSON only."""

    @staticmethod
    def dumps(value: object) -> bytes:
        """Compact JSON; no NaN."""
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()

    @staticmethod
    def loads(data: bytes) -> Any:
        """A JSON value."""
        return json.loads(bytes(data))


class SafeJob(Job):
    """A job that runs a listed function or nothing; `registry` is set once by the worker process."""

    registry: ClassVar[Registry] = Registry("none")
    refused: str = ""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:
        super().__init__(id, connection=connection, serializer=StrictJSON)

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Reads the hash; whatever does not belong there is dropped and makes the job refuse to run."""
        fields = {k.decode(): v for k, v in raw_data.items()}
        if "data" not in fields:
            raise NoSuchJobError(f"job {self.id} has no data")
        fields.pop("result", None)  # RQ writes one when a function asks to be repeated; nobody reads it
        bad = [name for name in _FORBIDDEN if fields.pop(name, None)]
        self.refused = f"job {self.id}: {', '.join(bad)} not allowed" if bad else ""
        if fields.get("origin") != self.registry.queue.encode():
            made_for = fields.get("origin", b"")
            self.refused = f"job {self.id}: made for queue {made_for!r}, found in {self.registry.queue!r}"
            fields["origin"] = self.registry.queue.encode()
        if not _inflates(fields["data"]):
            self.refused = self.refused or f"job {self.id}: data is too large or damaged"
            fields["data"] = _REFUSED
        super().restore({k.encode(): v for k, v in fields.items()})

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[Any, Any]:
        """The hash to store; never a result, which `restore` would refuse when the job is put back."""
        return dict(super().to_dict(include_meta, include_result=False))

    # RQ imports what these name; here there is nothing to import.

    @property
    def success_callback(self) -> None:
        """None, whatever the message says."""

    @property
    def failure_callback(self) -> None:
        """None, whatever the message says."""

    @property
    def stopped_callback(self) -> None:
        """None, whatever the message says."""

    @property
    def func(self) -> Callable[..., None]:
        """The listed function.

        Raises:
            JobRefused: the message is not one of ours.
        """
        if self.refused:
            raise JobRefused(self.refused)
        message = self.serializer.loads(self.data)
        if not isinstance(message, list) or len(message) != 4 or message[1] is not None or message[2] != []:
            raise JobRefused(f"job {self.id}: only keyword arguments are allowed")
        return self.registry.resolve(message[0], message[3])

    def run_id(self) -> RunId:
        """The run that the arguments name.

        Raises:
            JobRefused: they name none.
        """
        try:
            return RunId(self.kwargs["task_id"], self.kwargs["run_id"])
        except (KeyError, TypeError, ValueError) as error:
            raise JobRefused(f"job {self.id}: {error}") from error


class SafeQueue(Queue):
    """A queue of `SafeJob`."""

    def __init__(self, name: str, connection: Any = None, **options: Any) -> None:
        options.update(serializer=StrictJSON, job_class=SafeJob)
        super().__init__(name, connection=connection, **options)


def _inflates(data: bytes) -> bool:
    if len(data) > MAX_STORED_BYTES:
        return False
    stream = zlib.decompressobj()
    try:
        stream.decompress(data, MAX_DATA_BYTES)
    except zlib.error:
        return False
    return stream.eof and not stream.unconsumed_tail
