"""Problems as lines of text: the cause first, then the evidence, then the next command (no rich)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from deployer.core.errors import Problem
from deployer.ui.text import clean, clean_lines

Severity = Literal["error", "warning"]


def problem_lines(problems: Iterable[Problem], severity: Severity = "error") -> list[str]:
    """Each problem as `error[CODE]: title`, `  --> where`, its detail and a `  help:` line for each hint."""
    lines: list[str] = []
    for problem in problems:
        if lines:
            lines.append("")
        lines.append(f"{severity}[{clean(problem.code)}]: {clean(problem.title)}")
        if problem.where:
            lines.append(f"  --> {clean(problem.where)}")
        lines += [f"  {line}".rstrip() for line in clean_lines(problem.detail)]
        lines += [f"  help: {clean(hint)}" for hint in problem.hints]
    return lines


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
