"""What a process of its own does for one run: ask the queue, leave the network, open the messages."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from taskward.signer import policy
from taskward.signer.answers import ForbiddenError, TryLaterError
from taskward.signer.confine import leave_network
from taskward.signer.decrypter.key import EncryptionKey
from taskward.signer.decrypter.message import Message, ViolationError
from taskward.signer.decrypter.protocol import Request
from taskward.signer.decrypter.settings import DecrypterSettings
from taskward.signer.keyholder import keyfiles
from taskward.signer.taskcluster import Taskcluster

HOME: Final = "openpgp"
PUBLIC_KEY: Final = "encryption.asc"
MAX_MESSAGES: Final = 200
MAX_TOTAL: Final = 1024 * 1024
"""Characters of all values together; Linux starts no program with more than about twice of that."""


class RefusedMessagesError(Exception):
    """The messages of this run are at fault; the text, for its log, has an incident id."""

    def __init__(self, index: int, violation: ViolationError) -> None:
        self.incident_id = str(uuid.uuid4())
        self.index = index
        super().__init__(f"secret data violation -- {violation}; incidentId: {self.incident_id}")


@dataclass(frozen=True)
class _Wanted:
    """What the queue's definition of the task says."""

    messages: tuple[str, ...]
    names: frozenset[str]


def open_messages(
    settings: DecrypterSettings, request: Request, clock: Callable[[], float] = time.time
) -> dict[str, str]:
    """Every variable of the run; this process has no network afterwards.

    Raises `ForbiddenError` when the run is not this worker's or has no messages, `TryLaterError` when the queue does
    not say, `RefusedMessagesError` for the first message that is at fault.
    """
    payload = _ask_queue(settings, request, clock)
    leave_network()
    values: dict[str, str] = {}
    try:
        wanted = _wanted(payload)
        with EncryptionKey.load(settings.keys.private_dir / HOME) as key:
            for encoded in wanted.messages:
                message = Message.parse(key.open(encoded))
                message.check(request.task_id, wanted.names | values.keys(), clock() * 1000)
                values[message.name] = message.value
                if sum(map(len, values.values())) > MAX_TOTAL:
                    raise ViolationError(f"the environment variables have more than {MAX_TOTAL} characters")
    except ViolationError as violation:
        raise RefusedMessagesError(len(values), violation) from None
    return values


def prepare_key(settings: DecrypterSettings) -> None:
    """Makes the key when there is none, proves it and publishes its public half; `UnusableKeyError` or OSError."""
    leave_network()
    home = settings.keys.private_dir / HOME
    with EncryptionKey.load_or_make(home, settings.keys.openpgp_algorithm, settings.keys.openpgp_expires_days) as key:
        keyfiles.write_new(settings.keys.public_dir / PUBLIC_KEY, key.public().encode(), 0o644)


def _ask_queue(settings: DecrypterSettings, request: Request, clock: Callable[[], float]) -> Mapping[str, Any]:
    """The payload of the task, whose run this worker holds."""
    taskcluster = Taskcluster(settings.deployment.root_url, settings.deployment.credentials)
    status = taskcluster.status(request.task_id)
    now = datetime.fromtimestamp(clock(), UTC)
    try:
        policy.held_run(request.task_id, request.run_id, status, settings.deployment.worker, now)
        payload = dict(taskcluster.definition(request.task_id)["payload"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TryLaterError("queue-answer", f"the queue answered in an unknown form: {error!r}") from error
    if not payload.get("encryptedEnv"):
        raise ForbiddenError("not-asked-for", "the task has no encryptedEnv")
    return payload


def _wanted(payload: Mapping[str, Any]) -> _Wanted:
    messages, env = payload["encryptedEnv"], payload.get("env") or {}
    if not isinstance(messages, list) or not all(isinstance(each, str) for each in messages):
        raise ViolationError("encryptedEnv is not a list of strings")
    if not isinstance(env, dict):
        raise ViolationError("env is not an object")
    if len(messages) > MAX_MESSAGES:
        raise ViolationError(f"the task has more than {MAX_MESSAGES} encrypted environment variables")
    return _Wanted(tuple(messages), frozenset(env))
