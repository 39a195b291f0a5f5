"""How rollouts are judged, and the rules that are checked before anything is built."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import Field, model_validator

from deployer.config.types import Duration, ObjectName, Part, Size


class FailFast(Enum):
    """How soon a bad sign ends a rollout."""

    STRICT = "strict"
    BALANCED = "balanced"
    PATIENT = "patient"


class ServiceRollout(Part):
    """How the rollout of one service is judged."""

    timeout: Duration | None = None
    """Deadline of its rollout."""
    fail_fast: Literal["strict", "balanced", "patient"] | None = None
    """How soon a bad sign of it ends the wait."""


class Rollout(Part):
    """How a rollout is watched and judged."""

    timeout: Duration = "300s"
    """Deadline of a release's rollout."""
    hold: Duration = "5s"
    """The least time that everything must stay Available; a liveness probe without a verdict prolongs it."""
    fail_fast: Literal["strict", "balanced", "patient"] = "balanced"
    """How soon a bad sign ends the wait."""
    on_failure: Literal["rollback", "keep"] = "rollback"
    """What follows a failed rollout when a revision was verified before."""
    early_probes: bool = True
    """Ask a pod's readiness probe as soon as its initial delay is over, not only once in a period: an annotation of the
    pod changes."""
    services: dict[ObjectName, ServiceRollout] = {}
    """Settings of single workloads, by name."""


class Replicas(Part):
    """Bounds of the number of a workload's pods."""

    min: int = 1
    """At least so many."""
    max: int | None = None
    """At most so many."""
    exactly: dict[str, int] = {}
    """Workloads, by name, that must have just so many."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> Replicas:
        if self.min < 0 or (self.max is not None and self.max < max(self.min, 1)):
            raise ValueError('"min" is at least 0, and "max" at least 1 and not below "min"')
        return self


class Layout(Part):
    """Where objects are and how they are named."""

    namespaces: Literal["any", "one"] = "any"
    """`one`: everything must be in the spec's namespace."""
    names: Literal["any", "component"] = "any"
    """`component`: an object's name must begin with the component that its label `app` names."""
    labels: tuple[str, ...] = ()
    """Labels that every workload must have."""


class Waiver(Part):
    """A rule that may be violated; `todo-deploy validate --rules` lists their names."""

    rule: str
    """The rule's name."""
    reason: str
    """Why it may be violated."""
    objects: tuple[str, ...] = ()
    """Only where it concerns these objects (`deployment/backend`, `*` stands for anything); default: everywhere."""


class Rules(Part):
    """Rules that are checked before anything is built."""

    policy: Literal["advise", "strict"] = "advise"
    """Whether what breaks a rule of the tier `policy` (limits, probes, users, tags, names, …) is advice or an error."""
    max_image_size: Size | None = None
    """Largest image; default: any size."""
    scan: Literal["off", "report", "block"] = "off"
    """Vulnerability scan by trivy or grype, whichever is on PATH; `block`: no image with a critical one is deployed."""
    max_context_size: Size | None = None
    """Largest build context, above which nothing is sent to the daemon; default: any size."""
    min_free_disk: Size = "2g"
    """Free disk that must remain where Docker keeps its data."""
    capacity: Literal["warn", "strict"] = "warn"
    """Whether limits above `maxLimitShare` are a warning or an error."""
    max_limit_share: int = Field(default=70, ge=1, le=1000)
    """Per cent of the cluster, less 1 CPU and 2 GiB for the system, that all limits together may have."""
    replicas: Replicas = Replicas()
    """Bounds of the replica counts in manifests."""
    tag_policy: Literal["digest", "semver", "semver-commit"] | None = None
    """The tag policy that every image must have."""
    layout: Layout = Layout()
    """Where objects are and how they are named."""
    waive: tuple[Waiver, ...] = ()
    """Rules that may be violated, each with the reason."""
    allow: tuple[str, ...] = ()
    """Rules that may be violated anywhere, by their names alone."""
