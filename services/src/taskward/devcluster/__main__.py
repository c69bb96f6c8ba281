"""``python -m taskward.devcluster``: run the development cluster in the foreground."""

import sys

from taskward.devcluster.errors import DevclusterError
from taskward.devcluster.server import serve
from taskward.devcluster.settings import Settings


def main() -> int:
    """Run until a signal; return the exit code: 0 after a signal, 2 when it cannot start."""
    try:
        serve(Settings.parse(sys.argv[1:]))
    except DevclusterError as error:
        print(f"devcluster: {error}", file=sys.stderr)  # noqa: T201 - the reader is at the terminal
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
