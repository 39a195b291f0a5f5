"""What was measured, as a Markdown table that is also readable as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.topologies.journey import STEPS, Journey
from bench.topologies.together import Together

_HEAD = ("topology", *(f"{step} (s)" for step in STEPS), "URLs", "peak memory (MiB)", "checklist", "result")


def journeys_table(journeys: Iterable[Journey]) -> str:
    """One row per application, columns as wide as their widest cell, and below it what went wrong."""
    rows = [_HEAD, *(_row(one) for one in journeys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    wrong = [f"- {one.name}: {problem}" for one in journeys for problem in one.problems]
    return "\n".join([*lines, *(["", *wrong] if wrong else [])])


def together_lines(result: Together) -> str:
    """Which run side by side, what they take, and the refusals with their arithmetic."""
    lines = [
        f"- Side by side: {', '.join(result.running) or 'none'}; {result.urls} URLs answer.",
        f"- Of these within the documents' share of limits (70 %): {', '.join(result.within) or 'none'}.",
    ]
    lines += ["- With all of them running:", "", *_block(result.shares)] if result.shares else []
    for name, words in result.refused:
        then = "then started without the rule on limits" if name in result.running else "not started"
        lines += [f"- Refused: {name}, {then}:", "", *_block(words)]
    lines += [f"- Wrong: {problem}" for problem in result.problems]
    return "\n".join(lines)


def _block(text: str) -> list[str]:
    return ["  ```", *(f"  {line}" for line in text.splitlines()), "  ```", ""]


def _row(one: Journey) -> tuple[str, ...]:
    seconds = (f"{one.seconds[step]:.1f}" if step in one.seconds else "-" for step in STEPS)
    peak = str(one.peak_mib or "-")
    return (one.name, *seconds, str(one.urls), peak, str(one.points), "ok" if one.ok else "FAILED")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
