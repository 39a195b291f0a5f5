"""Beside the application runs one that nobody planned, drafted by `init`, and neither of them disturbs the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployer.errors import ExitCode
from tests.e2e.browser import Browser
from tests.e2e.project import Project, tell
from tests.topologies.application import Application
from tests.topologies.journey import travel

SIXTH = Path(__file__).parents[1] / "data" / "sixth"


@pytest.fixture
def sixth(app: Project, tmp_path: Path) -> Iterator[Application]:
    """The sixth application with the spec that `init` drafts for it, and nothing of it on the cluster."""
    folder = tmp_path / "lending"
    shutil.copytree(SIXTH, folder)
    (folder / "todo-deploy.yaml").unlink()
    drafted = app.run("init", "--yes", cwd=folder)
    assert drafted.returncode == 0, drafted.stderr
    (folder / ".env").write_text("CATALOG_TOKEN=a-token-that-nobody-guesses\nSESSION_KEY=\n")
    (folder / ".env").chmod(0o600)
    made = Application(app, folder / "todo-deploy.yaml", hold="1s")
    yield made
    made.run("down", "--volumes", "--yes")


def test_an_application_that_nobody_planned_lives_beside_ours(app: Project, sixth: Application, ann: Browser) -> None:
    """It takes nothing from ours, asks for nothing of ours, and leaves nothing behind."""
    pods, revision, tasks = app.pods(), app.revision(), ann.tasks()
    journey = travel(sixth)
    assert journey.problems == ()
    assert journey.ok
    for step, seconds in journey.seconds.items():
        tell(f"an application drafted by init, {step}", f"{seconds:.1f} s")
    assert (app.pods(), app.revision(), ann.tasks()) == (pods, revision, tasks)


def test_what_the_other_one_has_is_refused_before_anything_is_built(app: Project, sixth: Application) -> None:
    pods = app.pods()
    sixth.data("up")
    port = ("--set", "releases.desk.values.nodePort=30000", "--set", "urls.front-desk.nodePort=30000")
    name = ("--set", 'namespace="default"', "--set", "releases.todo-app.chart=deploy/desk")
    source = sixth.source("desk")
    source.write_bytes(source.read_bytes() + b"\n")
    try:
        done, document = sixth.told("up", *port)
        assert [one["code"] for one in document["errors"]] == ["NODE_PORT_TAKEN"]
        assert "service default/frontend-web-service of release `todo-app`" in document["errors"][0]["title"]
        assert done.returncode == ExitCode.INPUT
        done, document = sixth.told("up", *name)
        assert [one["code"] for one in document["errors"]] == ["RELEASE_TAKEN"]
        assert "belongs to application `todo`" in document["errors"][0]["title"]
        assert done.returncode == ExitCode.REFUSED
        assert document["data"]["images"] == []
    finally:
        source.write_bytes(source.read_bytes()[:-1])
    assert sixth.data("up")[1]["changed"] is False
    assert app.pods() == pods
    assert app.json("down")["data"]["releases"] == 1
    assert sixth.data("up")[1]["changed"] is False, "a `down` of the one concerns nothing of the other"
    assert app.up()["changed"] is True
