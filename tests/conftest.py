"""`--cluster`: tests marked `cluster` are left out without it; with it they run after all others.

Those marked `addons` need `--addons` too: where no container registry is reached, addons are built from source first,
which takes a machine with two cores ten minutes, once.
"""

from __future__ import annotations

import signal

import pytest

from deployer.core.redact import KNOWN

ON_CLUSTER = pytest.StashKey[set[str]]()
"""The tests of this run that use the real cluster."""


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start can be interrupted: a shell's background job would hand on that Ctrl-C is ignored."""
    config.stash[ON_CLUSTER] = set()
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_value_is_known() -> None:
    """What one test knows to be secret is nothing to the next."""
    KNOWN.forget()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cluster", action="store_true", help="also run the tests that need the real Minikube cluster")
    parser.addoption("--topologies", action="store_true", help="with --cluster: also those that deploy each topology")
    parser.addoption("--addons", action="store_true", help="also run those that need cluster addons")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is quick and proves the rest runs first; what is not asked for counts as deselected, not as skipped."""
    real = [item for item in items if item.get_closest_marker("cluster")]
    others = [item for item in items if not item.get_closest_marker("cluster")]
    asked = config.getoption("--cluster"), config.getoption("--addons")
    chosen = [item for item in real if asked[0] and (asked[1] or not item.get_closest_marker("addons"))]
    if len(chosen) < len(real):
        config.hook.pytest_deselected(items=[item for item in real if item not in chosen])
    items[:] = others + chosen
    config.stash[ON_CLUSTER] = {item.nodeid for item in chosen}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A run says whether anything of it was proven on the cluster."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    real = terminalreporter.config.stash[ON_CLUSTER]
    count = sum(report.when == "call" and report.nodeid in real for report in reports)
    words = "test" if count == 1 else "tests"
    terminalreporter.write_line(f"{count} {words} ran on the real cluster")
