"""Rules on workloads: how many pods, how they are replaced, how they scale."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deployer.config.rules import Replicas
from deployer.core.ports import Object, ObjectRef
from deployer.core.text import did_you_mean
from deployer.preflight.rules.model import (
    Manifest,
    Place,
    Severity,
    Subject,
    Violation,
    Workload,
    is_custom,
    rule,
    without_addon,
)
from deployer.status.objects import number

_COUNTED = ("Deployment", "StatefulSet")


def scaled(subject: Subject) -> dict[ObjectRef, int]:
    """The workloads whose replicas an autoscaler sets, with the least that it sets."""
    scalers = subject.objects("HorizontalPodAutoscaler")
    return {_target(one): number(one.spec, "minReplicas", default=1) for one in scalers}


def _target(autoscaler: Manifest) -> ObjectRef:
    target = autoscaler.spec.get("scaleTargetRef") or {}
    return ObjectRef(str(target.get("kind")), autoscaler.namespace, str(target.get("name")))


def pods_of(workload: Workload) -> int:
    """How many pods are written down; Kubernetes takes 1 where none are."""
    count = workload.spec.get("replicas", 1)
    return count if isinstance(count, int) else 1


def share_of(value: object, pods: int, *, up: bool) -> int:
    """`25%` or `1` of so many pods, rounded as Kubernetes rounds surge (up) and unavailable (down)."""
    if isinstance(value, int):
        return value
    part = pods * int(str(value).removesuffix("%") or 0) / 100 if str(value).removesuffix("%").isdigit() else 0
    return math.ceil(part) if up else math.floor(part)


def surge_of(workload: Workload, pods: int) -> int:
    """How many pods more there are while the workload is updated."""
    strategy = workload.spec.get("strategy") or {}
    if workload.kind != "Deployment" or strategy.get("type") == "Recreate" or not pods:
        return 0
    return share_of((strategy.get("rollingUpdate") or {}).get("maxSurge", "25%"), pods, up=True)


@rule("REPLICAS", "policy", "topologies 000 (>= 1), 002 (2 and 1), 003 (>= 2) and 004 (1 to 5)",
      hint="change the replicas, or rules.replicas in the spec")  # fmt: skip
def replicas(subject: Subject) -> Iterator[Violation]:
    """Replica counts are within rules.replicas; those that an autoscaler sets are not judged."""
    rules, counted = subject.loaded.spec.rules, scaled(subject)
    bounds = rules.replicas
    if bounds == Replicas() and rules.policy != "strict":
        return  # nobody asked for any, and none is what a person or a scaler raises later
    for workload in subject.workloads():
        if workload.kind not in _COUNTED or workload.ref in counted:
            continue
        count, least = pods_of(workload), bounds.min if workload.kind == "Deployment" else min(bounds.min, 1)
        if count != (exact := bounds.exactly.get(workload.name, count)):
            title = f"{workload.label} has {count} replicas; rules.replicas asks for exactly {exact}"
            yield Violation(title, workload.place("replicaCount"))
            continue
        if count < least or (bounds.max is not None and count > bounds.max):
            most = "" if bounds.max is None else f", at most {bounds.max}"
            title = f"{workload.label} has {count} replicas; rules.replicas asks for at least {least}{most}"
            yield Violation(title, workload.place("replicaCount"))


@rule("UPDATE_GAP", "advice", "topology 004 Deployment Requirements",
      hint="strategy: RollingUpdate with maxUnavailable: 0 and maxSurge: 1")  # fmt: skip
def gaps(subject: Subject) -> Iterator[Violation]:
    """Every Deployment keeps a ready pod while it is updated."""
    for workload in subject.workloads():
        if workload.kind != "Deployment" or not (pods := pods_of(workload)):
            continue
        strategy = workload.spec.get("strategy") or {}
        gone = share_of((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"), pods, up=False)
        place = workload.place("strategy")
        if strategy.get("type") == "Recreate":
            title = f"{workload.label} has strategy Recreate: no pod is ready during an update"
            yield Violation(title, place)
        elif gone >= pods:
            title = f"{workload.label} has maxUnavailable {gone} of {pods}: no pod may be ready during an update"
            yield Violation(title, place, hints=("maxUnavailable: 0 with maxSurge: 1",))


@rule("WORKLOAD_SELECTOR", "certain", "topology 000 Deployment; topology 003 Service Constraints",
      hint="spec.selector.matchLabels is a part of spec.template.metadata.labels")  # fmt: skip
def selected(subject: Subject) -> Iterator[Violation]:
    """A workload has a selector that matches its own pods."""
    for workload in subject.workloads():
        selector = workload.spec.get("selector") or {}
        wanted = selector.get("matchLabels") or {}
        if not selector and "beta" in str(workload.body.get("apiVersion")):
            continue  # filled in by these versions, and KIND_UNKNOWN says where they are gone
        if workload.runs_on and (not selector or not wanted.items() <= workload.pod_labels.items()):
            title = f"{workload.label}: its selector does not match the labels of its own pods"
            yield Violation(title, workload.place("podLabels"))


@rule("AUTOSCALER_BOUNDS", "certain", "topology 004 Horizontal Pod Autoscaler", hint="minReplicas <= maxReplicas")
def autoscaler_bounds(subject: Subject) -> Iterator[Violation]:
    """An autoscaler's minReplicas is not greater than its maxReplicas."""
    for one in subject.objects("HorizontalPodAutoscaler"):
        if one.spec.get("minReplicas", 1) > one.spec.get("maxReplicas", 1):
            yield Violation(f"{one.label}: minReplicas is greater than maxReplicas", one.place("autoscaling"))


