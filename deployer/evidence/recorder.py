"""What a run leaves: when each finding was named, how the cluster stood when it failed, and its summary.

Apart from `recording` because a run that changes nothing loads none of it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from deployer import __version__
from deployer.core.errors import Problem
from deployer.core.events import Warned
from deployer.core.reading import shaped
from deployer.evidence.capture import CLUSTER, Seen, begun, capture, look_at_pods, write_diff
from deployer.evidence.recording import ROLLOUT, Ended
from deployer.evidence.timeline import Row, Sighting, sighting, timeline_of
from deployer.helm.storage import Applied
from deployer.rollout.stage import Rollout
from deployer.sources import git
from deployer.state.history import Verdict
from deployer.state.runs import SUMMARY, TIMELINE, RunFolder, read_events, read_json

LIMIT_SECONDS = 5.0
_SUCCESS_SECONDS = 1.5


class Recorder:
    """Records one rollout; nothing it does delays a finding, changes a verdict or raises."""

    def __init__(self, folder: RunFolder, rollout: Rollout) -> None:
        self._folder, self._rollout, self._clock = folder, rollout, rollout.clock
        self._sightings: tuple[Sighting, ...] = ()

    def unreported(self, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """Those of the problems that were not named before."""
        said = {(one.code, one.where) for one in self._sightings}
        return tuple(one for one in problems if (one.code, one.where) not in said)

    def keep_failure(self, problems: Sequence[Problem]) -> tuple[Problem, ...]:
        """The evidence is in the folder; returns the problems, the first of which says where it is."""
        now = self._clock.now()
        found: list[Seen] = []
        if not (self._folder.path / CLUSTER).exists():  # what failed first is not written over by a failed rollback
            with suppress(Exception):
                begun(LIMIT_SECONDS, lambda late: found.append(capture(self._folder, self._rollout, now, late)))()
        self._write(found[-1] if found else Seen())
        first, *rest = problems
        if not self._folder.path.is_dir():
            return tuple(problems)
        said = "\n".join(filter(None, (first.detail, f"evidence: {self._folder.path}")))
        first = replace(first, detail=said, hints=(*first.hints, "todo-deploy explain"))
        return tuple(_of_kept_logs(one, self._folder.path) for one in (first, *rest))

    def begin_success(self) -> Callable[[], None]:
        """What changed and how long each pod took is looked at; it is in the folder once what is returned has ended."""
        found: list[Seen] = []

        def work(late: object) -> None:
            found.append(look_at_pods(self._rollout, self._clock.now()))
            if not (self._folder.path / CLUSTER).exists():
                write_diff(self._folder, self._rollout)

        wait: Callable[[], object] = bool
        with suppress(Exception):
            wait = begun(_SUCCESS_SECONDS, work)

        def finish() -> None:
            wait()
            self._write(found[-1] if found else Seen())

        return finish

    def note(self, event: Warned) -> None:
        """The finding was reported just now."""
        problem = event.problem
        made = sighting(problem.code, problem.title, problem.where, event.since, self._clock.now(), self._rollout.since)
        self._sightings = (*self._sightings, made)

    def _write(self, seen: Seen) -> None:
        before = read_json(self._folder.path / ROLLOUT)  # of the rollout that this one brings back
        document = {
            "kubernetes": seen.kubernetes or before.get("kubernetes", ""),
            "releases": before.get("releases", []),
            "images": {**(before.get("images") or {}), **(seen.images or {})},
            "pods": [*before.get("pods", ()), *(asdict(row) for row in seen.pods)],
            "sightings": [*before.get("sightings", ()), *(asdict(one) for one in self._sightings)],
        }
        with suppress(Exception):
            self._folder.write_json(ROLLOUT, document)


def _of_kept_logs(problem: Problem, folder: Path) -> Problem:
    """The problem whose hints name logs that were kept: a rollback takes the pods that had them."""
    logs = sorted([*folder.glob(f"{CLUSTER}/logs/*.log"), *folder.glob("hooks/*.log")])
    hints = [_kept_log(hint, problem.where, logs) if "deploy logs" in hint or "kubectl logs" in hint else hint
             for hint in problem.hints]  # fmt: skip
    return replace(problem, hints=tuple(dict.fromkeys(hints)))


def _kept_log(hint: str, where: str, logs: Sequence[Path]) -> str:
    """The log of the pod, or the workload, that hint or place name; of all where they name none."""
    words = {word for word in re.split(r"[\s/]+", f"{where} {hint}") if word}
    pods = [one for one in logs if one.name.split(".")[0] in words]
    fitting = pods or [one for one in logs if any(one.name.startswith(f"{word}-") for word in words)] or list(logs)
    if not fitting:
        return hint
    previous = [one for one in fitting if one.name.endswith(".previous.log")]
    chosen = previous if previous and "--previous" in hint else fitting
    return f"less {chosen[0]}" if len(chosen) == 1 else f"less {chosen[0].parent}/*.log"


def write_verdict(folder: RunFolder, releases: Sequence[Applied], given: Verdict) -> None:
    """The run's releases have this verdict, those that were verified before excepted; nothing is raised."""
    with suppress(Exception):
        notes = read_json(folder.path / ROLLOUT)
        known = {(one["name"], one["namespace"], one["revision"]): one for one in notes.get("releases", ())}
        for one in releases:
            known[one.name, one.namespace, one.revision] = {
                "name": one.name, "namespace": one.namespace, "revision": one.revision, "changed": one.changed,
                "reason": one.reason, "verdict": "verified" if one.verified else given,
            }  # fmt: skip
        folder.write_json(ROLLOUT, {**notes, "releases": list(known.values())})


