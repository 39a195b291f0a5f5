"""Rows of the tables that commands print, as plain data (no rich)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployer.status import Phase


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One workload as `status` shows it; `cause` says what is wrong, if anything."""

    workload: str
    phase: Phase
    ready: int
    desired: int
    restarts: int
    age: str = ""
    image: str = ""
    url: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check of `doctor`; `hint` is the command that mends what it found."""

    name: str
    state: Literal["pass", "warn", "fail", "skip"]
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One thing that `up` would do or leave alone; `reason` may have several lines and holds no secret value."""

    kind: str
    name: str
    action: Literal["create", "build", "update", "unchanged", "delete"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One revision of the application as `history` shows it; `told` is the verdict with its cause or its limits."""

    number: str
    when: str
    who: str
    commit: str
    verdict: str
    told: str
    seconds: str
    why: str
    images: str
