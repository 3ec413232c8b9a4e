"""pytest plugin (`-p scripts.no_skips`): a test that was to run and was skipped is a failure."""

from __future__ import annotations

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note each skipped test; an expected failure is reported as skipped too, and is none."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Whole files are skipped while they are collected."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what is the matter."""
    if _skipped:
        terminalreporter.write_line(f"{len(_skipped)} tests were skipped that must run:", red=True)
        for name in _skipped:
            terminalreporter.write_line(f"  {name}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End with a failure."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
