"""A run as its record has it: frozen, complete, read without a cluster; older and cut-short records are read too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.core.errors import Problem
from deployer.core.reading import Malformed, shaped
from deployer.core.reading import read_json as read_json_file
from deployer.evidence.nodes import NodeShape
from deployer.evidence.timeline import Timeline, from_wire, timeline_of
from deployer.state.runs import SUMMARY, TIMELINE, read_events, read_json

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
    urls: tuple[Mapping[str, Any], ...] = ()
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
        problems=_problems(summary.get("problems")) or _unique(_failures(records)),
        warnings=_unique(one["problem"] for one in records if one.get("type") == "warned"),
        spec=str(summary.get("spec") or ""),
        profile=str(summary.get("profile") or ""),
        commit=str(commit.get("sha") or ""),
        dirty=bool(commit.get("dirty")),
        versions={key: str(value) for key, value in (summary.get("versions") or {}).items() if value},
        images=tuple(summary.get("images") or ()),
        releases=tuple(summary.get("releases") or ()),
        urls=tuple(one for one in records if one.get("type") == "url_proven"),
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


def _problems(wire: Any) -> tuple[Problem, ...]:
    return _unique(wire or ())


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
