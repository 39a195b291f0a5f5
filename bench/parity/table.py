"""The rows as a table, with what is wrong in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import gmtime, strftime

from bench.parity.hand import Verdict
from bench.parity.row import Row
from bench.report import machine

_SHOWN = ("up", "again", "plan again", "status", "change", "rollback", "down")


def preface(rows: Sequence[Row], seconds: float, helm: str) -> str:
    """What the table is, and its sums."""
    run = [row for row in rows if not row.case.skip]
    bad = [row for row in run if row.flaws]
    return "\n".join(
        [
            "# Parity: by hand and by `up`",
            "",
            f"`make parity` on {machine()} at the end; {seconds / 60:.0f} minutes.",
            "",
            f"By hand: `docker build` (BuildKit) in the cluster's daemon, `helm upgrade --install --wait` ({helm}),",
            "pods and URLs; the same after a change. Then by the tool, which also ran `validate` and",
            "`plan --exit-code` before `up`, and `plan --exit-code` before the change. Seconds in brackets.",
            "",
            _sum(len(run), len(bad)),
        ]
    )


def table(rows: Sequence[Row]) -> str:
    """One line for each case, and below it the flaws of each."""
    head = ["case", "by hand", "change by hand", *_SHOWN, "s", "flaws"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(_line(row) for row in rows)]
    for row in rows:
        lines += _said_of(row)
    return "\n".join(lines)


def merged(text: str, rows: Sequence[Row], why: str) -> str:
    """The printed table with these rows in the place of those of their cases, new cases in order, and a note on it."""
    head, lines, said = _read(text)
    for row in rows:
        lines[row.case.name] = _line(row)
        said.pop(row.case.name, None)
        if row.flaws:
            said[row.case.name] = "\n".join(_said_of(row)).strip()
    run = len([line for line in lines.values() if "| skipped: " not in line])
    head = re.sub(r"\*\*\d+ cases, .* with one\.\*\*", _sum(run, len(said)), head)
    names = ", ".join(row.case.name for row in rows)
    head += f"\n\nMeasured on their own on {strftime('%Y-%m-%d at %H:%M', gmtime())} UTC, {why}: {names}."
    titles = text[text.index("| case |") :].splitlines()[:2]
    parts = [head, "\n".join([*titles, *(lines[name] for name in sorted(lines))])]
    return "\n\n".join([*parts, *(said[name] for name in sorted(said))])


def _read(text: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """What stands before a printed table, its lines and the flaws below it, by case."""
    head, _, rest = text.partition("| case |")
    block, *flaws = rest.strip().split("\n\n")
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in block.splitlines()[2:]}
    return head.strip(), lines, {one.split("**")[1]: one for one in flaws}


def _line(row: Row) -> str:
    return f"| {' | '.join(_cells(row))} |"


def _said_of(row: Row) -> list[str]:
    if not row.flaws:
        return []
    return ["", f"**{row.case.name}** {row.case.why}".rstrip(), *(f"- {' '.join(one.split())}" for one in row.flaws)]


def _sum(run: int, bad: int) -> str:
    return f"**{run} cases, {run - bad} without a flaw, {bad} with one.**"


def summary(row: Row) -> str:
    """The row in one line, for a person who waits."""
    if row.case.skip:
        return f"{row.case.name:36} skipped: {row.case.skip}"
    up = row.steps["up"].verdict if "up" in row.steps else "-"
    hand = row.hand["first"].words[:30] if row.hand else "-"
    return f"{row.case.name:36} {row.seconds:4.0f} s  hand {hand}; up {up}; {'; '.join(row.flaws)[:200] or 'no flaw'}"


def _cells(row: Row) -> list[str]:
    if row.case.skip:
        return [row.case.name, f"skipped: {row.case.skip}", *[""] * (len(_SHOWN) + 2), ""]
    return [
        row.case.name,
        _hand(row.hand.get("first")),
        _hand(row.hand.get("change")),
        *(_step(row, name) for name in _SHOWN),
        f"{row.seconds:.0f}",
        str(len(row.flaws) or ""),
    ]


def _step(row: Row, name: str) -> str:
    step = row.steps.get(name)
    if step is None:
        return ""
    if name == "plan again":
        return str(step.code)
    words = "unchanged" if name == "again" and step.code == 0 and not step.data.get("changed") else step.verdict
    return f"{words} ({step.seconds:.0f})"


def _hand(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    words = "works" if verdict.works else f"fails: {' '.join(verdict.words.split())[:70]}".replace("|", "/")
    return f"{words} ({verdict.seconds:.0f})"
