"""What happened when: stages, workloads and pods as stretches of time, findings as the moment each was named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from deployer.core.reading import Malformed, shaped
from deployer.diagnosis.causes import CAUSES
from deployer.state.runs import LAST

Wire = Mapping[str, Any]

_SPECK_SECONDS = 0.05
"""An item that took no longer would only be a speck in a chart."""


@dataclass(frozen=True, slots=True)
class Segment:
    """From `begin` to `end` (seconds since the epoch) it was in this state; `why` says why, if anything."""

    state: str
    begin: float
    end: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One stage, item of a stage, workload or pod through the run."""

    name: str
    kind: Literal["stage", "item", "workload", "pod"]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """A finding: `since` is when Kubernetes showed it (whole seconds mostly), `named` when a person was shown it.

    `delay` counts from the run's own begin where Kubernetes knew before that; None where it never said when.
    """

    code: str
    title: str
    where: str
    since: float | None
    named: float
    delay: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A whole run."""

    begun: float
    ended: float
    rows: tuple[Row, ...] = ()
    sightings: tuple[Sighting, ...] = ()

    @property
    def seconds(self) -> float:
        """How long the run took; never nothing, so that shares of it can be computed."""
        return max(self.ended - self.begun, 0.001)


def sighting(code: str, title: str, where: str, since: float | None, named: float, begun: float) -> Sighting:
    """A finding that was named just now, with the delay since Kubernetes showed it."""
    delay = None if since is None else round(max(named - max(since, begun), 0.0), 3)
    return Sighting(code, title, where, since, round(named, 3), delay)


def timeline_of(
    records: Sequence[Wire], pods: Iterable[Row] = (), sightings: Iterable[Sighting] = ()
) -> Timeline:  # fmt: skip
    """The timeline in the events, with what only the cluster knew; warnings replace absent sightings."""
    begun = float(records[0].get("at", 0.0)) if records else 0.0
    ended = float(records[-1].get("at", begun)) if records else begun
    seen = tuple(sightings) or tuple(_warnings(records))
    rows = (*_stages(records, ended), *_workloads(records, ended))
    clipped = (_clipped(row, begun, ended) for row in _merged(pods))
    return Timeline(begun, ended, (*rows, *(row for row in clipped if row.segments)), seen)


def to_wire(timeline: Timeline) -> dict[str, Any]:
    """The timeline as plain JSON."""
    return asdict(timeline)


def from_wire(document: Wire) -> Timeline:
    """The timeline that the JSON holds. Raises Malformed."""
    found = shaped(Timeline, document)
    moments = [
        found.begun,
        found.ended,
        *(at for row in found.rows for one in row.segments for at in (one.begin, one.end)),
    ]
    moments += [at for one in found.sightings for at in (one.named, one.since or 0.0)]
    if not all(0 <= at < LAST for at in moments):
        raise Malformed("a moment beyond all calendars")
    return replace(found, rows=tuple(row for row in found.rows if row.segments))


def row_from_wire(row: Any) -> Row:
    """The row that the JSON holds. Raises Malformed."""
    return shaped(Row, row)


def _stages(records: Sequence[Wire], ended: float) -> Iterable[Row]:
    """Stages with their items beneath; one that ran twice (a way back has a rollout, too) has two stretches."""
    began: dict[str, float] = {}
    begun_items: dict[tuple[str, str], float] = {}
    rows: dict[str, dict[str, list[Segment]]] = {}  # stage → "" for itself, else an item → its stretches
    for record in records:
        kind, at, stage = record.get("type"), float(record.get("at", ended)), str(record.get("stage", ""))
        if kind == "stage_started":
            began[stage] = at
            rows.setdefault(stage, {"": []})
        elif kind in ("stage_finished", "stage_failed"):
            changed = "done" if record.get("changed") else "unchanged"
            state = changed if kind == "stage_finished" else "failed"
            segment = Segment(state, began.pop(stage, at), at, str(record.get("text") or ""))
            rows.setdefault(stage, {"": []})[""].append(segment)
        elif kind == "item" and stage != "rollout":
            name, state = str(record.get("item")), str(record.get("state"))
            begin = begun_items.setdefault((stage, name), at)
            if state in ("done", "failed"):
                del begun_items[stage, name]
                if at - begin > _SPECK_SECONDS:
                    items = rows.setdefault(stage, {"": []})
                    items.setdefault(name, []).append(Segment(state, begin, at, str(record.get("text") or "")))
    for stage, begin in began.items():
        rows[stage][""].append(Segment("unfinished", begin, ended))
    for stage, parts in rows.items():
        for name, segments in parts.items():
            if segments:
                yield Row(name or stage, "item" if name else "stage", tuple(segments))


def _workloads(records: Sequence[Wire], ended: float) -> Iterable[Row]:
    marks: dict[str, list[tuple[float, str, str]]] = {}
    for record in records:
        if record.get("type") != "workload_changed":
            continue
        status, ref = record["status"], record["status"].get("ref", {})
        name = f"{ref.get('kind', '?').lower()}/{ref.get('name', '?')}"
        why = ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
        known = marks.setdefault(name, [])
        phase = status.get("phase", "?")
        if not known or known[-1][1] != phase:
            known.append((float(record["at"]), phase, why))
    for name, found in sorted(marks.items()):
        ends = [at for at, _, _ in found[1:]] + [ended]
        segments = (Segment(phase, at, end, why) for (at, phase, why), end in zip(found, ends, strict=True))
        yield Row(name, "workload", tuple(segments))


def _warnings(records: Sequence[Wire]) -> Iterable[Sighting]:
    for record in records:
        if record.get("type") == "warned" and record["problem"].get("code") in CAUSES:
            problem = record["problem"]
            yield Sighting(
                problem["code"], problem.get("title", ""), problem.get("where", ""), None, float(record["at"]), None
            )


def _merged(rows: Iterable[Row]) -> Iterable[Row]:
    """A pod that was looked at twice is one row, and what the later look saw of a stretch holds."""
    known: dict[str, dict[float, Segment]] = {}
    for row in rows:
        known.setdefault(row.name, {}).update({one.begin: one for one in row.segments})
    for name, segments in known.items():
        yield Row(name, "pod", tuple(segments[begin] for begin in sorted(segments)))


def _clipped(row: Row, begun: float, ended: float) -> Row:
    """Pods of an earlier run began before this one did: of them only this run's part is shown."""
    kept = (
        Segment(one.state, max(one.begin, begun), min(one.end, ended), one.why)
        for one in row.segments
        if one.end > begun and one.begin < ended
    )
    return Row(row.name, row.kind, tuple(kept))
