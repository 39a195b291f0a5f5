"""What became of a release in a run."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.core.ports import ObjectRef


@dataclass(frozen=True, slots=True)
class Applied:
    """A release in the cluster: its revision, its objects, and whether this run made the revision."""

    name: str
    namespace: str
    revision: int
    changed: bool
    reason: str
    inputs: str
    objects: tuple[ObjectRef, ...]
    verified: bool
