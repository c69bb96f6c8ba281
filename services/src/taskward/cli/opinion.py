"""What Taskcluster thinks of the worker, asked while the worker is starting: its claimer finds out only afterwards."""

import threading
from typing import Final

from taskward.core.settings import Settings

_PATIENCE_S: Final = 0.5


class Opinion:
    """The first thing that `taskward doctor` would say against the deployment or the credentials."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._objection = "Taskcluster has not answered yet; try: taskward doctor"
        self._asking = threading.Thread(target=self._ask, daemon=True)

    def ask(self) -> None:
        """Begins to ask, once. No process is to be forked by this one meanwhile."""
        self._asking.start()

    def objection(self) -> str:
        """Empty when there is none. The answer is usually there by now; it is waited for only shortly."""
        self._asking.join(_PATIENCE_S)
        return self._objection

    def _ask(self) -> None:
        from taskward.cli.doctor import deployment

        failed = (f"{each.check}: {each.text}" for each in deployment(self._settings) if each.state == "failed")
        self._objection = next(failed, "")
