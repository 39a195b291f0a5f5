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

from deployer.core.errors import Problem
from deployer.core.text import clean, clean_lines, duration
from deployer.evidence.explain.lines import OUTCOMES, moment, outcome_words
from deployer.evidence.explain.run import Run, TextFile
from deployer.evidence.explain.waterfall import waterfall
from deployer.evidence.nodes import cpu_words, memory_words

_BAD = re.compile(r"\b(?:[A-Z]\w*)?(?:[Ee]rror|ERROR|[Ee]xception|Traceback|[Ff]atal|FATAL|panic)\b")
_CALM = re.compile(r"\b(?:INFO|DEBUG|TRACE|NOTICE)\b|\blevel\W{1,4}(?:info|debug|trace)\b")
_WARN = re.compile(r"\bwarn(?:ing)?\b", re.IGNORECASE)
_FULL, _NEARLY = 0.95, 0.7


def html(run: Run) -> str:
    """The page."""
    here = Path(__file__).parent
    style, script = (here / "page.css").read_text(encoding="utf-8"), (here / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    cause = run.cause.title if run.cause is not None else outcome_words(run)
    body = "".join(_sections(run, cause))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(cause)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main><script>{script}</script></body></html>\n"
    )


def _sections(run: Run, cause: str) -> Iterator[str]:
    yield _verdict(run, cause)
    yield from (_also(one, "ok" if one.code == "ROLLED_BACK" else "failed") for one in run.problems[1:])
    said = {(one.code, one.where) for one in run.problems}
    also = [one for one in run.warnings if (one.code, one.where) not in said]
    if run.timeline.rows:
        yield _card("When", f"{duration(run.timeline.seconds)} in all", waterfall(run.timeline))
    if also:
        yield _card("Also seen", "", "".join(_also(one, "care") for one in also))
    if run.diff:
        yield _card("What the revision changed", "compared with the last good one", _diff(run.diff))
    if run.logs:
        logs = sorted(run.logs, key=_by_cause(run))
        files = "".join(_file(one, "search", first=one is logs[0]) for one in logs)
        yield _card("Logs", "", _tools() + files)
    if run.events:
        yield _card("Events", "oldest first, UTC", f"<pre>{_lines(run.events)}</pre>")
    if run.descriptions:
        yield _card("Workloads and pods", "", "".join(_file(one) for one in run.descriptions))
    if run.nodes:
        yield _card("Nodes", "what the pods request of what there is", "".join(_node(one) for one in run.nodes))
    yield _card("Releases and images", "", _parts(run))
    yield f"<footer>{_text(str(run.path))}<br>{_text(', '.join(run.files))}</footer>"


def _verdict(run: Run, cause: str) -> str:
    problem = run.cause
    kind = run.outcome if run.outcome in OUTCOMES else "unfinished"
    parts = [f'<section class="card verdict {kind}">']
    parts.append(f'<span class="pill {kind}">{_text(problem.code if problem else run.outcome)}</span>')
    parts.append(f"<h1>{_text(cause)}</h1>")
    if problem is not None:
        parts.append(f'<div class="where mono">{_text(problem.where)}</div>' if problem.where else "")
        parts.append(_detail(problem))
        parts.append(_next(problem))
    commit = f"{run.commit[:7]}{' and uncommitted changes' if run.dirty else ''}" if run.commit else ""
    facts = {
        "run": run.id,
        "": outcome_words(run) if problem is not None else "",
        "began": moment(run.timeline.begun),
        "took": duration(run.seconds),
        "commit": commit,
        "spec": run.spec,
        "Kubernetes": run.versions.get("kubernetes", ""),
        "todo-deploy": run.versions.get("todo-deploy", ""),
    }
    said = "".join(f"<span>{_text(name)} <b>{_text(value)}</b></span>" for name, value in facts.items() if value)
    notes = f'<p class="pill care">not captured: {_text(run.notes)}</p>' if run.notes else ""
    return "".join([*parts, f'<div class="facts">{said}</div>{notes}</section>'])


def _also(problem: Problem, kind: str) -> str:
    where = f'<div class="where mono">{_text(problem.where)}</div>' if problem.where else ""
    head = f'<span class="pill {kind}">{_text(problem.code)}</span> <b>{_text(problem.title)}</b>'
    body = f"<div>{head}{where}{_detail(problem)}{_next(problem)}</div>"
    return (
        f'<div class="also">{body}</div>'
        if kind == "care"
        else f'<section class="card verdict {kind}">{body}</section>'
    )


def _detail(problem: Problem) -> str:
    lines = [line for line in clean_lines(problem.detail) if not line.startswith("evidence: ")]
    return f'<pre class="wrap">{_lines(chr(10).join(lines))}</pre>' if lines else ""


