"""Rules on capacity: what the pods request and may use against what the node has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from deployer.core.ports import Object
from deployer.preflight.rules.model import Breach, Cluster, Place, Rule, Subject, Workload
from deployer.preflight.rules.quantities import quantity, shown
from deployer.preflight.rules.workloads import pods_of, scaled, surge_of

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_JUDGED = (*_RESOURCES, "pods")
# "1 reserved for system", "2GB reserved for system": S3, Minikube Cluster Capacity.
RESERVED = {"cpu": Fraction(1), "memory": Fraction(2 * 2**30)}
"""What of the cluster is kept for the pods of SYSTEM."""
SYSTEM = "kube-system"
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Load:
    """A workload's pods: how many are always there, how many more in an update, and what one takes."""

    workload: Workload
    pods: int
    surge: int
    one: Mapping[str, Fraction]
    most: Mapping[str, Fraction]


def pod_sum(pod: Object, field: str) -> dict[str, Fraction]:
    """What a pod requests (or is limited to): its containers together, or its largest init container.

    An init container with `restartPolicy: Always` goes on running and is added to the containers.
    """
    steady: dict[str, Fraction] = {}
    first: dict[str, Fraction] = {}
    for container in pod.get("containers") or ():
        steady = _added(steady, _amounts(container, field))
    for container in pod.get("initContainers") or ():
        amounts = _amounts(container, field)
        if container.get("restartPolicy") == "Always":
            steady = _added(steady, amounts)
        else:
            first = {key: max(first.get(key, Fraction(0)), amounts.get(key, Fraction(0))) for key in {*first, *amounts}}
    zero = Fraction(0)
    return {key: max(steady.get(key, zero), first.get(key, zero)) for key in {*steady, *first}}


def loads(subject: Subject) -> tuple[Load, ...]:
    """What every rendered workload puts on the cluster; a Job comes and goes like a surge pod."""
    minimum = {
        ((spec.get("scaleTargetRef") or {}).get("kind"), (spec.get("scaleTargetRef") or {}).get("name")):
            spec.get("minReplicas", 1)
        for _, body in subject.objects("HorizontalPodAutoscaler") for spec in (body.get("spec") or {},)
    }  # fmt: skip
    counted, found = scaled(subject), []
    for workload in subject.workloads():
        asked = pod_sum(workload.pod, "requests") | {"pods": Fraction(1)}
        most = pod_sum(workload.pod, "limits")
        if not workload.runs_on:
            found.append(Load(workload, 0, 1, asked, most))
            continue
        pods = pods_of(workload) if workload.kind != "DaemonSet" else 1
        if (workload.kind, workload.namespace, workload.name) in counted:
            pods = int(minimum.get((workload.kind, workload.name), pods))
        found.append(Load(workload, pods, surge_of(workload, pods), asked, most))
    return tuple(found)


def fits(subject: Subject) -> Iterator[Breach]:
    """Requests that the cluster cannot place, counting one update's surge at a time: updates take turns."""
    cluster = subject.cluster
    if cluster is None:
        return
    found, others = loads(subject), used_by_others(subject, cluster, "requests")
    for resource in _JUDGED:
        if resource not in cluster.allocatable:
            continue
        steady = sum((one.pods * _of(one, resource) for one in found), Fraction(0))
        peak = max(found, key=lambda one: min(one.surge, 1) * _of(one, resource), default=None)
        surge = min(peak.surge, 1) * _of(peak, resource) if peak is not None else Fraction(0)
        shares = {place: amounts.get(resource, Fraction(0)) for place, amounts in others.items()}
        has, taken = cluster.allocatable[resource], sum(shares.values(), Fraction(0))
        if steady + surge <= has - taken:
            continue
        lines = [_line(one, resource) for one in found if one.pods and _of(one, resource)]
        if surge and peak is not None:
            lines.append(f"{peak.workload.label}, one pod more while it is updated: {shown(surge, resource)}")
        lines += _others_lines(shares, resource)
        told = "this machine can give about" if cluster.estimated else "the node has"
        lines.append(f"together {shown(steady + surge, resource)}; {told} {shown(has, resource)}, "
                     f"others request {shown(taken, resource)}: {shown(has - taken, resource)} are left")  # fmt: skip
        short = shown(steady + surge - (has - taken), resource)
        yield Breach(
            f"the pods do not fit: they request {short} of {_word(resource)} more than the cluster has free",
            Place(spec=("releases",)),
            "\n".join(lines),
            ("fewer replicas or smaller requests, or a spec profile that has them",),
        )


