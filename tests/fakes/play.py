"""Running a stage in a test: its events as a list, and its value or its failure."""

from __future__ import annotations

from typing import TypeVar

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Item
from deployer.core.steps import Steps, drive

T = TypeVar("T")


def played(steps: Steps[T]) -> tuple[list[Event], T]:
    """The events and the value of steps that end well."""
    events: list[Event] = []
    return events, drive(steps, events.append)


def failed(steps: Steps[object]) -> tuple[list[Event], DeployError]:
    """The events and the error of steps that fail."""
    events: list[Event] = []
    with pytest.raises(DeployError) as caught:
        drive(steps, events.append)
    return events, caught.value


def code(error: DeployError) -> str:
    """The code of the first problem."""
    return error.problems[0].code


def items(events: list[Event]) -> list[tuple[str, str, str]]:
    """Each item that was reported: its name, its state and its words."""
    return [(one.item, one.state.value, one.text) for one in events if isinstance(one, Item)]
