"""Which run is meant: the newest that failed, else the newest; or the one whose id begins so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.core.errors import input_error
from deployer.state.runs import EVENTS, SUMMARY, TIMELINE, read_events, read_json, runs_dir


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list of runs; `began` is seconds since the epoch."""

    id: str
    path: Path
    command: str
    application: str
    began: float
    outcome: str
    cause: str
    seconds: float
    evidence: bool


def list_runs(state_dir: Path) -> tuple[Listed, ...]:
    """Every run that is kept, the newest first."""
    found: list[Listed] = []
    with suppress(OSError):
        folders = [one for one in runs_dir(state_dir).iterdir() if (one / EVENTS).is_file()]
        found = [_listed(one) for one in sorted(folders, reverse=True)]
    return tuple(found)


def find_run(runs: Sequence[Listed], wanted: str | None) -> Listed:
    """The run that is meant; input error where there is none, or more than one."""
    if not runs:
        raise input_error("RUN_NONE", "no run is recorded on this machine yet", hints=("todo-deploy up",))
    if wanted is None:
        return next((one for one in runs if one.outcome == "failed"), runs[0])
    fitting = [one for one in runs if one.id.startswith(wanted)] or [one for one in runs if one.id.endswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    listing = ("todo-deploy explain --list",)
    if not fitting:
        raise input_error("RUN_UNKNOWN", f"no run's id begins with `{wanted}`", hints=listing)
    title = f"{len(fitting)} runs' ids begin with `{wanted}`"
    raise input_error("RUN_AMBIGUOUS", title, detail="\n".join(one.id for one in fitting[:10]), hints=listing)


def _listed(path: Path) -> Listed:
    summary = read_json(path / SUMMARY)
    if summary:
        problems = summary.get("problems") or [{}]
        return Listed(
            path.name, path, str(summary.get("command", "?")), str(summary.get("application", "?")),
            float(summary.get("began") or 0.0), str(summary.get("outcome", "?")), str(problems[0].get("code", "")),
            float(summary.get("seconds") or 0.0), (path / TIMELINE).exists(),
        )  # fmt: skip
    records = read_events(path)
    started = next((one for one in records if one.get("type") == "run_started"), {})
    ended: Mapping[str, Any] = next((one for one in reversed(records) if one.get("type") == "run_finished"), {})
    failed = next((one for one in records if one.get("type") == "stage_failed"), {})
    problems = failed.get("problems") or [{}]
    began = float(records[0]["at"]) if records else path.stat().st_mtime
    last = float(records[-1]["at"]) if records else began
    outcome = str(ended.get("outcome") or "unfinished")
    if outcome == "ok" and not ended.get("changed"):
        outcome = "unchanged"
    return Listed(
        path.name, path, str(started.get("command", "?")), str(started.get("application", "?")), began, outcome,
        str(problems[0].get("code", "")), float(ended.get("seconds") or last - began), False,
    )  # fmt: skip