FORMAT = 1


def write_summary(folder: RunFolder, ended: Ended) -> None:
    """The run's summary and timeline are in its folder.

    Nothing is raised: a record that cannot be written is no failure of the run.
    """
    with suppress(Exception):
        notes = read_json(folder.path / ROLLOUT)
        (folder.path / ROLLOUT).unlink(missing_ok=True)
        records = read_events(folder.path)
        pods = [shaped(Row, row) for row in notes.get("pods", ())]
        sightings = [Sighting(**one) for one in notes.get("sightings", ())]
        folder.write_json(TIMELINE, asdict(timeline_of(records, pods, sightings)))
        folder.write_json(SUMMARY, _document(folder, ended, notes, records))


def images_of(records: Sequence[Mapping[str, Any]], ids: Mapping[str, str]) -> list[dict[str, str]]:
    """The run's images with the ids that the node knows them by."""
    said = {
        str(record["item"]): (str(record.get("text") or ""), str(record["state"]))
        for record in records
        if record.get("type") == "item" and record.get("stage") == "images" and record.get("state") != "running"
    }
    # What a failed build said last is no reference.
    named = {name: ("" if state == "failed" else ref, state) for name, (ref, state) in sorted(said.items())}
    found = [{"name": name, "ref": ref, "state": state, "id": _id(ref, ids)} for name, (ref, state) in named.items()]
    refs = {one["ref"] for one in found}
    others = sorted((ref, known) for ref, known in ids.items() if not any(_same(ref, mine) for mine in refs))
    return found + [{"name": "", "ref": ref, "state": "used", "id": _bare(known)} for ref, known in others]


def _id(ref: str, ids: Mapping[str, str]) -> str:
    return next((_bare(known) for other, known in ids.items() if _same(other, ref)), "")


def _same(one: str, other: str) -> bool:
    return bool(other) and (one == other or one.endswith("/" + other))


def _bare(known: str) -> str:
    return known.rpartition("://")[2]


def _document(
    folder: RunFolder, ended: Ended, notes: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    commit = git.read_commit(ended.spec.parent) if ended.spec is not None else None
    return {
        "format": FORMAT,
        "run": folder.path.name,
        "command": ended.command,
        "application": ended.application,
        "spec": str(ended.spec) if ended.spec is not None else None,
        "profile": ended.profile,
        "commit": {"sha": commit.sha, "dirty": not commit.clean} if commit is not None else None,
        "versions": {
            "todo-deploy": __version__,
            "python": platform.python_version(),
            "kubernetes": str(notes.get("kubernetes", "")),
            "system": f"{platform.system()} {platform.release()}",
        },
        "began": records[0]["at"] if records else None,
        "outcome": ended.outcome,
        "exitCode": ended.exit_code,
        "changed": ended.changed,
        "seconds": round(ended.seconds, 3),
        "problems": [problem.to_wire() for problem in ended.problems],
        "images": images_of(records, notes.get("images") or {}),
        "releases": list(notes.get("releases", ())),
    }
