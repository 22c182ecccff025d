"""Settings of the whole suite: hypothesis profiles, and no skipping in CI."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

# No deadlines: a slow machine is not a bug. Derandomised, so that a red run is red again;
# `make soak` (--hypothesis-profile=deep) is where new examples are looked for.
settings.register_profile("fast", max_examples=60, deadline=None, derandomize=True, database=None)
settings.register_profile("deep", max_examples=2500, deadline=None, print_blob=True)
settings.load_profile("fast")

# A shell lets its background jobs ignore Ctrl-C, and what they start does so too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    # hypothesis also tries constants of whatever modules a worker has imported by then: another
    # order of the tests would be other examples. `make soak` keeps that.
    if config.getoption("hypothesis_profile", default=None) != "deep":
        vars(providers)["_get_local_constants"] = lambda: providers._local_constants


type Report = pytest.TestReport | pytest.CollectReport


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a folder with a short name, unlike pytest's: a Unix socket's path has a limit."""
    with tempfile.TemporaryDirectory(prefix="mg-") as name:
        yield Path(name)


def _refuse_skip(report: Report) -> None:
    # A skipped test is a guard that nobody runs, and a green CI would hide it.
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where a skip is a failure: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
