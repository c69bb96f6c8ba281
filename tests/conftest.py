"""What holds for all tests."""

import os
from collections.abc import Generator

import hypothesis
import pytest

_NOTHING_IS_MISSING = os.environ.get("CI") == "true" and os.geteuid() == 0


def pytest_configure(config: pytest.Config) -> None:
    """Tests talk to what they start themselves: no proxy, no real Taskcluster; a slow machine is no failure."""
    hypothesis.settings.register_profile("taskward", database=None, deadline=None)
    hypothesis.settings.load_profile("taskward")
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy") or name.startswith(("TASKCLUSTER_", "TASKWARD_")):
            del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In continuous integration, run by root, everything is there, so a test that is skipped has failed."""
    report = yield
    if _NOTHING_IS_MISSING and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where nothing may be: {reason}"
    return report
