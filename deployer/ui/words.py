"""Sentences that the plain lines and the live screen share (no rich)."""

from __future__ import annotations

from typing import assert_never

from deployer.core.errors import EXIT_MEANINGS
from deployer.core.events import RunFinished
from deployer.status import Phase, WorkloadStatus
from deployer.ui.text import count, duration


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


def untold_words(number: int) -> str:
    """Where the findings are that a screen of the first ones leaves out; nothing where there are none."""
    return f"{count(number, 'further finding')}: -v, or todo-deploy explain" if number else ""


def why_not(status: WorkloadStatus) -> str:
    """Why a workload is not Available, in the cluster's words; nothing when it is."""
    if status.phase is Phase.AVAILABLE:
        return ""
    return ": ".join(part for part in (status.reason, status.message) if part)


def workload_words(status: WorkloadStatus) -> str:
    """A workload's state in one clause."""
    words = f"{status.phase.value}, {status.ready}/{status.desired} ready"
    if status.restarts:
        words += f", {count(status.restarts, 'restart')}"
    why = why_not(status)
    return f"{words}: {why}" if why else words
