"""What happened when: stages, workloads and pods as stretches of time, findings as the moment each was named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from deployer.core.reading import Malformed, shaped
from deployer.diagnosis.causes import CAUSES
from deployer.state.runs import LAST
from deployer.status import Object, PodPhase, pod_phase
from deployer.status.objects import condition, container_statuses, dig, epoch, is_terminating, name_of, rows


def pod_rows(pods: Iterable[Object], now: float) -> tuple[Row, ...]:
    """Each pod from its creation until now."""
    made = [_row(pod, now) for pod in pods]
    return tuple(sorted((row for row in made if row is not None), key=lambda row: (row.segments[0].begin, row.name)))


def image_ids(pods: Iterable[Object]) -> dict[str, str]:
    """The id that each image of a started container has on the node."""
    return {
        str(status["image"]): str(status["imageID"])
        for pod in pods
        for status in container_statuses(pod)
        if status.get("image") and status.get("imageID")
    }


def _row(pod: Object, now: float) -> Row | None:
    begun = epoch(dig(pod, "metadata", "creationTimestamp"))
    if begun is None:
        return None
    marks = sorted([(begun, "Pending", ""), *_marks(pod)], key=lambda mark: mark[0])
    ends = [at for at, _, _ in marks[1:]] + [max(now, begun)]
    segments = tuple(
        Segment(state, at, end, why) for (at, state, why), end in zip(marks, ends, strict=True) if end > at
    )
    return Row(name_of(pod), "pod", segments or (Segment("Pending", begun, now, ""),))


def _marks(pod: Object) -> Iterator[tuple[float, str, str]]:
    """The moments from which on the pod was in a state."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "True" and (at := epoch(scheduled.get("lastTransitionTime"))) is not None:
        yield at, PodPhase.CREATING.value, _waiting(pod)
    for status in rows(pod, "status", "containerStatuses"):
        yield from _container(status)
    ready = condition(pod, "Ready")
    at = epoch(ready.get("lastTransitionTime"))
    phase = pod_phase(pod)
    if at is not None and ready.get("status") == "True":
        yield at, PodPhase.READY.value, ""
    if phase is PodPhase.TERMINATING and (gone := epoch(dig(pod, "metadata", "deletionTimestamp"))) is not None:
        grace = dig(pod, "metadata", "deletionGracePeriodSeconds") or 0
        yield gone - float(grace), phase.value, ""


def _container(status: Object) -> Iterator[tuple[float, str, str]]:
    for state, last in ((dig(status, "lastState"), True), (dig(status, "state"), False)):
        running, ended = dig(state, "running"), dig(state, "terminated")
        if running and (at := epoch(running.get("startedAt"))) is not None:
            yield at, PodPhase.RUNNING.value, str(status.get("name"))
        if not ended:
            continue
        began, over = epoch(ended.get("startedAt")), epoch(ended.get("finishedAt"))
        if began is not None:
            yield began, PodPhase.RUNNING.value, str(status.get("name"))
        if over is not None:
            yield over, _ended(ended, last), f"{ended.get('reason') or 'ended'}, exit code {ended.get('exitCode')}"


def _ended(ended: Any, last: bool) -> str:
    if ended.get("exitCode") == 0 and not last:
        return PodPhase.SUCCEEDED.value
    return PodPhase.CRASH_LOOP.value if last else PodPhase.FAILED.value


def _waiting(pod: Object) -> str:
    if is_terminating(pod):
        return ""
    reasons = [dig(one, "state", "waiting", "reason") for one in rows(pod, "status", "containerStatuses")]
    return ", ".join(str(one) for one in reasons if one)


_UNITS = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+(?:[eE][+-]?\d+)?)([numkMGTP]i?|[KE]i|)")


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number; 0 for what is none."""
    found = _QUANTITY.fullmatch(str(text if text is not None else "0").strip())
    return float(found[1]) * _UNITS.get(found[2], 1.0) if found else 0.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """CPUs, and bytes of memory."""

    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class ConditionShape:
    """One of a node's conditions."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What `node_data` says of a node, as a record has it."""

    name: str
    kubelet: str
    conditions: tuple[ConditionShape, ...]
    taints: tuple[str, ...]
    pods: int
    podCapacity: str  # noqa: N815 (a name of the record's JSON)
    allocatable: Amounts
    requests: Amounts
    limits: Amounts


def node_data(nodes: Sequence[Object], pods: Sequence[Object]) -> list[dict[str, Any]]:
    """Each node's conditions, and its CPUs and bytes of memory: allocatable, requested and limited by its pods."""
    return [_node(node, [pod for pod in pods if dig(pod, "spec", "nodeName") == name_of(node)]) for node in nodes]


def node_lines(nodes: Iterable[dict[str, Any]]) -> list[str]:
    """The nodes' data as text."""
    lines: list[str] = []
    for node in nodes:
        lines += [f"node/{node['name']}   {node['pods']} pods of {node['podCapacity']}   kubelet {node['kubelet']}"]
        lines += [
            f"  {one['type']:<20} {one['status']:<8} {one['reason']}: {one['message']}" for one in node["conditions"]
        ]
        lines += [f"  taint {taint}" for taint in node["taints"]]
        lines.append(f"  {'':<8} {'requests':>16} {'limits':>16} {'allocatable':>13}")
        for name, show in (("cpu", cpu_words), ("memory", memory_words)):
            has, asked, most = node["allocatable"][name], node["requests"][name], node["limits"][name]
            share = [f"{show(one)} ({one / has:.0%})" if has else show(one) for one in (asked, most)]
            lines.append(f"  {name:<8} {share[0]:>16} {share[1]:>16} {show(has):>13}")
        lines.append("")
    return lines


