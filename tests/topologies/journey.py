"""An application's whole life on the real cluster: from nothing to proven URLs, an upgrade, the way back, nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.topologies.application import Application, Broken, everything, volume_folders
from tests.topologies.checklists import Malformed, checklist_of, read_checklist, unresolved
from tests.topologies.node import PeakMemory

STEPS = ("up", "again", "upgrade", "rollback", "down")
_GONE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Points:
    """The checklist beside the spec: how many of its points are met by tests that are there, and how many it has."""

    met: int = 0
    all: int = 0

    def __str__(self) -> str:
        return f"{self.met} of {self.all}" if self.all else "no list"


@dataclass(frozen=True, slots=True)
class Journey:
    """How it went: seconds by step, peak of the node's memory in MiB, URLs proven, and what was wrong."""

    name: str
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_mib: int = 0
    urls: int = 0
    points: Points = Points()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every step ended as it must and every point of its checklist is met."""
        return not self.problems and len(self.seconds) == len(STEPS) and self.points.met == self.points.all


def travel(app: Application) -> Journey:
    """The journey; what goes wrong ends it, is told in it, and the application is taken down all the same."""
    journey = Journey(app.name, points=points_of(app))
    try:
        app.data("down", "--volumes", "--yes")
        before = everything(app.project)
        folders = volume_folders(app.project)
        with PeakMemory(app.project) as memory:
            journey = _deployed_and_back(app, journey)
            seconds, _ = app.data("down", "--volumes", "--yes")
        journey = _with(journey, "down", seconds, f"peak {memory.mib} MiB")
        left = left_behind(app, before) | {f"folder {one}" for one in volume_folders(app.project) - folders}
        if left:
            raise Broken(f"`down --volumes` left behind: {', '.join(sorted(left))}")
        return replace(journey, peak_mib=memory.mib)
    except (Broken, OSError, AssertionError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
        app.run("down", "--volumes", "--yes")
        return replace(journey, problems=(*journey.problems, f"{type(error).__name__}: {error}"))


def left_behind(app: Application, before: frozenset[tuple[str, str, str]]) -> set[str]:
    """What is in the cluster and was not before, once a namespace that is going has had the time to go."""
    deadline = time.monotonic() + _GONE_SECONDS
    while left := everything(app.project) - before:
        if time.monotonic() > deadline:
            break
        time.sleep(2)
    return {f"{kind} {namespace}/{name}" for kind, namespace, name in left}


def points_of(app: Application) -> Points:
    """The points of its checklist; a list that cannot be read has none that is met."""
    path = checklist_of(app.spec)
    if not path.is_file():
        return Points()
    try:
        points = read_checklist(path)
    except Malformed:
        return Points(0, 1)
    return Points(sum(not list(unresolved(point)) for point in points), len(points))


def _deployed_and_back(app: Application, journey: Journey) -> Journey:
    seconds, first = app.data("up")
    urls = app.check_urls(first)
    journey = replace(_with(journey, "up", seconds, f"{urls} URLs"), urls=urls)
    images = app.images(first)
    _expect(all(image["built"] or image["ref"] for image in first["images"]), "an image has no name")

    seconds, again = app.data("up")
    _expect(again["changed"] is False, f"a second up changed something: {_changes(again)}")
    journey = _with(journey, "again", seconds)

    if first["images"]:
        seconds, changed = _with_another_source(app, str(first["images"][0]["name"]))
    else:
        raise Broken("the spec has no image that could be changed")
    journey = _with(journey, "upgrade", seconds, _changes(changed))
    _expect(app.images(changed) != images, "the upgrade changed no pod")
    app.check_urls(changed)

    seconds, back = app.data("rollback")
    journey = _with(journey, "rollback", seconds)
    _expect(app.images(first) == images, "after the rollback the pods run other images than before the upgrade")
    app.check_urls(first | {"urls": back.get("urls", first["urls"])})
    return journey


def _with_another_source(app: Application, image: str) -> tuple[float, Mapping[str, Any]]:
    """How an `up` went after a line was added to a source of the image, which is then as it was."""
    source = app.source(image)
    before = source.read_bytes()
    source.write_bytes(before + b"\n\n")
    try:
        seconds, data = app.data("up")
    finally:
        source.write_bytes(before)
    spec = app.loaded.spec
    concerned = {name for name, other in spec.images.items() if other.context == spec.images[image].context}
    built = {one["name"] for one in data["images"] if one["built"]}
    _expect(image in built, f"{source.name} was changed, and {image} was not built")
    _expect(built <= concerned, f"{sorted(built)} were built; {source.name} belongs to {sorted(concerned)}")
    users = {name for name, release in spec.releases.items() if built & set(release.images)}
    rolled = {one["name"] for one in data["releases"] if one["changed"]}
    _expect(rolled == users, f"releases {sorted(rolled)} were upgraded; what was built belongs to {sorted(users)}")
    return seconds, data


def _changes(data: Mapping[str, Any]) -> str:
    built = [one["name"] for one in data["images"] if one["built"]]
    rolled = [one["name"] for one in data["releases"] if one["changed"]]
    return f"built {', '.join(built) or 'nothing'}; upgraded {', '.join(rolled) or 'nothing'}"


def _with(journey: Journey, step: str, seconds: float, told: str = "") -> Journey:
    """The journey with one step more, which is told on the way: a person may be waiting."""
    print(f"{journey.name:32} {step:9} {seconds:6.1f} s  {told}", file=sys.stderr, flush=True)
    return replace(journey, seconds={**journey.seconds, step: seconds})


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)
