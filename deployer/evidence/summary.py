"""What remains of a run once it has ended: `run.json` and `timeline.json`, from its events and its rollout's notes."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from deployer import __version__
from deployer.evidence.standby import ROLLOUT, Ended
from deployer.evidence.timeline import Sighting, row_from_wire, timeline_of, to_wire
from deployer.sources import git as repository
from deployer.state.runs import SUMMARY, TIMELINE, RunFolder, read_events, read_json

FORMAT = 1


def write_summary(folder: RunFolder, ended: Ended) -> None:
    """The run's summary and timeline are in its folder.

    Nothing is raised: a record that cannot be written is no failure of the run.
    """
    with suppress(Exception):
        notes = read_json(folder.path / ROLLOUT)
        (folder.path / ROLLOUT).unlink(missing_ok=True)
        records = read_events(folder.path)
        pods = [row_from_wire(row) for row in notes.get("pods", ())]
        sightings = [Sighting(**one) for one in notes.get("sightings", ())]
        folder.write_json(TIMELINE, to_wire(timeline_of(records, pods, sightings)))
        folder.write_json(SUMMARY, _document(folder, ended, notes, records))


def images_of(records: Sequence[Mapping[str, Any]], ids: Mapping[str, str]) -> list[dict[str, str]]:
    """The run's images with the ids that the node knows them by."""
    told = {
        str(record["item"]): (str(record.get("text") or ""), str(record["state"]))
        for record in records
        if record.get("type") == "item" and record.get("stage") == "images" and record.get("state") != "running"
    }
    found = [
        {"name": name, "ref": ref, "state": state, "id": _id(ref, ids)} for name, (ref, state) in sorted(told.items())
    ]
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
    commit = repository.read_commit(ended.spec.parent) if ended.spec is not None else None
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
