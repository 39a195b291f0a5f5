"""A kept run: which one is meant, what is in its folder, and its form as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deployer.config.spec import FailFast
from deployer.core.errors import Problem, input_error
from deployer.core.reading import Malformed, shaped
from deployer.core.reading import read_json as read_json_file
from deployer.diagnosis.causes import CAUSES
from deployer.evidence.timeline import NodeShape, Timeline, from_wire, timeline_of
from deployer.state.runs import EVENTS, SUMMARY, TIMELINE, read_events, read_json, runs_dir

_LOG_LINES = 200
_LONGEST_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class TextFile:
    """One file of the record, by its path in the run's folder."""

    name: str
    text: str

    @property
    def lines(self) -> int:
        """How many lines it has."""
        return self.text.count("\n") + (not self.text.endswith("\n") and bool(self.text))


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that is known of one run; `outcome` is `unfinished` for one that was killed or still goes on."""

    id: str
    path: Path
    command: str
    application: str
    outcome: str
    exit_code: int | None
    changed: bool
    seconds: float
    timeline: Timeline
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    spec: str = ""
    profile: str = ""
    commit: str = ""
    dirty: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    images: tuple[Mapping[str, Any], ...] = ()
    releases: tuple[Mapping[str, Any], ...] = ()
    nodes: tuple[Mapping[str, Any], ...] = ()
    events: str = ""
    diff: str = ""
    notes: str = ""
    logs: tuple[TextFile, ...] = ()
    descriptions: tuple[TextFile, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def cause(self) -> Problem | None:
        """What the run failed of."""
        return self.problems[0] if self.problems else None


def read_run(path: Path) -> Run:
    """The run whose folder this is; whatever is missing in it is empty."""
    records, summary = read_events(path), read_json(path / SUMMARY)
    timeline = timeline_of(records)
    if (path / TIMELINE).exists():
        with suppress(Malformed):
            timeline = from_wire(read_json(path / TIMELINE))
    started = next((one for one in records if one.get("type") == "run_started"), {})
    ended: Mapping[str, Any] = next((one for one in reversed(records) if one.get("type") == "run_finished"), {})
    commit = summary.get("commit") or {}
    return Run(
        id=path.name,
        path=path,
        command=str(summary.get("command") or started.get("command") or "?"),
        application=str(summary.get("application") or started.get("application") or "?"),
        outcome=str(summary.get("outcome") or ended.get("outcome") or "unfinished"),
        exit_code=summary.get("exitCode", ended.get("exit_code")),
        changed=bool(summary.get("changed", ended.get("changed", False))),
        seconds=float(summary.get("seconds") or ended.get("seconds") or timeline.ended - timeline.begun),
        timeline=timeline,
        problems=_unique(summary.get("problems") or ()) or _unique(_failures(records)),
        warnings=_unique(one["problem"] for one in records if one.get("type") == "warned"),
        spec=str(summary.get("spec") or ""),
        profile=str(summary.get("profile") or ""),
        commit=str(commit.get("sha") or ""),
        dirty=bool(commit.get("dirty")),
        versions={key: str(value) for key, value in (summary.get("versions") or {}).items() if value},
        images=tuple(summary.get("images") or ()),
        releases=tuple(summary.get("releases") or ()),
        nodes=tuple(_nodes(path)),
        events=_text(path / "cluster" / "events.txt"),
        diff=_text(path / "release.diff"),
        notes=_text(path / "cluster" / "not-captured.txt"),
        logs=(*_output(records), *_texts(path, "hooks"), *_texts(path, "cluster/logs")),
        descriptions=tuple(_texts(path, "cluster/describe")),
        files=tuple(sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())),
    )


def _failures(records: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in records:
        if one.get("type") == "stage_failed":
            yield from one.get("problems") or ()


def _unique(wires: Any) -> tuple[Problem, ...]:
    found: list[Problem] = []
    for wire in wires:
        lines = dict.fromkeys(str(wire.get("detail", "")).split("\n"))  # a condition and its event say the same
        problem = Problem(
            str(wire.get("code", "?")), str(wire.get("title", "")), "\n".join(lines),
            str(wire.get("where", "")), tuple(str(hint) for hint in wire.get("hints") or ()),
        )  # fmt: skip
        if problem not in found:
            found.append(problem)
    return tuple(found)


def _output(records: Sequence[Mapping[str, Any]]) -> Iterator[TextFile]:
    """What builds and programs said; a run's own words, so they are in its events."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in records:
        if one.get("type") == "log":
            said.setdefault((str(one.get("stage")), str(one.get("item"))), []).append(str(one.get("line", "")))
    for (stage, item), lines in said.items():
        yield TextFile(f"{stage}: {item}", "\n".join(lines[-_LOG_LINES:]) + "\n")


def _nodes(path: Path) -> list[dict[str, Any]]:
    with suppress(OSError, Malformed):
        found = read_json_file(path / "cluster" / "nodes.json", list[dict[str, Any]])
        shaped(list[NodeShape], found)
        return found
    return []


def _texts(path: Path, folder: str) -> Iterator[TextFile]:
    with suppress(OSError):
        for one in sorted((path / folder).iterdir()):
            yield TextFile(one.name, _text(one))


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")[:_LONGEST_FILE]
    return ""


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


def run_data(run: Run) -> dict[str, Any]:
    """The verdict and what it rests on; logs and descriptions are named, they are files."""
    return {
        "run": run.id,
        "folder": str(run.path),
        "command": run.command,
        "application": run.application,
        "outcome": run.outcome,
        "exitCode": run.exit_code,
        "changed": run.changed,
        "seconds": run.seconds,
        "spec": run.spec or None,
        "profile": run.profile or None,
        "commit": {"sha": run.commit, "dirty": run.dirty} if run.commit else None,
        "versions": dict(run.versions),
        "cause": run.cause.to_wire() if run.cause is not None else None,
        "problems": [one.to_wire() for one in run.problems],
        "warnings": [one.to_wire() for one in run.warnings],
        "images": [dict(one) for one in run.images],
        "releases": [dict(one) for one in run.releases],
        "timeline": asdict(run.timeline),
        "diff": run.diff,
        "files": list(run.files),
    }


def rules_data() -> dict[str, Any]:
    """The table of causes."""
    return {
        "causes": [
            {"code": cause.code, "meaning": cause.title, "source": cause.source, "hints": list(cause.hints),
             "policy": {one.value: str(cause.policy(one)) for one in FailFast}}
            for cause in CAUSES.values()
        ]
    }  # fmt: skip
