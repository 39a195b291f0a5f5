"""A run as lines for a terminal: the verdict, the cause, what else was seen, then when it all happened. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import zip_longest

from deployer.config.spec import FailFast
from deployer.core.errors import EXIT_MEANINGS, Problem
from deployer.core.text import UNICODE, Glyphs, clean, clean_lines, count, duration
from deployer.diagnosis.causes import CAUSES
from deployer.evidence.explain.run import Listed, Run
from deployer.evidence.timeline import Row, Sighting, Timeline, critical_path

Line = tuple[tuple[str, str], ...]
"""Parts of one line, each with its style's words ("" is none)."""

BAD, GOOD, CARE, BUSY, QUIET, STRONG = "bold red", "green", "yellow", "cyan", "dim", "bold"
OUTCOMES = {"ok": GOOD, "unchanged": QUIET, "failed": BAD, "interrupted": CARE, "unfinished": CARE}
_STATES = {
    "failed": BAD, "Failed": BAD, "Stalled": BAD, "CrashLoopBackOff": BAD, "interrupted": CARE, "unfinished": CARE,
    "Degraded": CARE, "Pending": QUIET, "unchanged": QUIET, "Terminating": QUIET, "done": GOOD, "Available": GOOD,
    "Ready": GOOD, "Succeeded": GOOD,
}  # fmt: skip
_BLANK: Line = ()
_NAME_CELLS, _MOST_PODS = 34, 12


def verdict_lines(run: Run, width: int = 100, glyphs: Glyphs = UNICODE) -> list[Line]:
    """The verdict, the cause first, then its evidence, the next command, and the timeline."""
    lines = [*_head(run, glyphs)]
    for problem in run.problems:
        lines += [_BLANK, *_problem(problem, glyphs, "error" if problem.code != "ROLLED_BACK" else "then")]
    said = {(problem.code, problem.where) for problem in run.problems}
    also = [one for one in run.warnings if (one.code, one.where) not in said and one.code != "NOTICE"]
    for problem in also:
        lines += [_BLANK, *_problem(problem, glyphs, "warning")]
    lines += [_BLANK, *timeline_lines(run.timeline, width, glyphs)]
    lines += [_BLANK, *_evidence(run, glyphs)]
    return lines


def timeline_lines(timeline: Timeline, width: int = 100, glyphs: Glyphs = UNICODE) -> Iterator[Line]:
    """One bar a stage, workload and pod, all on the same scale, and the moments at which findings were named."""
    cells = max(width - _NAME_CELLS - 24, 20)
    yield (("timeline", STRONG), (f"  0 {glyphs.ellipsis} {duration(timeline.seconds)}", QUIET))
    pods = [row for row in timeline.rows if row.kind == "pod"]
    shown = [row for row in timeline.rows if row.kind in ("stage", "workload")]
    for row in (*shown, *pods[:_MOST_PODS]):
        yield _bar(row, timeline, cells, glyphs)
    if len(pods) > _MOST_PODS:
        yield ((f"  and {len(pods) - _MOST_PODS} pods more", QUIET),)
    for one in timeline.sightings:
        yield _sighting(one, timeline, glyphs)
    waits = critical_path(timeline)
    if waits:
        yield (("critical path", STRONG), ("  what each moment waited for", QUIET))
    for wait in waits:
        took = wait.end - wait.begin
        share = f" {took / timeline.seconds:>4.0%}  "
        yield ((f"  {duration(took):>8}", ""), (share, QUIET), (wait.what, ""), (clean(f"  {wait.name}"), QUIET))


def list_lines(runs: Sequence[Listed], now: float) -> list[Line]:
    """The table of runs, the newest first."""
    rows = [("RUN", "COMMAND", "APPLICATION", "WHEN", "OUTCOME", "SECONDS", "CAUSE")]
    rows += [
        (one.id, one.command, one.application, ago(now - one.began), one.outcome, f"{one.seconds:.1f}", one.cause)
        for one in runs
    ]
    return _table(rows, {4: OUTCOMES}, right=(5,))


def rule_lines() -> list[Line]:
    """The table of causes: what each means, and when it fails a run under each policy."""
    rows = [("CODE", *(one.value.upper() for one in FailFast), "MEANING", "SOURCE")]
    rows += [
        (cause.code, *(str(cause.policy(one)) for one in FailFast), cause.title, cause.source)
        for cause in CAUSES.values()
    ]
    return _table(rows, {})


def ago(seconds: float) -> str:
    """How long ago, in words."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(max(seconds, 0))} s ago"


def moment(at: float) -> str:
    """A moment as people and logs of Kubernetes write it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def outcome_words(run: Run) -> str:
    """How the run ended, in one sentence."""
    what = f"{run.command} of {run.application}"
    if run.outcome == "ok":
        return f"{what} went well" + ("" if run.changed else ": nothing to change")
    if run.outcome == "unfinished":
        return f"{what} has no end: it was killed, or still runs"
    meaning = {int(code): text for code, text in EXIT_MEANINGS.items()}.get(run.exit_code or -1, "")
    ended = "was interrupted" if run.outcome == "interrupted" else "failed"
    return f"{what} {ended}" + (f" (exit code {run.exit_code}: {meaning})" if run.exit_code is not None else "")


