"""`--cluster`: tests marked `cluster` are left out without it; with it they run after all others."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Programs that tests start can be interrupted: a shell's background job would hand on that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="also run the tests that need the real Minikube cluster")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is quick and proves the rest is told first; what is not asked for counts as deselected, not as skipped."""
    real = [item for item in items if item.get_closest_marker("cluster")]
    others = [item for item in items if not item.get_closest_marker("cluster")]
    if not config.getoption("--cluster") and real:
        config.hook.pytest_deselected(items=real)
        real = []
    items[:] = others + real


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A run says whether anything of it was proven on the cluster."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    count = sum(report.when == "call" and "cluster" in report.keywords for report in reports)
    words = "test" if count == 1 else "tests"
    terminalreporter.write_line(f"{count} {words} ran on the real cluster")
