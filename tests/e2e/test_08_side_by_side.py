"""Beside the application runs one that nobody planned, drafted by `init`, and neither of them disturbs the other."""

from __future__ import annotations

from bench.topologies.application import Application
from bench.topologies.journey import travel
from tests.e2e.browser import Browser
from tests.e2e.project import Project, tell


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
