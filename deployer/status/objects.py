"""Reading plain Kubernetes objects, in which any field may be missing or null."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deployer.status.phases import Object, Snapshot, WorkloadRef

FIELDS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs"}


def dig(obj: Object | None, *path: str) -> Any:
    """The value at a path of keys, or None where any step is missing or null."""
    value: Any = obj
    for key in path:
        # A plain dict is known at a glance; this is asked a thousand times for each look at a large application.
        value = value.get(key) if type(value) is dict or isinstance(value, Mapping) else None
    return value


def rows(obj: Object | None, *path: str) -> list[Object]:
    """The list of objects at a path, empty where it is missing or null."""
    return [row for row in dig(obj, *path) or () if type(row) is dict or isinstance(row, Mapping)]


def number(obj: Object | None, *path: str, default: int = 0) -> int:
    """The whole number at a path, or the default."""
    value = dig(obj, *path)
    return value if isinstance(value, int) else default


def container_statuses(pod: Object | None) -> list[Object]:
    """What the pod tells of its containers, of its init containers first."""
    return rows(pod, "status", "initContainerStatuses") + rows(pod, "status", "containerStatuses")


def name_of(obj: Object | None) -> str:
    """The object's name."""
    return str(dig(obj, "metadata", "name") or "")


def uid_of(obj: Object | None) -> str:
    """The object's uid; one without an uid owns nothing."""
    return str(dig(obj, "metadata", "uid") or "")


def condition(obj: Object | None, kind: str) -> Object:
    """The status condition of that type, or an empty one."""
    return next((row for row in rows(obj, "status", "conditions") if row.get("type") == kind), {})


def epoch(text: Any) -> float | None:
    """A Kubernetes timestamp (`Time` or `MicroTime`) as seconds since 1970, or None."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def find(ref: WorkloadRef, snapshot: Snapshot) -> Object | None:
    """The workload's object, or None if the API has none."""
    objects: tuple[Object, ...] = getattr(snapshot, FIELDS[ref.kind])
    named = (obj for obj in objects if dig(obj, "metadata", "name") == ref.name)
    return next((obj for obj in named if dig(obj, "metadata", "namespace") in (ref.namespace, None)), None)


def is_terminating(obj: Object) -> bool:
    """Whether the object was asked to go."""
    return dig(obj, "metadata", "deletionTimestamp") is not None


def lags(workload: Object) -> bool:
    """Whether the controller has not yet seen the newest spec, so that its status is about an older one."""
    return number(workload, "status", "observedGeneration") < number(workload, "metadata", "generation")
