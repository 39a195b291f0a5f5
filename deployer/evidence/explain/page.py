"""A run as one HTML page that needs nothing else: no network, no files beside it.

All that comes from elsewhere (logs, objects, names) is escaped; the page's policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

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
    made.globals.update(tone=_tone, detail_of=_detail, hints_of=_hints)
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


def _detail(problem: Problem) -> str:
    return "\n".join(line for line in clean_lines(problem.detail) if not line.startswith("evidence: "))


def _hints(problem: Problem) -> list[str]:
    return [hint for hint in problem.hints if hint != "todo-deploy explain"]


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
