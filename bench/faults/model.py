"""What a fault is: how it is put in, what the API shows of it, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from deployer.diagnosis.causes import CAUSES, Policy

APPLICATION, RELEASE, NAMESPACE = "todo", "todo-app", "todo"

Values = Mapping[str, Any]
Edit = Callable[[str], str]


class Ends(Enum):
    """When a run with the fault ends."""

    NOW = "at once"
    CONFIRMED = "once confirmed"
    HELD = "at the first restart of the hold"
    DEADLINE = "at the deadline"
    GOES_ON = "goes on"


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    `values` lie over the component's values, `tags` over the templates that hand its image over; `files` edit (or,
    where there is none, make) sources of the copy; `before` and `after` are kubectl's words, `without` objects of the
    cluster that are away meanwhile, if they are there at all. `shown` is a pattern of
    the first sign of it that the API gives (see `watching.signs`), `says` one of what a person reads.
    `also` are codes of findings that are true as well. `settled`: it begins when no pod is still terminating.
    `exit_code` is 5 where what was verified before still serves.
    """

    name: str
    code: str
    ends: Ends
    shown: str
    says: str
    component: str = "backend"
    values: Values = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Edit] = field(default_factory=dict)
    before: tuple[tuple[str, ...], ...] = ()
    after: tuple[tuple[str, ...], ...] = ()
    without: tuple[str, ...] = ()
    waived: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    settled: bool = False
    timeout: int = 120
    hold: str = "0s"
    exit_code: int = 5

    @property
    def policy(self) -> Policy:
        """When the table of causes gives it up in `balanced`."""
        return CAUSES[self.code].balanced

    def overlay(self) -> dict[str, Any]:
        """What lies over the spec."""
        over: dict[str, Any] = {"releases": {RELEASE: {"values": {self.component: dict(self.values)}}}}
        if self.tags:
            mapped = {f"{self.component}.image.{key}": template for key, template in self.tags.items()}
            over["releases"][RELEASE]["images"] = {self.component: mapped}
        if self.waived:
            over["rules"] = {"waive": [{"rule": rule, "reason": f"a fault on purpose: {self.name}"}
                                       for rule in self.waived]}  # fmt: skip
        return over
