"""What a run came to, folded from its events: the data of `-o json` and of the run record (no rich)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from deployer.core.errors import Problem
from deployer.core.events import Event
from deployer.ui.view import View, fold, to_wire


@dataclass(frozen=True, slots=True)
class Report:
    """A run's result as far as it was told; the times in it are the events' own, so it needs no clock."""

    view: View = field(default_factory=View)

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return self.view.changed

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What the run failed of; every sink has printed these."""
        return self.view.problems

    @property
    def exit_code(self) -> int | None:
        """The exit code, once the run has ended."""
        return self.view.exit_code


def add(report: Report, event: Event) -> Report:
    """The report after one more event."""
    return Report(fold(report.view, event, now=0.0))


def to_data(report: Report) -> dict[str, Any]:
    """The `data` object of the envelope: stages with their items, workloads, URLs, warnings."""
    wire = to_wire(report.view)
    return {
        "application": wire["application"],
        "changed": wire["changed"],
        "outcome": wire["outcome"],
        "seconds": wire["seconds"],
        "stages": [_stage_data(stage) for stage in wire["stages"]],
        "workloads": list(wire["workloads"]),
        "urls": list(wire["urls"]),
        "warnings": [problem.to_wire() for problem in (*report.view.warnings, *report.view.further)],
    }


def envelope(
    command: str, ok: bool, exit_code: int, data: dict[str, Any] | None, problems: Iterable[Problem]
) -> dict[str, Any]:
    """The one JSON object that every command prints under `-o json`."""
    return {
        "schemaVersion": 1,
        "command": command,
        "ok": ok,
        "exitCode": int(exit_code),
        "data": data,
        "errors": [problem.to_wire() for problem in problems],
    }


def _stage_data(stage: dict[str, Any]) -> dict[str, Any]:
    kept = {key: stage[key] for key in ("name", "state", "seconds", "text")}
    items = [{key: item[key] for key in ("name", "state", "text")} for item in stage["items"]]
    return {**kept, "changed": stage["state"] == "done", "items": items}