def limit_share(subject: Subject) -> Iterator[Breach]:
    """Limits that together are above the share of the cluster that they may have."""
    cluster, rules = subject.cluster, subject.loaded.spec.rules
    if cluster is None:
        return
    found, others = loads(subject), used_by_others(subject, cluster, "limits")
    for resource, kept in RESERVED.items():
        has = cluster.allocatable.get(resource, Fraction(0))
        # What is kept for the system is kept for its pods.
        shares = {place: amounts.get(resource, Fraction(0)) for place, amounts in others.items() if place != SYSTEM}
        total = sum(
            (one.pods * one.most.get(resource, Fraction(0)) for one in found), sum(shares.values(), Fraction(0))
        )
        left = has - kept
        if not has or total * 100 <= left * rules.max_limit_share:
            continue
        share = f"{float(total * 100 / left):.0f} %" if left > 0 else "more than all"
        lines = [f"{one.workload.label}: {one.pods} x {shown(one.most[resource], resource)} = "
                 f"{shown(one.pods * one.most[resource], resource)}" for one in found
                 if one.pods and one.most.get(resource)]  # fmt: skip
        lines += _others_lines(shares, resource)
        lines.append(f"together {shown(total, resource)} of {shown(has, resource)} - {shown(kept, resource)} for the "
                     f"system = {shown(left, resource)}: {share}")  # fmt: skip
        yield Breach(
            f"the limits for {_word(resource)} are {share} of what applications may have; the rule is at most "
            f"{rules.max_limit_share} %",
            Place(spec=("releases",)),
            "\n".join(lines),
            ("it runs all the same, more slowly when everything is busy; a larger machine or smaller limits",),
            "error" if rules.capacity == "strict" else None,
        )


def used_by_others(subject: Subject, cluster: Cluster, field: str) -> dict[str, dict[str, Fraction]]:
    """What pods that are not ours request of the running cluster (or are limited to), by their namespaces."""
    wanted = {(work.kind, work.namespace, work.name) for work in subject.workloads()}
    wanted |= {(ref.kind, ref.namespace, ref.name) for ref in cluster.ours}
    total: dict[str, dict[str, Fraction]] = {}
    for pod in cluster.pods:
        metadata = pod.get("metadata") or {}
        over = (pod.get("status") or {}).get("phase") in _OVER
        if metadata.get("deletionTimestamp") or over or owner_of(pod) in wanted:
            continue
        place = str(metadata.get("namespace") or "")
        one = pod_sum(pod.get("spec") or {}, field) | {"pods": Fraction(1)}
        total[place] = _added(total.get(place, {}), one)
    return total


def owner_of(pod: Object) -> tuple[str, str, str]:
    """Kind, namespace and name of the workload that the pod belongs to; a ReplicaSet's is its Deployment."""
    metadata = pod.get("metadata") or {}
    owners: list[Object] = [one for one in metadata.get("ownerReferences") or () if one.get("controller")]
    owner = owners[0] if owners else {}
    kind, name = str(owner.get("kind") or "Pod"), str(owner.get("name") or metadata.get("name"))
    if kind == "ReplicaSet":
        kind, name = "Deployment", name.rpartition("-")[0]
    return kind, str(metadata.get("namespace") or ""), name


def amounts(given: Mapping[str, object]) -> dict[str, Fraction]:
    """Quantities by resource; what is none is left out (its own rule tells it)."""
    found = {}
    for resource, amount in given.items():
        try:
            found[resource] = quantity(amount)
        except ValueError:
            continue
    return found


def machine_cluster(name: str, cpus: int, memory_mib: int, architecture: str) -> Cluster:
    """The cluster that this machine would make: what Minikube's own pods request is known beforehand."""
    system = {"containers": [{"resources": {"requests": {"cpu": "750m", "memory": "170Mi"}}}]}
    pods = ({"metadata": {"name": "kube-system", "namespace": "kube-system"}, "spec": system},)
    allocatable = {"cpu": Fraction(cpus), "memory": Fraction(memory_mib) * 2**20}
    return Cluster(name, allocatable, frozenset({architecture}), pods, estimated=True)


def node_amounts(nodes: list[Object]) -> dict[str, Fraction]:
    """What all nodes together let pods request."""
    total: dict[str, Fraction] = {}
    for node in nodes:
        if not (node.get("spec") or {}).get("unschedulable"):
            total = _added(total, amounts((node.get("status") or {}).get("allocatable") or {}))
    return total


def _amounts(container: Object, field: str) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    given = amounts(resources.get(field) or {})
    # Kubernetes takes a limit for the request that is not given.
    return {**amounts(resources.get("limits") or {}), **given} if field == "requests" else given


def _added(one: Mapping[str, Fraction], other: Mapping[str, Fraction]) -> dict[str, Fraction]:
    zero = Fraction(0)
    return {key: one.get(key, zero) + other.get(key, zero) for key in {*one, *other}}


def _of(load: Load, resource: str) -> Fraction:
    return load.one.get(resource, Fraction(0))


def _line(load: Load, resource: str) -> str:
    amount = _of(load, resource)
    if resource == "pods":
        return f"{load.workload.label}: {load.pods}"
    return f"{load.workload.label}: {load.pods} x {shown(amount, resource)} = {shown(load.pods * amount, resource)}"


def _others_lines(shares: Mapping[str, Fraction], resource: str) -> list[str]:
    return [f"others, in namespace {place}: {shown(one, resource)}" for place, one in sorted(shares.items()) if one]


def _word(resource: str) -> str:
    return {"cpu": "CPU", "ephemeral-storage": "disk"}.get(resource, resource)


RULES = (
    Rule("CAPACITY", "S3 Resource Capacity Planning; Kubernetes docs, Scheduler", "error",
         "All requests, with the surge pod of an update, fit beside what others request.", fits),
    Rule("LIMIT_SHARE", "S3 Resource Capacity Planning (70 % target)", "warning",
         "All limits together are at most rules.maxLimitShare per cent of what applications may have.", limit_share),
)  # fmt: skip