def cpu_words(cpus: float) -> str:
    """CPUs as people write them."""
    return f"{cpus:g}" if cpus >= 1 and cpus * 10 % 1 == 0 else f"{cpus * 1000:.0f}m"


def memory_words(size: float) -> str:
    """Bytes in MiB."""
    return f"{size / 2**20:.0f}Mi"


def _node(node: Object, pods: Sequence[Object]) -> dict[str, Any]:
    alive = [pod for pod in pods if dig(pod, "status", "phase") not in ("Succeeded", "Failed")]
    return {
        "name": name_of(node),
        "kubelet": dig(node, "status", "nodeInfo", "kubeletVersion") or "?",
        "conditions": [
            {key: str(row.get(key) or "") for key in ("type", "status", "reason", "message", "lastTransitionTime")}
            for row in rows(node, "status", "conditions")
        ],
        "taints": [
            f"{row.get('key')}={row.get('value', '')}:{row.get('effect')}" for row in rows(node, "spec", "taints")
        ],
        "pods": len(alive),
        "podCapacity": str(dig(node, "status", "allocatable", "pods") or "?"),
        "allocatable": {name: quantity(dig(node, "status", "allocatable", name)) for name in ("cpu", "memory")},
        "requests": {name: sum(_needs(pod, "requests", name) for pod in alive) for name in ("cpu", "memory")},
        "limits": {name: sum(_needs(pod, "limits", name) for pod in alive) for name in ("cpu", "memory")},
    }


def _needs(pod: Object, kind: str, name: str) -> float:
    """Containers run together, ordinary init containers one after the other, sidecars with all that follow."""

    def of(spec: Object) -> float:
        return quantity(dig(spec, "resources", kind, name))

    sidecars, most = 0.0, 0.0
    for spec in rows(pod, "spec", "initContainers"):
        if spec.get("restartPolicy") == "Always":
            sidecars += of(spec)
        else:
            most = max(most, sidecars + of(spec))
    together = sidecars + sum((of(spec) for spec in rows(pod, "spec", "containers")), 0.0)
    return max(together, most)


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


@dataclass(frozen=True, slots=True)
class Wait:
    """From `begin` to `end` the run could not end sooner because of this; `name` is of an image, a pod or nothing."""

    what: str
    name: str
    begin: float
    end: float


_WAITED = {
    PodPhase.PENDING.value: "scheduler",
    PodPhase.CREATING.value: "image pull and start",
    PodPhase.RUNNING.value: "readiness probe",
}
_PLANNED = "plan, rules and dry run"
_BEFORE = {"images": _PLANNED, "secrets": _PLANNED, "addons": _PLANNED, "rollout": "record", "": "record"}
"""What is done before a stage begins; before none, at the end of the run."""


def critical_path(timeline: Timeline) -> tuple[Wait, ...]:
    """What the run waited for, from its begin to its end without a gap; times of pods are whole seconds."""
    parts: list[tuple[Row, list[Row]]] = []
    for row in timeline.rows:
        if row.kind == "stage":
            parts.append((row, []))
        elif row.kind == "item" and parts:
            parts[-1][1].append(row)
    pods = [row for row in timeline.rows if row.kind == "pod"]
    ends = [(one, row.name, items) for row, items in parts for one in row.segments]
    found: list[Wait] = []
    at, following = timeline.ended, ""
    while ends:
        one, name, items = max(ends, key=lambda end: end[0].end)
        ends = [end for end in ends if end[0].end <= one.begin + _SPECK_SECONDS and end[0] is not one]
        found.append(Wait(_BEFORE.get(following, following), "", one.end, at))
        found += reversed(_waits(one, name, pods if name == "rollout" else items))
        at, following = one.begin, name
    found.append(Wait("start", "", timeline.begun, at))
    return tuple(one for one in reversed(found) if one.end - one.begin > _SPECK_SECONDS)


def _waits(stage: Segment, name: str, rows: Sequence[Row]) -> list[Wait]:
    """What the stage waited for: the item of it that ended last, or the pod that was ready last."""
    within = [(one, row) for row in rows for one in row.segments if stage.begin < _marks_end(one) <= stage.end]
    if name not in ("images", "rollout") or not within:
        return [Wait(name, "", stage.begin, stage.end)]
    last, row = max(within, key=lambda pair: _marks_end(pair[0]))
    pieces = [last] if name == "images" else [one for one in row.segments if one.end <= last.begin]
    waits = [Wait(_WAITED.get(one.state, "build"), row.name, max(one.begin, stage.begin), one.end) for one in pieces]
    first, end = (waits[0].begin, waits[-1].end) if waits else (stage.begin, stage.begin)
    return [Wait(name, "", stage.begin, first), *waits, Wait(name, "", end, stage.end)]


def _marks_end(one: Segment) -> float:
    """When what the row stands for was done: an item at its end, a pod as soon as it is ready."""
    return one.begin if one.state == PodPhase.READY.value else one.end if one.state in ("done", "failed") else 0.0


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


def _stages(records: Sequence[Wire], ended: float) -> Iterable[Row]:
    """Stages with their items beneath; one that ran twice, as in a run with a rollback, has two stretches."""
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
