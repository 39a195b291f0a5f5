"""Beside the application runs one that nobody planned, drafted by `init`, and neither of them disturbs the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.topologies.application import Application
from bench.topologies.journey import travel
from tests.e2e.browser import Browser
from tests.e2e.project import Project, tell
from tests.shapes import SHAPES, write


def test_an_application_that_nobody_planned_lives_beside_ours(
    app: Project, sixth: Application, urls: dict[str, str]
) -> None:
    """It takes nothing from ours, asks for nothing of ours, and leaves nothing behind."""
    bob = Browser(urls["web"])
    bob.register("bob@example.com", "another horse, another battery")
    bob.add("lend a book")
    pods, revision, tasks = app.pods(), app.revision(), bob.tasks()
    journey = travel(sixth)
    assert journey.problems == ()
    assert journey.ok
    for step, seconds in journey.seconds.items():
        tell(f"an application drafted by init, {step}", f"{seconds:.1f} s")
    assert (app.pods(), app.revision(), bob.tasks()) == (pods, revision, tasks)


@pytest.mark.parametrize("name", ["build-argument"])
def test_a_repository_without_a_spec_runs_without_an_edit(app: Project, name: str, tmp_path: Path) -> None:
    """`init` and `up` are all that it takes; `bench/results/shapes.md` has the others."""
    folder = write(SHAPES[name], tmp_path / f"shape-{name}")
    assert app.run("init", "--yes", cwd=folder).returncode == 0
    try:
        assert len(app.up(cwd=folder)["urls"]) == SHAPES[name].urls
        assert not app.up(cwd=folder)["changed"]
    finally:
        app.run("down", "--volumes", "--yes", cwd=folder)
