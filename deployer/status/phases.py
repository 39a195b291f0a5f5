"""The phases of everything that is watched, and the values that carry them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

Object = Mapping[str, Any]
"""One Kubernetes object as the API returns it: any field may be missing or null."""


class Phase(Enum):
    """A workload's phase."""

    PENDING = "Pending"
    PROGRESSING = "Progressing"
    AVAILABLE = "Available"
    DEGRADED = "Degraded"
    PAUSED = "Paused"
    STALLED = "Stalled"
    FAILED = "Failed"
    SCALED_TO_ZERO = "ScaledToZero"
    TERMINATING = "Terminating"


class PodPhase(Enum):
    """A pod's phase as a person means it: the API's `phase` plus readiness, crash loops and deletion."""

    PENDING = "Pending"
    CREATING = "Pulling/Creating"
    RUNNING = "Running"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CRASH_LOOP = "CrashLoopBackOff"
    TERMINATING = "Terminating"
    UNKNOWN = "Unknown"


class PvcPhase(Enum):
    """A volume claim's phase."""

    PENDING = "Pending"
    BOUND = "Bound"
    LOST = "Lost"
    TERMINATING = "Terminating"


class ServicePhase(Enum):
    """Whether a Service has an endpoint that takes traffic."""

    AVAILABLE = "Available"
    UNAVAILABLE = "Unavailable"


class ClusterPhase(Enum):
    """The local cluster's phase."""

    MISSING = "Missing"
    STOPPED = "Stopped"
    RUNNING = "Running"
    PAUSED = "Paused"
    BROKEN = "Broken"


@dataclass(frozen=True, slots=True, order=True)
class WorkloadRef:
    """Names one workload or custom resource by its kind (`core.ports.kind_of`).

    `passing`: a Job that removes itself some time after it has ended.
    """

    namespace: str
    kind: str
    name: str
    passing: bool = field(default=False, compare=False)

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


@dataclass(frozen=True)
class Snapshot:
    """What one round of LIST requests returned: plain objects, by kind; looked up by owner without a search.

    `others` are the watched objects of kinds that have no field here.
    """

    deployments: tuple[Object, ...] = ()
    statefulsets: tuple[Object, ...] = ()
    daemonsets: tuple[Object, ...] = ()
    jobs: tuple[Object, ...] = ()
    replicasets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    events: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    endpointslices: tuple[Object, ...] = ()
    pvcs: tuple[Object, ...] = ()
    hpas: tuple[Object, ...] = ()
    ingresses: tuple[Object, ...] = ()
    ingressclasses: tuple[Object, ...] = ()
    nodes: tuple[Object, ...] = ()
    revisions: tuple[Object, ...] = ()
    others: tuple[Object, ...] = ()

    @cached_property
    def pods_by_owner(self) -> Mapping[str, tuple[Object, ...]]:
        """The pods by the uid of each of their owners."""
        return _by_owner(self.pods)

    @cached_property
    def sets_by_owner(self) -> Mapping[str, tuple[Object, ...]]:
        """The ReplicaSets by the uid of each of their owners."""
        return _by_owner(self.replicasets)

    @cached_property
    def jobs_by_owner(self) -> Mapping[str, tuple[Object, ...]]:
        """The Jobs by the uid of each of their owners."""
        return _by_owner(self.jobs)

    @cached_property
    def revisions_by_owner(self) -> Mapping[str, tuple[Object, ...]]:
        """The ControllerRevisions by the uid of each of their owners."""
        return _by_owner(self.revisions)


def _by_owner(objects: Iterable[Object]) -> Mapping[str, tuple[Object, ...]]:
    found: dict[str, list[Object]] = {}
    for obj in objects:
        for owner in (obj.get("metadata") or {}).get("ownerReferences") or ():
            found.setdefault(str(owner.get("uid")), []).append(obj)
    return {uid: tuple(owned) for uid, owned in found.items()}
