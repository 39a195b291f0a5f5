"""The waterfall of a run as HTML: stages, workloads, pods and findings on one scale of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from deployer.core.text import clean, duration
from deployer.evidence.timeline import Row, Segment, Sighting, Timeline

_KINDS = {
    "done": "good", "Available": "good", "Ready": "good", "Succeeded": "good",
    "failed": "bad", "Failed": "bad", "Stalled": "bad", "CrashLoopBackOff": "bad",
    "Degraded": "care", "unfinished": "care", "Paused": "care",
    "unchanged": "idle", "Pending": "idle", "Terminating": "idle", "ScaledToZero": "idle",
}  # fmt: skip
_LEGEND = (
    ("idle", "pending, unchanged or terminating"), ("", "in progress, starting or running"),
    ("good", "done, Ready or Available"), ("bad", "failed"),
)  # fmt: skip
_MOST_PODS, _TICKS = 60, 8


def waterfall(timeline: Timeline) -> str:
    """The chart; each time is in each bar's title."""
    step = tick_step(timeline.seconds)
    parts = [
        f'<div class="chart" style="--step:{_share(step, timeline)}">',
        f'<div class="name"></div><div class="track axis">{"".join(_ticks(timeline, step))}</div><div></div>',
    ]
    pods = [row for row in timeline.rows if row.kind == "pod"]
    groups: tuple[tuple[str, Iterable[Row]], ...] = (
        ("stages", (row for row in timeline.rows if row.kind in ("stage", "item"))),
        ("workloads", (row for row in timeline.rows if row.kind == "workload")),
        ("pods", pods[:_MOST_PODS]),
    )
    for title, rows in groups:
        lines = [_row(row, timeline) for row in rows]
        if lines:
            parts += [f'<div class="group">{title}</div>', *lines]
    if timeline.sightings:
        parts += ['<div class="group">findings</div>', *(_sighting(one, timeline) for one in timeline.sightings)]
    return "".join([*parts, "</div>", *_legend(timeline)])


def tick_step(seconds: float) -> float:
    """Seconds between two lines of the grid: 1, 2 or 5 times a power of ten, at most eight lines."""
    size = 0.1
    while True:
        for factor in (1, 2, 5):
            if seconds / (size * factor) <= _TICKS:
                return size * factor
        size *= 10


def _ticks(timeline: Timeline, step: float) -> Iterator[str]:
    number = 0
    while number * step <= timeline.seconds * 0.97:
        words = f"{number * step:g} s"
        yield f'<span style="left:{_share(number * step, timeline)}">{words}</span>'
        number += 1


def _row(row: Row, timeline: Timeline) -> str:
    deep = " deep" if row.kind in ("item", "pod") else ""
    took = duration(sum(one.end - one.begin for one in row.segments))
    bars = "".join(_segment(one, timeline) for one in row.segments)
    name = escape(clean(row.name))
    return (
        f'<div class="name{deep}" title="{name}">{name}</div><div class="track">{bars}</div>'
        f'<div class="took">{escape(took)}</div>'
    )


def _segment(one: Segment, timeline: Timeline) -> str:
    begin = min(max(one.begin - timeline.begun, 0.0), timeline.seconds)
    width = max(min(one.end - timeline.begun, timeline.seconds) - begin, 0.0)
    why = f": {one.why}" if one.why else ""
    title = f"{one.state}, {begin:.1f} s to {begin + width:.1f} s{why}"
    return (
        f'<div class="seg {_KINDS.get(one.state, "")}" title="{escape(clean(title))}" '
        f'style="left:{_share(begin, timeline)};width:{_share(width, timeline)}"></div>'
    )


def _sighting(one: Sighting, timeline: Timeline) -> str:
    named = max(one.named - timeline.begun, 0.0)
    marks = ""
    if one.since is not None and one.delay is not None:
        known = max(one.since - timeline.begun, 0.0)
        marks = (
            f'<div class="seg delay" style="left:{_share(known, timeline)};'
            f'width:{_share(max(named - known, 0.0), timeline)}"></div>'
            f'<div class="dot" title="Kubernetes showed it at {known:.1f} s" '
            f'style="left:{_share(known, timeline)}"></div>'
        )
    marks += (
        f'<div class="dot named" title="named on screen at {named:.1f} s" style="left:{_share(named, timeline)}"></div>'
    )
    words = "" if one.delay is None else f"≤ {one.delay:.1f} s"
    title = escape(clean(one.title))
    return (
        f'<div class="name" title="{title}">{escape(clean(one.code))}</div><div class="track">{marks}</div>'
        f'<div class="took">{words}</div>'
    )


def _legend(timeline: Timeline) -> Iterator[str]:
    yield '<div class="legend">'
    colours = {"good": "--good", "bad": "--bad", "idle": "--idle", "": "--busy"}
    for kind, words in _LEGEND:
        yield f'<span><i style="background:var({colours[kind]})"></i>{words}</span>'
    if timeline.sightings:
        yield '<span><i class="round"></i>Kubernetes showed it (whole seconds)</span>'
        yield '<span><i class="tilt"></i>named on screen</span>'
    yield "</div>"


def _share(seconds: float, timeline: Timeline) -> str:
    return f"{min(seconds / timeline.seconds, 1.0) * 100:.3f}%"
