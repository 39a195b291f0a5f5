"""Status of Kubernetes objects as a pure function of plain dicts and a `now`; no client, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """A workload's phase (design §6)."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    AVAILABLE = "Available"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    STALLED = "Stalled"
    FAILED = "Failed"
    SCALED_TO_ZERO = "ScaledToZero"
    TERMINATING = "Terminating"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadRef:
    """Names one workload: kind is Deployment, StatefulSet, DaemonSet or Job."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """One workload as seen at one moment; `message` counts ("Available: 1/2"), `reason` is a stable word."""

    ref: WorkloadRef
    phase: Phase
    ready: int
    desired: int
    updated: int
    restarts: int
    reason: str = ""
    message: str = ""
    images: tuple[str, ...] = ()
    created: str = ""
