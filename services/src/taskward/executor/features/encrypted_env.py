"""Variables that only this worker's decrypter can read; their values are nowhere but in the task's environment."""

import time
from dataclasses import replace
from typing import Final

from taskward.core.outcome import Outcome, exception, failed
from taskward.executor.errors import EngineFailed, TaskEnded
from taskward.executor.features.feature import Feature
from taskward.executor.payload import Payload
from taskward.signer.decrypter.client import Decrypter, DecrypterRefused, DecrypterUnavailable, SecretDataViolation

_GIVE_UP_AFTER_S: Final = 60.0
_PAUSE_S: Final = 0.5


class EncryptedEnv(Feature):
    """``payload.encryptedEnv``: from its start on, the values are in ``payload.env``, in this process only.

    Its place is after what may decide that the task is not run, before whatever looks at the environment.
    """

    name = "Encrypted Environment"
    switch = "enable_encrypted_env"

    def requested(self) -> bool:
        """When there are messages; a worker without a key refuses them: the task would miss what it needs."""
        return bool(self.task.payload.encrypted_env)

    def start(self) -> None:
        """The decrypter takes the messages from the queue and checks them itself; here they are of no interest.

        Raises:
            TaskEnded: a message is at fault; the text is docker-worker's.
            EngineFailed: nobody decrypts them for us.
        """
        task = self.task
        try:
            values = self._values()
        except SecretDataViolation as violation:
            raise TaskEnded(_outcome(task.payload, str(violation))) from None
        except (DecrypterRefused, DecrypterUnavailable) as error:
            raise EngineFailed(f"payload.encryptedEnv cannot be decrypted: {error}") from error
        task.payload = replace(task.payload, env={**task.payload.env, **values})

    def _values(self) -> dict[str, str]:
        """Asks again while the decrypter is away: it may be starting."""
        run = self.task.run
        decrypter = Decrypter(self.task.layout.decrypter_socket)
        deadline = time.monotonic() + _GIVE_UP_AFTER_S
        while True:
            try:
                return decrypter.values(run.task_id, run.run_id, self._look)
            except DecrypterUnavailable:
                if time.monotonic() > deadline:
                    raise
            self._look()
            time.sleep(_PAUSE_S)

    def _look(self) -> None:
        """Whether the run must end: a task that waits can be canceled."""
        if self.task.watch is not None:
            self.task.watch.check()


def _outcome(payload: Payload, text: str) -> Outcome:
    """docker-worker fails the task; generic-worker, which never decrypted, has a word for such payloads."""
    if payload.docker:
        return failed(f"Docker configuration could not be created. {text}")
    return exception("malformed-payload", text)
