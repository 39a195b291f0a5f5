"""Helpers of the toolchain's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from deployer.core.events import Event
from deployer.core.steps import Steps, drive

T = TypeVar("T")


def finish(steps: Steps[T], events: list[Event] | None = None) -> T:
    """The steps' value; their events are added to `events`."""
    return drive(steps, (events if events is not None else []).append)


def program(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def nothing(*_: Any, **__: Any) -> Steps[bool]:
    """Steps that do nothing."""
    return False
    yield
