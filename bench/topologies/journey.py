"""An application's whole life on the real cluster: from nothing to proven URLs, an upgrade, the way back, nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.topologies.application import Application, Broken, everything, volume_folders
from bench.topologies.checklists import Malformed, checklist_of, read_checklist, unresolved
from bench.topologies.node import PeakMemory
from deployer.config.load import profile_names
from tests.cluster import ensure_addons

SMALL = "small"
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


@dataclass(slots=True)
class _Log:
    """What is known of a journey on the way, shown as it comes: a person may be waiting."""

    name: str
    seconds: dict[str, float] = field(default_factory=dict)
    urls: int = 0

    def show(self, step: str, seconds: float, words: str = "") -> None:
        """The step is done."""
        self.seconds[step] = seconds
        print(f"{self.name:32} {step:9} {seconds:6.1f} s  {words}", file=sys.stderr, flush=True)


def travel(app: Application) -> Journey:
    """The journey; what goes wrong ends it, is reported in it, and the application is taken down all the same."""
    log = _Log(app.name)
    problems: tuple[str, ...] = ()
    with PeakMemory(app.project) as memory:
        try:
            app.data("down", "--volumes", "--yes")
            ensure_addons(app.loaded.spec.cluster.addons)
            before, folders = everything(app.project), volume_folders(app.project)
            app = fitting(app)
            log.name = app.name
            _deployed_and_back(app, log)
            seconds, _ = app.data("down", "--volumes", "--yes")
            log.show("down", seconds, f"peak {memory.mib} MiB")
            left = left_behind(app, before) | {f"folder {one}" for one in volume_folders(app.project) - folders}
            _expect(not left, f"`down --volumes` left behind: {', '.join(sorted(left))}")
        except (Broken, OSError, AssertionError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            problems = (f"{type(error).__name__}: {error}",)
            app.run("down", "--volumes", "--yes")
    return Journey(app.name, log.seconds, memory.mib, log.urls, problems=problems)


def fitting(app: Application) -> Application:
    """The application under its profile for small machines, where what its document asks does not fit on this one."""
    if app.profile is not None or SMALL not in profile_names(app.spec):
        return app
    app.run("secrets", "init")  # refused where there is an env file already
    _, document = app.run_json("validate")
    does_not_fit = any(one["code"] == "CAPACITY" for one in document["errors"])
    return replace(app, profile=SMALL) if does_not_fit else app


def left_behind(app: Application, before: frozenset[tuple[str, str, str]]) -> set[str]:
    """What is in the cluster and was not before, once a namespace that is going has had the time to go.

    What appears only after the first look belongs to somebody else.
    """
    deadline = time.monotonic() + _GONE_SECONDS
    left = everything(app.project) - before
    while left and time.monotonic() < deadline:
        time.sleep(2)
        left &= everything(app.project)
    return {f"{kind} {namespace}/{name}" for kind, namespace, name in left}


def points_of(spec: Path) -> Points:
    """The points of the spec's checklist; a list that cannot be read has none that is met."""
    path = checklist_of(spec)
    if not path.is_file():
        return Points()
    try:
        points = read_checklist(path)
    except Malformed:
        return Points(0, 1)
    return Points(sum(not list(unresolved(point)) for point in points), len(points))


def _deployed_and_back(app: Application, log: _Log) -> None:
    seconds, first = app.data("up")
    log.urls = app.check_urls(first)
    log.show("up", seconds, f"{log.urls} URLs")
    _expect(bool(first["images"]), "the spec has no image that could be changed")
    images = app.images(first)

    seconds, again = app.data("up")
    log.show("again", seconds)
    _expect(again["changed"] is False, f"a second up changed something: {_changes(again)}")

    seconds, changed = _with_another_source(app, str(first["images"][0]["name"]))
    log.show("upgrade", seconds, _changes(changed))
    _expect(app.images(changed) != images, "the upgrade changed no pod")
    app.check_urls(changed)

    seconds, back = app.data("rollback")
    log.show("rollback", seconds)
    _expect(app.images(first) == images, "after the rollback the pods run other images than before the upgrade")
    app.check_urls(first | {"urls": back.get("urls", first["urls"])})


def _with_another_source(app: Application, image: str) -> tuple[float, Mapping[str, Any]]:
    """How an `up` went after a line was added to a source of the image, which is then as it was."""
    source = app.source(image)
    before = source.read_bytes()
    # Another content each time: one that was built before would not be built again.
    source.write_bytes(before + b"\n" + b" " * (time.time_ns() // 10**6 % 4999) + b"\n")
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


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)
