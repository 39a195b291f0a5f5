"""Watches a rollout for its record: when each finding was named, and how the cluster stood when it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace

from deployer.core.errors import Problem
from deployer.core.events import Warned
from deployer.evidence.capture import CLUSTER, Scope, Seen, begun, capture, look_at_pods, within, write_diff
from deployer.evidence.standby import ROLLOUT
from deployer.evidence.timeline import Sighting, sighting
from deployer.rollout.stage import Rollout
from deployer.state.runs import RunFolder, read_json

LIMIT_SECONDS = 5.0
_SUCCESS_SECONDS = 1.5


class Witness:
    """Stands beside one rollout; nothing it does delays a finding, changes a verdict or raises."""

    def __init__(self, folder: RunFolder, rollout: Rollout) -> None:
        self._folder = folder
        self._scope = Scope(rollout.releases, rollout.refs, rollout.kube)
        self._clock = rollout.clock
        self._since = rollout.since
        self._sightings: tuple[Sighting, ...] = ()

    def untold(self, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """Those of the problems that were not named before."""
        told = {(one.code, one.where) for one in self._sightings}
        return tuple(one for one in problems if (one.code, one.where) not in told)

    def keep_failure(self, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """The evidence is in the folder; returns the problems, the first of which says where it is."""
        now = self._clock.now()
        found: list[Seen] = []
        if not (self._folder.path / CLUSTER).exists():  # what failed first is not written over by a failed way back
            with suppress(Exception):
                within(LIMIT_SECONDS, lambda late: found.append(capture(self._folder, self._scope, now, late)))
        self._write(found[-1] if found else Seen(), failed=True)
        first, *rest = problems
        if not self._folder.path.is_dir():
            return tuple(problems)
        told = "\n".join(filter(None, (first.detail, f"evidence: {self._folder.path}")))
        return (replace(first, detail=told, hints=(*first.hints, "todo-deploy explain")), *rest)

    def begin_success(self) -> Callable[[], None]:
        """What changed and how long each pod took is looked at; it is in the folder once what is returned has ended."""
        found: list[Seen] = []

        def work(late: object) -> None:
            found.append(look_at_pods(self._scope, self._clock.now()))
            if not (self._folder.path / CLUSTER).exists():
                write_diff(self._folder, self._scope.releases, self._scope.kube)

        wait: Callable[[], object] = bool
        with suppress(Exception):
            wait = begun(_SUCCESS_SECONDS, work)

        def finish() -> None:
            wait()
            self._write(found[-1] if found else Seen(), failed=False)

        return finish

    def note(self, event: Warned) -> None:
        """The finding was reported just now."""
        problem = event.problem
        made = sighting(problem.code, problem.title, problem.where, event.since, self._clock.now(), self._since)
        self._sightings = (*self._sightings, made)

    def _write(self, seen: Seen, *, failed: bool) -> None:
        releases = [
            {"name": one.name, "namespace": one.namespace, "revision": one.revision, "changed": one.changed,
             "reason": one.reason, "verdict": "failed" if failed and one.changed else "verified"}
            for one in self._scope.releases
        ]  # fmt: skip
        before = read_json(self._folder.path / ROLLOUT)  # of the rollout that this one brings back
        document = {
            "kubernetes": seen.kubernetes or before.get("kubernetes", ""),
            "releases": [*before.get("releases", ()), *releases],
            "images": {**(before.get("images") or {}), **(seen.images or {})},
            "pods": [*before.get("pods", ()), *(asdict(row) for row in seen.pods)],
            "sightings": [*before.get("sightings", ()), *(asdict(one) for one in self._sightings)],
        }
        with suppress(Exception):
            self._folder.write_json(ROLLOUT, document)