def _head(run: Run, glyphs: Glyphs) -> Iterator[Line]:
    marks = {"ok": glyphs.done, "failed": glyphs.failed}
    style = OUTCOMES.get(run.outcome, CARE)
    yield ((f"{marks.get(run.outcome, glyphs.warning)} ", style), (clean(outcome_words(run)), STRONG))
    commit = f"commit {run.commit[:7]}{' and changes' if run.dirty else ''}" if run.commit else ""
    facts = (f"run {run.id}", moment(run.timeline.begun), duration(run.seconds), commit, run.spec)
    yield ((f"  {f' {glyphs.dot} '.join(clean(one) for one in facts if one)}", QUIET),)
    for one in run.releases:
        verdict = f", {one['verdict']}" if one.get("verdict") else ""
        changed = "" if one.get("changed") else ", unchanged"
        yield ((clean(f"  release {one.get('name')} revision {one.get('revision')}{verdict}{changed}"), QUIET),)


def _problem(problem: Problem, glyphs: Glyphs, severity: str) -> Iterator[Line]:
    style = {"error": BAD, "then": GOOD}.get(severity, CARE)
    yield ((f"{severity}[{clean(problem.code)}]", style), (f": {clean(problem.title)}", STRONG))
    if problem.where:
        yield (("  --> ", QUIET), (clean(problem.where), ""))
    yield from (((f"  {line}", ""),) for line in details(problem))
    yield from (((f"  {glyphs.arrow} ", BUSY), (clean(hint), STRONG)) for hint in hints(problem))


def details(problem: Problem) -> list[str]:
    """The lines of its detail, without the one that leads here."""
    return [line for line in clean_lines(problem.detail) if not line.startswith("evidence: ")]


def hints(problem: Problem) -> list[str]:
    """What to do next, which is not to come here."""
    return [hint for hint in problem.hints if hint != "todo-deploy explain"]


def _bar(row: Row, timeline: Timeline, cells: int, glyphs: Glyphs) -> Line:
    indent = {"stage": "  ", "workload": "  ", "item": "    ", "pod": "    "}[row.kind]
    name = clean(row.name)
    room = _NAME_CELLS - len(indent)
    name = name if len(name) <= room else f"{name[: room - len(glyphs.ellipsis)]}{glyphs.ellipsis}"
    parts: list[tuple[str, str]] = [(f"{indent}{name:<{room}} ", QUIET if row.kind == "pod" else "")]
    at = 0
    for one in row.segments:
        begin, end = (round((moment - timeline.begun) / timeline.seconds * cells) for moment in (one.begin, one.end))
        begin = min(max(begin, at), cells - 1)
        end = min(max(end, begin + 1), cells)
        parts += [(" " * (begin - at), ""), (glyphs.bar * (end - begin), _STATES.get(one.state, BUSY))]
        at = end
    last = row.segments[-1]
    took = duration(sum(one.end - one.begin for one in row.segments))
    text = f" {took:>7} {last.state if row.kind != 'stage' or last.state != 'done' else ''}".rstrip()
    return (*parts, (" " * (cells - at), ""), (text, _STATES.get(last.state, QUIET)))


def _sighting(one: Sighting, timeline: Timeline, glyphs: Glyphs) -> Line:
    named = one.named - timeline.begun
    words = f"named at {named:.1f} s"
    if one.since is not None and one.delay is not None:
        known = max(one.since - timeline.begun, 0.0)
        words = f"known to Kubernetes at {known:.1f} s, named at {named:.1f} s: at most {one.delay:.1f} s later"
    return ((f"  {glyphs.failed} ", BAD), (clean(one.code), STRONG), (f"  {words}", ""))


def _evidence(run: Run, glyphs: Glyphs) -> Iterator[Line]:
    kept = (
        count(len(run.descriptions), "description"), count(len(run.logs), "log"),
        count(max(run.events.count("\n") - 1, 0), "event"), f"a diff of {count(run.diff.count(chr(10)), 'line')}",
    )  # fmt: skip
    have = [one for one in kept if not one.startswith(("0 ", "a diff of 0 "))]
    yield (("evidence  ", STRONG), (str(run.path), ""))
    if have:
        yield ((f"          {', '.join(have)}", QUIET),)
    yield from (((f"          not captured: {line}", CARE),) for line in clean_lines(run.notes))
    yield ((f"  {glyphs.arrow} ", BUSY), (f"todo-deploy explain {run.id} --html run.html", STRONG))


def _table(rows: Sequence[tuple[str, ...]], styles: dict[int, dict[str, str]], right: Iterable[int] = ()) -> list[Line]:
    cells = [tuple(clean(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip_longest(*cells, fillvalue="")]
    lines: list[Line] = []
    for number, row in enumerate(cells):
        parts = []
        for column, cell in enumerate(row):
            text = f"{cell:>{widths[column]}}" if column in tuple(right) else f"{cell:<{widths[column]}}"
            style = QUIET if number == 0 else styles.get(column, {}).get(cell, "")
            parts.append((text if column < len(row) - 1 else text.rstrip(), style))
            parts.append(("  " if column < len(row) - 1 else "", ""))
        lines.append(tuple(parts))
    return lines