def _next(problem: Problem) -> str:
    hints = [hint for hint in problem.hints if hint != "todo-deploy explain"]
    items = (f'<li><code>{_text(hint)}</code><button type="button" data-copy>copy</button></li>' for hint in hints)
    return f'<ul class="next">{"".join(items)}</ul>' if hints else ""


def _card(title: str, aside: str, body: str) -> str:
    small = f"<small>{_text(aside)}</small>" if aside else ""
    return f'<section class="card"><h2>{_text(title)}{small}</h2>{body}</section>'


def _tools() -> str:
    return (
        '<div class="tools"><input id="search" type="search" placeholder="search the logs ( / )" '
        'aria-label="search the logs"><output id="found"></output>'
        '<button type="button" data-open="yes">open all</button>'
        '<button type="button" data-open="no">close all</button></div>'
    )


def _file(one: TextFile, mark: str = "", *, first: bool = False) -> str:
    """A file that opens; the first log, which says most, is open from the start."""
    opened = " open" if first else ""
    data = f" data-{mark}" if mark else ""
    name = one.name.removesuffix(".txt").removesuffix(".log")
    count = f"{one.lines} line{'' if one.lines == 1 else 's'}"
    return (
        f"<details{data}{opened}><summary>{_text(name)}<small>{count}</small></summary>"
        f"<pre>{_lines(one.text)}</pre></details>"
    )


def _by_cause(run: Run) -> Any:
    """Sorts the logs of the failing pod first, the previous container's before the one that runs now."""
    where = {part for problem in run.problems for part in problem.where.split("/") if len(part) > 2}

    def key(one: TextFile) -> tuple[int, int, str]:
        pod = one.name.partition(".")[0]
        return (0 if pod in where else 1, 0 if ".previous." in one.name else 1, one.name)

    return key


def _diff(text: str) -> str:
    kinds = {"+": "add", "-": "del", "@": "at"}
    parts = []
    for line in text.splitlines():
        kind = "file" if line.startswith(("+++ ", "--- ")) else kinds.get(line[:1], "")
        parts.append(f'<span class="l {kind}">{_text(line)}</span>')
    return f'<pre class="diff">{"".join(parts)}</pre>'


def _lines(text: str) -> str:
    return "".join(f'<span class="l{_tone(line)}">{_text(line)}</span>' for line in text.splitlines())


def _tone(line: str) -> str:
    if _CALM.search(line[:60]):  # a logger or a path may be called "error"
        return ""
    if _BAD.search(line):
        return " bad"
    return " warn" if _WARN.search(line[:60]) else ""


def _node(node: Mapping[str, Any]) -> str:
    rows = []
    for name, show in (("cpu", cpu_words), ("memory", memory_words)):
        has = float(node["allocatable"][name]) or 1.0
        asked, most = float(node["requests"][name]), float(node["limits"][name])
        kind = "bad" if asked / has >= _FULL else "care" if asked / has >= _NEARLY else ""
        rows.append(
            f'<tr><td>{name}</td><td class="number">{show(asked)} ({asked / has:.0%})</td>'
            f'<td><div class="bar"><i class="{kind}" style="width:{min(asked / has, 1):.1%}"></i></div></td>'
            f'<td class="number">{show(most)} ({most / has:.0%})</td><td class="number">{show(has)}</td></tr>'
        )
    odd = [
        one for one in node["conditions"] if (one["type"] == "Ready") != (one["status"] == "True")
    ]  # Ready is to be true, every pressure false
    said = ", ".join(f"{one['type']} is {one['status']}: {one['message']}" for one in odd) or "healthy"
    head = f"{node['name']}: {said}; {node['pods']} pods of {node['podCapacity']}; kubelet {node['kubelet']}"
    table = _table(("", "requests", "", "limits", "allocatable"), rows)
    return f"<p>{_text(head)}</p>{table}"


def _parts(run: Run) -> str:
    releases = [
        _row(one.get("name"), one.get("namespace"), one.get("revision"), one.get("verdict"), one.get("reason"))
        for one in run.releases
    ]
    images = [_row(one.get("name"), one.get("ref"), one.get("state"), one.get("id")) for one in run.images]
    tables = ""
    if releases:
        tables += _table(("release", "namespace", "revision", "verdict", "because"), releases)
    if images:
        tables += _table(("image", "reference", "", "id"), images)
    return tables or "<p>none</p>"


def _row(*cells: Any) -> str:
    return "<tr>" + "".join(f'<td class="break">{_text(str(cell or ""))}</td>' for cell in cells) + "</tr>"


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f"<th>{_text(one)}</th>" for one in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _text(text: str) -> str:
    """Foreign text: no control characters, nothing that reorders a line, no markup."""
    return escape(clean(text), quote=True)
