"""The rows as a table, with what is wrong in words."""

from __future__ import annotations

from collections.abc import Sequence

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
            f"**{len(run)} cases, {len(run) - len(bad)} without a flaw, {len(bad)} with one.**",
        ]
    )


def table(rows: Sequence[Row]) -> str:
    """One line for each case, and below it the flaws of each."""
    head = ["case", "by hand", "change by hand", *_SHOWN, "s", "flaws"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    bad = [row for row in rows if row.flaws]
    for row in bad:
        lines += ["", f"**{row.case.name}** {row.case.why}".rstrip()]
        lines += [f"- {' '.join(flaw.split())}" for flaw in row.flaws]
    return "\n".join(lines)


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
