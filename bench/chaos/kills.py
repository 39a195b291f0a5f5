"""Kills at seeded points: each time the next run has to end well, with nothing lost, leaked or left to be done."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.chaos import changes, checks
from bench.chaos.deployment import HOLD, Deployment
from bench.chaos.points import Point
from bench.chaos.victim import Victim

_TRIES = 4
_STAGE_SECONDS = 300.0
_REHEARSED = "line"
# The stages' usual seconds until a rehearsal has measured them: a start of Minikube is not rehearsed.
_USUAL = {"stopped": {"cluster": 28.0}, "unknown toolchain": {"toolchain": 1.5}}


@dataclass(frozen=True, slots=True)
class Killed:
    """One row of the table: where the run was when it died, and how everything was after the next one."""

    point: Point
    died_in: tuple[str, ...]
    after: float
    programs: tuple[str, ...]
    seconds: float
    complaints: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all is as it must be."""
        return not self.complaints


@dataclass
class Spans:
    """How long each stage takes when nobody kills it, by what the run has to do."""

    known: dict[str, dict[str, float]] = field(default_factory=lambda: {name: dict(of) for name, of in _USUAL.items()})

    def of(self, point: Point) -> float:
        """The usual seconds of the point's stage."""
        usual = "rollback" if point.command == "rollback" else point.change
        unusual = point.stage in self.known.get(point.before, {})
        known = self.known.get(point.before if unusual else usual, {})
        return known.get(point.stage, self.known.get(_REHEARSED, {}).get(point.stage, 0.5))

    def learn(self, kind: str, run: Victim) -> None:
        """The run's stages are known now."""
        self.known.setdefault(kind, {}).update(run.spans())


def token(point: int) -> str:
    """A text that no image and no value had before."""
    return f"chaos-{point}-{secrets.token_hex(6)}"


def rehearse(made: Deployment, spans: Spans, *, back: bool) -> Iterator[tuple[str, float]]:
    """A run without a kill; yields its name and seconds. The other kinds are learnt from the runs after kills."""
    changes.make(_REHEARSED, token(0), made.project, made.wanted)
    yield from _rehearsed(_REHEARSED, made.up(token(0)), spans)
    if back:
        run = made.start(token(0), "rollback", "--hold", HOLD)
        run.wait(300)
        yield from _rehearsed("rollback", run, spans)
        # Forward again: what the files ask for is what runs.
        yield from _rehearsed("forward", made.up(token(0)), spans)


def _rehearsed(kind: str, run: Victim, spans: Spans) -> Iterator[tuple[str, float]]:
    assert run.process.returncode == 0, "".join(run.noise)[-2000:] + str(run.document.get("errors"))
    spans.learn(kind, run)
    yield kind, run.seconds


def kill_at(point: Point, made: Deployment, spans: Spans) -> Killed:
    """The run was killed at the point and the same command was run again; everything that is not right afterwards."""
    made.write_task(f"before kill {point.number} {token(point.number)}")
    target = _target(made) if point.command == "rollback" else None
    died: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    after, mark = 0.0, ""
    part = point.part
    for attempt in range(_TRIES):
        if point.command == "up":
            changes.make(point.change, token(point.number), made.project, made.wanted)
        _before(point, made)
        mark = token(point.number)
        run = made.start(mark, point.command, "--hold", HOLD)
        if not run.await_stage(point.stage, _STAGE_SECONDS):
            code = run.wait(60)
            problem = f"the run ended with {code} before its stage {point.stage}: {run.document.get('errors')}"
            return Killed(point, (), run.seconds, (), 0.0, (problem,))
        time.sleep(spans.of(point) * part)
        after = run.seconds
        programs = run.kill(children=point.children)
        died = run.open_stages
        if point.stage in died:
            break
        # It was faster than usual: the same point, earlier.
        part *= 0.5 if attempt < _TRIES - 2 else 0.0
        made.up(token(point.number))
        target = _target(made) if point.command == "rollback" else None
    found = [] if point.stage in died else [f"it was not killed in {point.stage} but in {', '.join(died) or 'none'}"]
    found += checks.files(made.project, made.kept_env())
    begun = time.monotonic()
    following = made.start(token(point.number), point.command, "--hold", HOLD)
    following.wait(600)
    seconds = time.monotonic() - begun
    found += made.complaints(following, mark)
    if following.process.returncode == 0 and "images" in died:
        spans.learn(point.change, following)
    if following.process.returncode == 0:
        if point.command == "up":
            found += made.unfinished({one["name"]: one["ref"] for one in following.document["data"]["images"]})
        else:
            found += _not_as(made, target)
    return Killed(point, died, after, programs, seconds, tuple(found))


def _before(point: Point, made: Deployment) -> None:
    if point.before == "stopped":
        made.project.minikube("stop")
    elif point.before == "unknown toolchain":
        for stamp in (made.cache / "toolchain").glob("toolchain-*.json"):
            stamp.unlink()


def _history(made: Deployment) -> list[Mapping[str, Any]]:
    revisions: list[Mapping[str, Any]] = made.project.json("history")["data"]["revisions"]
    return revisions


def _target(made: Deployment) -> Mapping[str, Any]:
    """The revision that a rollback is to bring back: the newest verified one that is not what runs now."""
    *before, last = _history(made)
    return next(one for one in reversed(before) if one["verdict"] == "verified" and _parts(one) != _parts(last))


def _parts(revision: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(revision[name] for name in ("inputs", "images", "secrets"))


def _not_as(made: Deployment, target: Mapping[str, Any] | None) -> list[str]:
    """Where what runs is not the revision that the killed rollback was to bring back."""
    assert target is not None
    last = _history(made)[-1]
    found = [
        f"{name} of revision {last['number']} is not that of revision {target['number']}"
        for name in ("inputs", "images", "secrets")
        if last[name] != target[name]
    ]
    if last["verdict"] != "verified":
        found.append(f"revision {last['number']} is {last['verdict']}")
    for one in made.project.objects("deploy,sts"):
        image = one["spec"]["template"]["spec"]["containers"][0]["image"]
        if image not in target["images"].values():
            found.append(f"{one['metadata']['name']} runs {image}, which revision {target['number']} does not have")
    return found
