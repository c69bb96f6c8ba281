"""Encrypted environment variables, from the author's side: the message that only one worker can open."""

import base64
import json
import tempfile
from dataclasses import dataclass, field
from datetime import datetime

from taskward.cli.errors import CommandError

_NOT_A_KEY = "no OpenPGP key that can be encrypted to"


@dataclass(frozen=True)
class Variable:
    """One variable for one task, valid from `start` to `end`."""

    task_id: str
    name: str
    value: str = field(repr=False)
    start: datetime
    end: datetime

    def message(self) -> bytes:
        """The JSON that docker-worker has defined; times in milliseconds."""
        return json.dumps(
            {
                "messageVersion": 1,
                "taskId": self.task_id,
                "startTime": int(self.start.timestamp() * 1000),
                "endTime": int(self.end.timestamp() * 1000),
                "name": self.name,
                "value": self.value,
            }
        ).encode()

    def sealed(self, public_key: str) -> str:
        """An entry for ``payload.encryptedEnv``: base64 of a binary OpenPGP message to the armored `public_key`.

        Raises:
            CommandError: it is not exactly one key, or one that cannot be encrypted to, any more perhaps.
        """
        import gnupg

        with tempfile.TemporaryDirectory(prefix="twe") as home:
            gpg = gnupg.GPG(gnupghome=home, options=["--no-autostart", "--disable-dirmngr"])
            gpg.encoding = "utf-8"
            fingerprints = set(gpg.import_keys(public_key).fingerprints)
            if len(fingerprints) != 1:
                raise CommandError(f"the key file holds {len(fingerprints)} OpenPGP keys, one is needed")
            sealed = gpg.encrypt(self.message(), *fingerprints, always_trust=True, armor=False)
            if not sealed.ok:
                raise CommandError(f"{_NOT_A_KEY}: {sealed.status}; get the worker's present one")
            return base64.b64encode(sealed.data).decode()
