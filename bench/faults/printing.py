"""The tables as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.faults.healthy import Healthy
from bench.faults.judging import Row
from bench.report import machine

_HEAD = ("fault", "code", "named after", "verdict after", "verdict", "exit", "first line shown", "run")


def line_of(row: Row) -> str:
    """One row for the terminal, what is wrong below it."""
    line = f"{'FAIL' if row.wrong else 'ok':4} {row.fault.name:38} {row.code:22} named {_seconds(row.named):>7}  "
    line += f"verdict {_seconds(row.verdict):>7}  exit {row.exit_code}  run {row.took:5.1f} s  {row.line}"
    return "\n".join([line, *(f"       ! {one}" for one in row.wrong)])


def healthy_line(one: Healthy) -> str:
    """One healthy rollout for the terminal, what was noted and what is wrong below it."""
    load = f"  {one.load.sent} requests, {len(one.load.failed)} failed" if one.load else ""
    line = f"{'FAIL' if one.wrong else 'ok':4} {one.rollout.name:60} exit {one.exit_code}  {one.seconds:5.1f} s{load}"
    return "\n".join(
        [line, *(f"       note: {text}" for text in one.notes), *(f"       ! {text}" for text in one.wrong)]
    )


def document(rows: Sequence[Row], rollouts: Sequence[Healthy], took: Mapping[str, float]) -> str:
    """Both tables with their headings."""
    parts = [
        "# Faults and healthy rollouts",
        "",
        f"`make faults` on {machine()} at the end. Minikube with the docker driver,",
        "the Todo application with the requests of its profile `small`. Times are seconds",
        "after the first sign of the fault that the API server showed to a watch of its own.",
        "",
    ]
    if rows:
        parts += ["## Faults", "", _faults(rows, took.get("faults", 0.0))]
    if rollouts:
        parts += ["## Healthy rollouts", "", _healthy(rollouts, took.get("healthy", 0.0))]
    return "\n".join(parts)


def _healthy(rollouts: Sequence[Healthy], seconds: float) -> str:
    lines = [
        "| rollout | exit | run | alarms | said without alarm | requests |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in rollouts:
        load = f"{one.load.sent}, {len(one.load.failed)} failed" if one.load else ""
        alarms = "; ".join(one.wrong) or "none"
        notes = "; ".join(one.notes).replace("|", "\\|")
        cells = (one.rollout.name, str(one.exit_code), f"{one.seconds:.1f} s", alarms, notes, load)
        lines.append(f"| {' | '.join(cells)} |")
    good = sum(not one.wrong for one in rollouts)
    return "\n".join(
        [*lines, "", f"{len(rollouts)} rollouts in {seconds / 60:.1f} minutes, {good} without an alarm.", ""]
    )


def _faults(rows: Sequence[Row], seconds: float) -> str:

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
