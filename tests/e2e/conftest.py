"""The deployment that all end-to-end tests share: made once, shown when a test fails, repaired after one."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.topologies.application import Application
from tests import DATA
from tests.cluster import CompletedCli, ensure_test_cluster
from tests.e2e.browser import Browser
from tests.e2e.project import FIGURES, Project, make_project, one_document

_PROJECT = pytest.StashKey[Project]()
_SIXTH = DATA / "sixth"
_EMAIL, _PASSWORD = "ann@example.com", "correct horse battery"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder runs on the cluster."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failure comes with what the deployment, the cluster and the last run say of themselves."""
    report = yield
    project = item.session.stash.get(_PROJECT, None)
    if report.failed and project is not None and Path(__file__).parent in item.path.parents:
        project.broken.append(item.name)
        if report.when == "call":
            report.sections.append(("the deployment", diagnosis(project)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that the tests measured."""
    if FIGURES:
        terminalreporter.section("measured on the cluster", sep="-")
        for name, value in FIGURES:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session", autouse=True)
def sign_of_life(request: pytest.FixtureRequest) -> Generator[None]:
    """Every half minute of a long test a line says which one is at work."""
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    over, begun = threading.Event(), time.monotonic()

    def tell() -> None:
        while not over.wait(30):
            test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("::")[2]
            if reporter is not None and capture is not None:
                with capture.global_and_fixture_disabled():
                    reporter.write_line(f"  {time.monotonic() - begun:4.0f} s on the cluster, now: {test}")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def diagnosis(project: Project) -> str:
    """What a person would ask first after a failure."""
    asks: dict[str, Callable[[], str]] = {
        "status": lambda: project.run("status", "-o", "json", timeout=60).stdout,
        "pods": lambda: project.kubectl("get", "pods", "-A", "-o", "wide"),
        "events": lambda: _end(project.kubectl("get", "events", "-A", "--sort-by=.lastTimestamp"), 25),
        "last run": lambda: last_record(project),
    }
    parts = []
    for title, ask in asks.items():
        try:
            parts.append(f"== {title}\n{ask()}")
        except Exception as error:
            parts.append(f"== {title}: {error}")
    return "\n".join(parts)


def last_record(project: Project) -> str:
    """The end of the newest run record."""
    records = sorted((project.state / "todo-deploy" / "runs").glob("*/events.jsonl"))
    return _end(records[-1].read_text(), 30) if records else "none"


def _end(text: str, lines: int) -> str:
    return "\n".join(text.splitlines()[-lines:])


@pytest.fixture(scope="session")
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone of this repository beside a running cluster with nothing of ours on it."""
    ensure_test_cluster()
    made = make_project(tmp_path_factory.mktemp("e2e"))
    request.session.stash[_PROJECT] = made
    done = made.run("down", "--volumes", "--yes")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="session")
def first_up(project: Project) -> CompletedCli:
    """The first `up` of the clone, which has no `.env` yet."""
    return project.run("up", "-o", "json", "--progress", "plain")


@pytest.fixture
def app(project: Project, first_up: CompletedCli) -> Project:
    """The application is deployed and in order, also after a test that failed on the way."""
    assert first_up.returncode == 0, first_up.stderr[-4000:]
    if project.broken:
        project.up()
        project.broken.clear()
    return project


@pytest.fixture(scope="session")
def urls(first_up: CompletedCli) -> dict[str, str]:
    """The addresses that the first `up` reported, by name."""
    return {one["name"]: one["url"].rstrip("/") for one in one_document(first_up.stdout)["data"]["urls"]}


@pytest.fixture(scope="session")
def ann(urls: dict[str, str]) -> Browser:
    """A registered user with a task, at the web frontend."""
    browser = Browser(urls["web"])
    browser.register(_EMAIL, _PASSWORD)
    browser.add("water the plants")
    return browser


@pytest.fixture(scope="session")
def password() -> tuple[str, str]:
    """The user's e-mail address and password."""
    return _EMAIL, _PASSWORD


@pytest.fixture
def sixth(app: Project, tmp_path: Path) -> Iterator[Application]:
    """The sixth application with the spec that `init` drafts for it, and nothing of it on the cluster."""
    folder = tmp_path / "lending"
    shutil.copytree(_SIXTH, folder)
    (folder / "todo-deploy.yaml").unlink()
    drafted = app.run("init", "--yes", cwd=folder)
    assert drafted.returncode == 0, drafted.stderr
    (folder / ".env").write_text("CATALOG_TOKEN=a-token-that-nobody-guesses\nSESSION_KEY=\n")
    (folder / ".env").chmod(0o600)
    made = Application(app, folder / "todo-deploy.yaml", hold="1s")
    yield made
    made.run("down", "--volumes", "--yes")
