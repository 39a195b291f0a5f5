"""The tables as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.judging import Row

_HEAD = ("fault", "code", "named after", "verdict after", "verdict", "exit", "first line shown", "run")


def line_of(row: Row) -> str:
    """One row for the terminal, what is wrong below it."""
    told = f"{'FAIL' if row.wrong else 'ok':4} {row.fault.name:38} {row.code:22} named {_seconds(row.named):>7}  "
    told += f"verdict {_seconds(row.verdict):>7}  exit {row.exit_code}  run {row.took:5.1f} s  {row.line}"
    return "\n".join([told, *(f"       ! {one}" for one in row.wrong)])


def as_markdown(rows: Sequence[Row], seconds: float) -> str:
    """The table, and a line that counts."""
    lines = [" | ".join(_HEAD), " | ".join("---" for _ in _HEAD)]
    for row in rows:
        cells = (
            row.fault.name, f"`{row.code}`", _seconds(row.named), _seconds(row.verdict), row.fault.ends.value,
            str(row.exit_code), row.line.replace("|", "\\|"), f"{row.took:.1f} s",
        )  # fmt: skip
        lines.append(" | ".join(cells))
    body = "\n".join(f"| {line} |" for line in lines)
    wrong = [f"- {row.fault.name}: {one}" for row in rows for one in row.wrong]
    named = [row.named for row in rows if row.named is not None]
    good = sum(not row.wrong for row in rows)
    summary = f"{len(rows)} faults in {seconds / 60:.1f} minutes, {good} of them as they should be."
    if named:
        summary += f" Slowest to be named: {max(named):.2f} s after the API showed it."
    return "\n".join([body, "", summary, *(["", "Wrong:", "", *wrong] if wrong else []), ""])


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
