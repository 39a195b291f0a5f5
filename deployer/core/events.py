"""Everything that a run reports, as frozen values; `to_wire` is the documented JSON form (version 1).

One JSON object a line: `{"v": 1, "type": "<snake_case name>", …fields}`. Printers add `"at"` themselves, so
that a stage's events do not depend on time.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Literal

from deployer.core.errors import Problem
from deployer.status import WorkloadStatus


class ItemState(Enum):
    """How one item of a stage (an image, a secret, a release, a program) stands."""

    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A command began; `stages` are the names of those it will go through, in order."""

    command: str
    application: str
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StageStarted:
    """Work on a stage began."""

    stage: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a stage stands so; `done`/`total` (any unit) are given where progress is countable."""

    stage: str
    item: str
    state: ItemState
    text: str = ""
    done: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """One line of output of an item (a build, a program), already without secret values."""

    stage: str
    item: str
    line: str


@dataclass(frozen=True, slots=True)
class WorkloadChanged:
    """A workload's status differs from the one last reported."""

    status: WorkloadStatus


@dataclass(frozen=True, slots=True)
class UrlProven:
    """A request to a URL was answered with `status`."""

    name: str
    url: str
    status: int


@dataclass(frozen=True, slots=True)
class Warned:
    """Something a person should know that does not stop the run; `further` ones for those who ask for all.

    `since` is when Kubernetes showed it, in seconds since 1970, where the warning reports a finding.
    """

    problem: Problem
    further: bool = False
    since: float | None = None


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended well; `changed`: whether it changed anything, `text` says what in a few words."""

    stage: str
    seconds: float
    changed: bool
    text: str = ""


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage ended in a failure; the run ends with it."""

    stage: str
    seconds: float
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The command ended with `exit_code`."""

    exit_code: int
    changed: bool
    seconds: float
    outcome: Literal["ok", "failed", "interrupted"]


Event = (
    RunStarted
    | StageStarted
    | Item
    | Log
    | WorkloadChanged
    | UrlProven
    | Warned
    | StageFinished
    | StageFailed
    | RunFinished
)


def to_wire(event: Event) -> dict[str, Any]:
    """The event as a JSON-ready object, without a time."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"v": 1, "type": name, **plain_fields(event)}


def plain_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, and of those in it, as a JSON-ready object: of an enum its value."""
    return asdict(value, dict_factory=lambda pairs: {
        name: one.value if isinstance(one, Enum) else one for name, one in pairs
    })  # fmt: skip
