"""``taskward`` and ``python -m taskward.cli``."""

import signal
import sys

from taskward.cli.interrupts import leaving


def main() -> None:
    """Ends with the command's exit code; with that of an interrupt from the beginning, but not after the end."""
    with leaving():
        from taskward.cli.ending import exit_code
    try:
        sys.exit(exit_code())
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
