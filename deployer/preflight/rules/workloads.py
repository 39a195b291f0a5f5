"""Rules on workloads: how many pods, how they are replaced, how they scale."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator

from deployer.core.ports import Object
from deployer.preflight.rules.model import (
    Breach,
    Place,
    Rule,
    Subject,
    Workload,
    label_of,
    namespace_of,
    place_of,
    unasked,
)

_COUNTED = ("Deployment", "StatefulSet")


def scaled(subject: Subject) -> frozenset[tuple[str, str, str]]:
    """Kind, namespace and name of the workloads that an autoscaler counts."""
    found = set()
    for one, body in subject.objects("HorizontalPodAutoscaler"):
        target = (body.get("spec") or {}).get("scaleTargetRef") or {}
        found.add((str(target.get("kind")), namespace_of(one.release, body), str(target.get("name"))))
    return frozenset(found)


def pods_of(workload: Workload) -> int:
    """How many pods are written down; Kubernetes takes 1 where none are."""
    count = (workload.body.get("spec") or {}).get("replicas", 1)
    return count if isinstance(count, int) else 1


def share_of(value: object, pods: int, *, up: bool) -> int:
    """`25%` or `1` of so many pods, rounded as Kubernetes rounds surge (up) and unavailable (down)."""
    if isinstance(value, int):
        return value
    part = pods * int(str(value).removesuffix("%") or 0) / 100 if str(value).removesuffix("%").isdigit() else 0
    return math.ceil(part) if up else math.floor(part)


def surge_of(workload: Workload, pods: int) -> int:
    """How many pods more there are while the workload is updated."""
    strategy = (workload.body.get("spec") or {}).get("strategy") or {}
    if workload.kind != "Deployment" or strategy.get("type") == "Recreate" or not pods:
        return 0
    return share_of((strategy.get("rollingUpdate") or {}).get("maxSurge", "25%"), pods, up=True)


def replicas(subject: Subject) -> Iterator[Breach]:
    """Deployments outside the spec's bounds, and StatefulSets without a pod: a database has one server."""
    bounds, counted = subject.loaded.spec.rules.replicas, scaled(subject)
    for workload in subject.workloads():
        if workload.kind not in _COUNTED or (workload.kind, workload.namespace, workload.name) in counted:
            continue
        count, least = pods_of(workload), bounds.min if workload.kind == "Deployment" else min(bounds.min, 1)
        if count != (exact := bounds.exactly.get(workload.name, count)):
            title = f"{workload.label} has {count} replicas; rules.replicas wants exactly {exact}"
            yield Breach(title, place_of(workload.release, workload.body, "replicaCount"))
            continue
        if count < least or (bounds.max is not None and count > bounds.max):
            most = "" if bounds.max is None else f", at most {bounds.max}"
            title = f"{workload.label} has {count} replicas; rules.replicas wants at least {least}{most}"
            yield Breach(title, place_of(workload.release, workload.body, "replicaCount"))


def gaps(subject: Subject) -> Iterator[Breach]:
    """Deployments that have no ready pod for a while in each update."""
    for workload in subject.workloads():
        if workload.kind != "Deployment" or not (pods := pods_of(workload)):
            continue
        strategy = (workload.body.get("spec") or {}).get("strategy") or {}
        gone = share_of((strategy.get("rollingUpdate") or {}).get("maxUnavailable", "25%"), pods, up=False)
        place = place_of(workload.release, workload.body, "strategy")
        if strategy.get("type") == "Recreate":
            yield Breach(f"{workload.label} is recreated: each update has a gap without a pod", place)
        elif gone >= pods:
            told = f"maxUnavailable {gone} of {pods}"
            yield Breach(f"{workload.label} may lose all its pods ({told}): each update has a gap", place,
                         hints=("maxUnavailable: 0 with maxSurge: 1",))  # fmt: skip


