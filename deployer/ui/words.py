"""Problems and outcomes in words: the cause first, the evidence, the next command (no rich)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, assert_never

from deployer.core.errors import EXIT_MEANINGS, Problem
from deployer.core.events import RunFinished
from deployer.core.text import clean, clean_lines, count, duration
from deployer.status import Phase, WorkloadStatus

Severity = Literal["error", "warning"]
_GOOD = frozenset({"ROLLED_BACK"})
"""Codes of what went well after a failure: a note among the problems, and no error."""


def problem_lines(problems: Iterable[Problem], severity: Severity | Literal["advice"] = "error") -> list[str]:
    """Each problem as `error[CODE]: title`, `  --> where`, its detail, a `  help:` line for each hint, and for an
    error the command that explains its code."""
    lines: list[str] = []
    for problem in problems:
        if lines:
            lines.append("")
        kind = kind_of(problem, severity)
        lines.append(f"{kind}[{clean(problem.code)}]: {clean(problem.title)}")
        if problem.where:
            lines.append(f"  --> {clean(problem.where)}")
        lines += [f"  {line}".rstrip() for line in clean_lines(problem.detail)]
        lines += [f"  help: {clean(hint)}" for hint in problem.hints]
        if kind == "error":
            lines.append(f"  more: todo-deploy help {clean(problem.code)}")
    return lines


def kind_of(problem: Problem, severity: Severity | Literal["advice"]) -> str:
    """What the problem is announced as: what went well after a failure is a note."""
    return "note" if problem.code in _GOOD else severity


def annotation(problem: Problem, severity: Severity = "error") -> str:
    """The problem as a GitHub Actions command, on the file's line where `where` names one."""
    place = re.fullmatch(r"(?P<file>[^:\s][^:]*)(?::(?P<line>\d+))?(?::(?P<col>\d+))?", problem.where.strip())
    named = {key: value for key, value in place.groupdict().items() if value} if place else {}
    if "line" not in named:  # without a line, `where` may as well be an object's name
        named = {}
    named["title"] = f"{problem.code}: {problem.title}"
    properties = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in named.items())
    body = [problem.title, *clean_lines(problem.detail), *(f"help: {hint}" for hint in problem.hints)]
    return f"::{severity} {properties}::" + _escaped("\n".join(clean(line) for line in body))


def defused(line: str) -> str:
    """The line with nothing in it that a GitHub Actions runner would take for a command."""
    line = line.replace("##[", "## [")
    return line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line


def _escaped(text: str, also: str = "") -> str:
    for character in "%\r\n" + also:  # `%` first, or the escapes would be escaped
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def run_words(command: str, event: RunFinished) -> str:
    """How the run ended, in one sentence."""
    took = duration(event.seconds)
    meanings = {int(code): meaning for code, meaning in EXIT_MEANINGS.items()}
    match event.outcome:
        case "ok":
            return f"{command} done in {took}" if event.changed else f"{command}: nothing to change ({took})"
        case "interrupted":
            return f"{command} interrupted after {took}"
        case "failed":
            meaning = meanings.get(event.exit_code, "")
            code = f"exit code {event.exit_code}" + (f": {meaning}" if meaning else "")
            return f"{command} failed after {took} ({code})"
        case _:
            assert_never(event.outcome)


def further_words(number: int) -> str:
    """Where the findings are that a screen of the first ones leaves out; nothing where there are none."""
    return f"{count(number, 'further finding')}: -v, or todo-deploy explain" if number else ""


def copied_words(services: Iterable[str]) -> str:
    """What becomes of files that `dev` copied into services, once it is left."""
    return (
        f"{', '.join(sorted(services))}: files were copied into what runs, not verified; `todo-deploy up` builds them"
    )


def why_not(status: WorkloadStatus) -> str:
    """Why a workload is not Available, or what is left to say of it, in the cluster's words."""
    if status.phase is Phase.AVAILABLE:
        return status.message if status.reason in ("OnDelete", "LastJobFailed", "Removed") else ""
    return ": ".join(part for part in (status.reason, status.message) if part)


def workload_words(status: WorkloadStatus) -> str:
    """A workload's state in one clause."""
    nothing = status.phase is Phase.AVAILABLE and not status.desired  # a CronJob, a custom resource
    words = status.phase.value + ("" if nothing else f", {status.ready}/{status.desired} ready")
    if status.restarts:
        words += f", {count(status.restarts, 'restart')}"
    why = why_not(status)
    return f"{words}: {why}" if why else words
