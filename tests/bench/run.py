"""Prints all figures: runs each ``bench_*.py`` beside this file, one after the other.

    python tests/bench/run.py [--quick] [NAME…]

Exit code 1 when one of them failed; the others still run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def main() -> int:
    """Each benchmark in a process of its own, so that none disturbs the next."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(_HERE.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(known)}")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - known.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    failed = [name for name in arguments.names or known if not _run(name, known[name], arguments.quick)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _run(name: str, path: Path, quick: bool) -> bool:
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    code = subprocess.call([sys.executable, str(path), *(["--quick"] if quick else [])])
    print(f"({time.monotonic() - began:.0f} s)", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