def selected(subject: Subject) -> Iterator[Breach]:
    """Workloads whose selector does not match their own pods, which the API server refuses."""
    for workload in subject.workloads():
        wanted = ((workload.body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if workload.runs_on and not wanted.items() <= workload.labels.items():
            yield Breach(f"{workload.label}: its selector does not match the labels of its own pods",
                         place_of(workload.release, workload.body, "podLabels"))  # fmt: skip


def autoscalers(subject: Subject) -> Iterator[Breach]:
    """Autoscalers without a workload, with their bounds swapped, or of pods that request nothing to measure by."""
    for one, body in subject.objects("HorizontalPodAutoscaler"):
        spec, place = body.get("spec") or {}, place_of(one.release.name, body, "autoscaling")
        target = spec.get("scaleTargetRef") or {}
        wanted = (str(target.get("kind")), namespace_of(one.release, body), str(target.get("name")))
        found = next((work for work in subject.workloads() if (work.kind, work.namespace, work.name) == wanted), None)
        if found is None:
            yield Breach(f"{label_of(body)} scales {wanted[0].lower()}/{wanted[2]}, which no chart makes", place)
            continue
        if spec.get("minReplicas", 1) > spec.get("maxReplicas", 1):
            yield Breach(f"{label_of(body)}: minReplicas is above maxReplicas", place)
        for resource in sorted(_measured(spec)):
            without = [one for one in found.containers() if not _requested(one, resource)]
            if without:
                title = f"{label_of(body)} measures {resource} by requests, and {found.label} requests none"
                yield Breach(title, place)


def metrics(subject: Subject) -> Iterator[Breach]:
    """An autoscaler on a cluster that is not asked to measure anything."""
    yield from unasked(
        subject, "HorizontalPodAutoscaler", "metrics-server", "metrics, and the spec asks for no metrics-server"
    )


def judged_otherwise(subject: Subject) -> Iterator[Breach]:
    """Names in rollout.services that no workload has."""
    spec = subject.loaded.spec
    if {one.name for one in subject.plan.releases} != set(spec.releases):
        return  # a part is left out, and what it has is not known
    names = {workload.name for workload in subject.workloads()}
    for name in spec.rollout.services:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            yield Breach(f"rollout.services names `{name}`, and no workload is called so",
                         Place(spec=("rollout", "services", name)),
                         "there are: " + (", ".join(sorted(names)) or "none"),
                         (f"did you mean `{close[0]}`?",) if close else ())  # fmt: skip


def _measured(spec: Object) -> set[str]:
    metrics = [one.get("resource") or {} for one in spec.get("metrics") or () if one.get("type") == "Resource"]
    return {str(one.get("name")) for one in metrics if (one.get("target") or {}).get("type") == "Utilization"}


def _requested(container: Object, resource: str) -> bool:
    resources = container.get("resources") or {}
    return any(resource in (resources.get(field) or {}) for field in ("requests", "limits"))


RULES = (
    Rule("REPLICAS", "S0 Deployment (>= 1); S2 (2 and 1); S3 Deployment Constraints (>= 2); S4 (1 to 5)", "error",
         "Pod counts are within rules.replicas; those of an autoscaler are not judged.", replicas),
    Rule("UPDATE_GAP", "S4 Deployment Requirements", "warning",
         "Every Deployment keeps a ready pod while it is updated.", gaps),
    Rule("WORKLOAD_SELECTOR", "S0 Deployment; S3 Service Constraints", "error",
         "A workload's selector matches its own pods.", selected),
    Rule("ROLLOUT_SERVICE", "todo-deploy", "error",
         "rollout.services names workloads that there are.", judged_otherwise),
    Rule("AUTOSCALER", "S4 Horizontal Pod Autoscaler", "error",
         "An autoscaler has a workload, sensible bounds, and requests to measure by.", autoscalers),
    Rule("AUTOSCALER_METRICS", "S4 Horizontal Pod Autoscaler", "warning",
         "A cluster that gets an autoscaler is asked for metrics-server.", metrics),
)  # fmt: skip
