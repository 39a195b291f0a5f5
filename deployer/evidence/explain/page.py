"""A run as one HTML page that needs nothing else: no network, no files beside it.

All that comes from elsewhere (logs, objects, names) is escaped; the page's policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from deployer.core.text import clean, duration
from deployer.evidence.explain.lines import OUTCOMES, details, hints, moment, outcome_words
from deployer.evidence.explain.run import Run, TextFile
from deployer.evidence.timeline import Row, Segment, Sighting, Timeline, cpu_words, critical_path, memory_words

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
        lines = [_bar_row(row, timeline) for row in rows]
        if lines:
            parts += [f'<div class="group">{title}</div>', *lines]
    path = [Row(f"{one.what} {one.name}".strip(), "item", (Segment("", one.begin, one.end),)) for one in
            critical_path(timeline)]  # fmt: skip
    if path:
        parts += ['<div class="group">critical path</div>', *(_bar_row(row, timeline) for row in path)]
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


def _bar_row(row: Row, timeline: Timeline) -> str:
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


_BAD = re.compile(r"\b(?:[A-Z]\w*)?(?:[Ee]rror|ERROR|[Ee]xception|Traceback|[Ff]atal|FATAL|panic)\b")
_CALM = re.compile(r"\b(?:INFO|DEBUG|TRACE|NOTICE)\b|\blevel\W{1,4}(?:info|debug|trace)\b")
_WARN = re.compile(r"\bwarn(?:ing)?\b", re.IGNORECASE)
_FULL, _NEARLY = 0.95, 0.7
_RELEASE = ("name", "namespace", "revision", "verdict", "reason")
_IMAGE = ("name", "ref", "state", "id")


def html(run: Run) -> str:
    """The page."""
    here = Path(__file__).parent
    style, script = (here / "page.css").read_text(encoding="utf-8"), (here / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = {(one.code, one.where) for one in run.problems}
    page = _environment().from_string((here / "page.html.j2").read_text(encoding="utf-8"))
    return (
        page.render(
            run=run,
            policy=f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'",
            style=style,
            script=script,
            cause=run.cause.title if run.cause is not None else outcome_words(run),
            kind=run.outcome if run.outcome in OUTCOMES else "unfinished",
            facts=[(name, value) for name, value in _facts(run).items() if value],
            took=duration(run.timeline.seconds),
            chart=Markup(waterfall(run.timeline)) if run.timeline.rows else "",  # noqa: S704  (it escapes by itself)
            warnings=[one for one in run.warnings if (one.code, one.where) not in shown],
            diff=[(_kind(line), line) for line in run.diff.splitlines()],
            logs=sorted(run.logs, key=_by_cause(run)),
            nodes=[(_node_words(one), _node_rows(one)) for one in run.nodes],
            releases=[[one.get(name) for name in _RELEASE] for one in run.releases],
            images=[[one.get(name) for name in _IMAGE] for one in run.images],
        )
        + "\n"
    )


def _environment() -> Environment:
    """Whatever a template shows has no control characters, nothing that reorders a line, and no markup."""
    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )  # fmt: skip
    made.globals.update(tone=_tone, detail_of=lambda one: "\n".join(details(one)), hints_of=hints)
    return made


def _facts(run: Run) -> dict[str, str]:
    return {
        "run": run.id,
        "": outcome_words(run) if run.cause is not None else "",
        "began": moment(run.timeline.begun),
        "took": duration(run.seconds),
        "commit": f"{run.commit[:7]}{' and uncommitted changes' if run.dirty else ''}" if run.commit else "",
        "spec": run.spec,
        "Kubernetes": run.versions.get("kubernetes", ""),
        "todo-deploy": run.versions.get("todo-deploy", ""),
    }


def _by_cause(run: Run) -> Any:
    """Sorts the logs of the failing pod first, the previous container's before the one that runs now."""
    where = {part for problem in run.problems for part in problem.where.split("/") if len(part) > 2}

    def key(one: TextFile) -> tuple[int, int, str]:
        pod = one.name.partition(".")[0]
        return (0 if pod in where else 1, 0 if ".previous." in one.name else 1, one.name)

    return key


def _kind(line: str) -> str:
    """The class of a line of a diff."""
    return "file" if line.startswith(("+++ ", "--- ")) else {"+": "add", "-": "del", "@": "at"}.get(line[:1], "")


def _tone(line: str) -> str:
    if _CALM.search(line[:60]):  # a logger or a path may be called "error"
        return ""
    if _BAD.search(line):
        return " bad"
    return " warn" if _WARN.search(line[:60]) else ""


def _node_words(node: Mapping[str, Any]) -> str:
    # Ready is to be true, every pressure false.
    odd = [one for one in node["conditions"] if (one["type"] == "Ready") != (one["status"] == "True")]
    state = ", ".join(f"{one['type']} is {one['status']}: {one['message']}" for one in odd) or "healthy"
    return f"{node['name']}: {state}; {node['pods']} pods of {node['podCapacity']}; kubelet {node['kubelet']}"


def _node_rows(node: Mapping[str, Any]) -> list[dict[str, str]]:
    rows = []
    for name, show in (("cpu", cpu_words), ("memory", memory_words)):
        has = float(node["allocatable"][name]) or 1.0
        asked, most = float(node["requests"][name]), float(node["limits"][name])
        rows.append({
            "name": name,
            "requests": f"{show(asked)} ({asked / has:.0%})",
            "limits": f"{show(most)} ({most / has:.0%})",
            "allocatable": show(has),
            "width": f"{min(asked / has, 1):.1%}",
            "kind": "bad" if asked / has >= _FULL else "care" if asked / has >= _NEARLY else "",
        })  # fmt: skip
    return rows
