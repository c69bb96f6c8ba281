"""Who has which phone: in Redis, so that a phone is given back even by the next life of this process."""

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from taskward.proxy.devices.cloud import CloudError, DeviceCloud
from taskward.proxy.errors import StoreUnavailable
from taskward.proxy.store import Store

log = logging.getLogger(__name__)

SWEEP_EVERY_S: Final = 15.0


@dataclass(frozen=True)
class Held:
    """A phone that a run has: numbers of the session and of the device, and the upstream that it came by."""

    session: int
    device: int
    upstream: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for what is not ours."""
        try:
            known = json.loads(text)
            return cls(int(known["session"]), int(known["device"]), str(known["upstream"]))
        except (ValueError, KeyError, TypeError):
            return None


class Sessions:
    """The phones of all runs; usable by many threads.

    A phone goes back when its task says so, when the executor says that the run is over, and, should neither happen,
    when the run has no credentials any more.
    """

    def __init__(self, store: Store, clouds: Mapping[str, DeviceCloud]) -> None:
        self._store = store
        self._clouds = clouds

    def of(self, run_key: str) -> Held | None:
        """What the run has. StoreUnavailable: ask again later."""
        text = self._store.devices().get(run_key)
        return None if text is None else Held.parse(text)

    def keep(self, run_key: str, upstream: str, session: Mapping[str, Any], device: int) -> Held:
        """The run has it from now on.

        CloudError when that cannot be remembered, or the run is over: then the phone is given back.
        """
        held = Held(int(session["id"]), device, upstream)
        try:
            self._store.keep_device(run_key, json.dumps(held.__dict__))
            over = self._store.credentials(run_key) is None
        except StoreUnavailable as error:
            self._clouds[upstream].release_session(held.session)
            raise CloudError("the worker cannot remember the device") from error
        if over:
            self.release(run_key)
            raise CloudError("the task is over")
        return held

    def release(self, run_key: str) -> bool:
        """Give the run's phone back; False when it has none. CloudError: it will be tried again."""
        held = self.of(run_key)
        if held is None or held.upstream not in self._clouds:
            return False
        self._clouds[held.upstream].release_session(held.session)
        self._store.forget_device(run_key)
        return True

    def watch(self) -> None:
        """Start a thread that gives back, now and then, what runs that are over have left."""
        threading.Thread(target=self._watch, name="devices", daemon=True).start()

    def sweep(self) -> None:
        """Give back what runs without credentials have."""
        for run_key in self._store.devices():
            if self._store.credentials(run_key) is None:
                log.info("run=%s is over: its device goes back", run_key)
                try:
                    self.release(run_key)
                except CloudError as error:
                    log.warning("run=%s: its device cannot be given back yet: %s", run_key, error)

    def _watch(self) -> None:
        while True:
            try:
                self.sweep()
            except StoreUnavailable as error:
                log.debug("devices are looked at later: %s", error)
            time.sleep(SWEEP_EVERY_S)
