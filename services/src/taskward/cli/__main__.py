"""``taskward`` and ``python -m taskward.cli``."""

import signal
import sys

from taskward.cli.interrupts import leaving


def main() -> None:
    """Ends with the command's exit code; with that of an interrupt from the beginning, but not after the end."""
    with leaving():
        from taskward.cli.ending import exit_code
    code = exit_code()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    main()
