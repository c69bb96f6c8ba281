"""``taskward`` and ``python -m taskward.cli``."""

import sys

from taskward.cli.interrupts import leaving


def main() -> None:
    """Ends with the command's exit code; with that of an interrupt from the beginning."""
    with leaving():
        from taskward.cli.ending import exit_code
    sys.exit(exit_code())


if __name__ == "__main__":
    main()
