"""What holds for all tests."""

import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

_LONGEST = ("integration/test_kills", "cluster", "integration", "cli/test_up", "cli/test_dev", "executor")
"""What takes longest begins first, so that no processor waits for it at the end; beginnings of paths."""

_NOTHING_IS_MISSING = os.environ.get("CI") == "true" and os.geteuid() == 0


def pytest_configure(config: pytest.Config) -> None:
    """Tests talk to what they start themselves: no proxy, no real Taskcluster; a slow machine is no failure."""
    hypothesis.settings.register_profile("taskward", database=None, deadline=None)
    hypothesis.settings.load_profile("taskward")
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy") or name.startswith(("TASKCLUSTER_", "TASKWARD_")):
            del os.environ[name]
    # a shell starts what it runs in the background with SIGINT ignored, nohup with SIGHUP, and everything that we start
    # inherits that: then no test could interrupt anything
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """See `_LONGEST`; the order within a file stays."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = str(item.path.relative_to(here))
        return next((at for at, start in enumerate(_LONGEST) if path.startswith(start)), len(_LONGEST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Thousands of collected tests are neither looked through for garbage nor copied by the processes that fork off."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as processors: a third of their time the tests wait for what they have started."""
    return -(-len(os.sched_getaffinity(0)) * 3 // 2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In continuous integration, run by root, everything is there, so a test that is skipped has failed."""
    report = yield
    if _NOTHING_IS_MISSING and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where nothing may be: {reason}"
    return report