@rule("AUTOSCALER", "policy", "topology 004 Horizontal Pod Autoscaler",
      hint="scale a workload of a chart, with requests for what is measured")  # fmt: skip
def autoscalers(subject: Subject) -> Iterator[Violation]:
    """An autoscaler has a workload, and requests to measure by."""
    for one in subject.objects("HorizontalPodAutoscaler"):
        place, wanted = one.place("autoscaling"), _target(one)
        found = next((work for work in subject.workloads() if work.ref == wanted), None)
        if found is None:
            yield Violation(f"{one.label} scales {wanted.kind.lower()}/{wanted.name}, which no chart makes", place)
            continue
        for resource in sorted(_measured(one.spec)):
            if not all(_requested(container, resource) for container in found.containers()):
                title = f"{one.label} measures {resource} in per cent of requests, and {found.label} requests none"
                yield Violation(title, place)


@rule("AUTOSCALER_METRICS", "advice", "topology 004 Horizontal Pod Autoscaler",
      hint="cluster.addons: [metrics-server]")  # fmt: skip
def metrics(subject: Subject) -> Iterator[Violation]:
    """A cluster that gets an autoscaler has metrics-server among its addons."""
    yield from without_addon(subject, "HorizontalPodAutoscaler", "metrics-server", "metrics")


@rule("ROLLOUT_SERVICE", "certain", "todo-deploy")
def judged_otherwise(subject: Subject) -> Iterator[Violation]:
    """rollout.services names workloads that exist."""
    spec = subject.loaded.spec
    if {one.name for one in subject.plan.releases} != set(spec.releases):
        return  # a part is left out, and what it has is not known
    names = {workload.name for workload in subject.workloads()}
    for name in spec.rollout.services:
        if name not in names:
            # A controller may make it.
            doubt: Severity | None = "warning" if any(is_custom(one.body) for one in subject.objects()) else None
            yield Violation(f"rollout.services names `{name}`, and no workload has this name",
                         Place(spec=("rollout", "services", name)),
                         "workloads: " + (", ".join(sorted(names)) or "none"),
                         did_you_mean(name, names), doubt)  # fmt: skip


def _measured(spec: Object) -> set[str]:
    metrics = [one.get("resource") or {} for one in spec.get("metrics") or () if one.get("type") == "Resource"]
    return {str(one.get("name")) for one in metrics if (one.get("target") or {}).get("type") == "Utilization"}


def _requested(container: Object, resource: str) -> bool:
    resources = container.get("resources") or {}
    return any(resource in (resources.get(field) or {}) for field in ("requests", "limits"))
