"""What is said at the decrypter's socket, in the frames of `taskward.signer.wire`.

One connection asks for one run: the caller sends one frame, ``{"taskId", "runId"}``. The decrypter answers with two, a
verdict and its content: ``values`` and ``{NAME: value, …}``; or as UTF-8 text why not: ``violation`` (the task's
messages are at fault), ``refused`` (this run's messages are not opened for this caller), ``later`` (something did not
answer; asking again may help).
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

VALUES: Final = b"values"
VIOLATION: Final = b"violation"
REFUSED: Final = b"refused"
LATER: Final = b"later"

MAX_REQUEST_BYTES: Final = 256
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024

_TASK_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_MAX_RUN_ID: Final = 1000


class MalformedRequestError(ValueError):
    """Not a request of this protocol."""


@dataclass(frozen=True)
class Request:
    """Whose messages are to be opened."""

    task_id: str
    run_id: int

    @classmethod
    def parse(cls, frame: bytes) -> Self:
        """Raises `MalformedRequestError`."""
        try:
            value: Any = json.loads(frame)
        except (ValueError, RecursionError) as error:
            raise MalformedRequestError(f"the request is not JSON: {error}") from error
        if not isinstance(value, dict) or value.keys() != {"taskId", "runId"}:
            raise MalformedRequestError("the request has to be an object with taskId and runId")
        task_id, run_id = value["taskId"], value["runId"]
        if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
            raise MalformedRequestError("taskId has to be 22 characters of A-Za-z0-9_-")
        if type(run_id) is not int or not 0 <= run_id <= _MAX_RUN_ID:
            raise MalformedRequestError(f"runId has to be a whole number from 0 to {_MAX_RUN_ID}")
        return cls(task_id, run_id)

    def frame(self) -> bytes:
        """What `parse` reads."""
        return json.dumps({"taskId": self.task_id, "runId": self.run_id}).encode()
