"""Signed hashes of the artifacts: what is to be signed is put together here; the uploader asks the signer."""

from collections.abc import Sequence
from typing import Final

from taskward.core.clock import format_time
from taskward.core.outbox import Entry
from taskward.core.outcome import exception
from taskward.executor.collect import open_outbox, take_copy
from taskward.executor.features.feature import Feature

CERTIFIED_LOG: Final = "public/logs/certified.log"
_FILE: Final = "certified.log"
_KEYS: Final = frozenset({"chainOfTrust", "generateCertificate"})
_SIGNED: Final = (
    "public/chainOfTrust.json.asc", "public/chain-of-trust.json", "public/chain-of-trust.json.sig",
    "public/provenance.intoto.json", "public/logs/certificate.json.gpg",
)  # fmt: skip
"""The signer certifies no artifact that is named like any document of its own."""


class ChainOfTrust(Feature):
    """``features.chainOfTrust``, and ``features.generateCertificate``, its first form."""

    name = "Chain of Trust"
    switch = "enable_chain_of_trust"
    publishes = True

    def requested(self) -> bool:
        """One of the two."""
        return bool(self.task.payload.features & _KEYS)

    def reserved(self) -> Sequence[str]:
        """The signed documents and the log that they vouch for."""
        return (*_SIGNED, CERTIFIED_LOG)

    def stop(self) -> None:
        """A copy of the log as it is now: later lines are not vouched for."""
        task = self.task
        outbox = task.layout.outbox(task.run)
        try:
            open_outbox(outbox)
            with task.log.path.open("rb") as log:
                size_bytes = take_copy(log.fileno(), outbox, _FILE)
        except OSError as error:
            task.fail(exception("internal-error", f"the log could not be certified: {error.strerror}"))
            return
        expires = format_time(task.expires)
        task.entries.append(Entry(CERTIFIED_LOG, _FILE, size_bytes, "text/plain; charset=utf-8", "gzip", expires))
