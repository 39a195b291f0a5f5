"""Rules on capacity: what the pods request and may use against what the node has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from deployer.core.ports import Object
from deployer.preflight.rules.model import Cluster, Place, Severity, Subject, Violation, Workload, rule
from deployer.preflight.rules.workloads import pods_of, scaled, surge_of
from deployer.status.objects import condition

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|[KMGTPE]i))?", re.ASCII)
_UNITS: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_MOST, _MOST_EXPONENT = Fraction(2**63 - 1), 5000


def quantity(value: object) -> Fraction:
    """The quantity as a number (cores, bytes, pieces); ValueError for what Kubernetes would refuse.

    Rounded up to 10⁻⁹ and at most 2⁶³ - 1, as the API server takes it (apimachinery, api/resource/quantity.go).
    """
    match = _QUANTITY.fullmatch(str(value).strip()) if isinstance(value, str | int | float) else None
    if match is None or isinstance(value, bool):
        raise ValueError(f"`{value}` is not a quantity such as 250m, 0.5, 512Mi or 1Gi")
    number = Fraction(match[1])
    if match[2]:
        number *= Fraction(10) ** max(-_MOST_EXPONENT, min(int(match[2][1:]), _MOST_EXPONENT))
    elif match[3]:
        number *= _UNITS[match[3]]
    exact = Fraction(_up(abs(number) * 10**9), 10**9)
    return min(exact, _MOST) * (-1 if number < 0 else 1)


def shown(amount: Fraction, resource: str) -> str:
    """The amount as a person writes it: CPUs in thousandths, memory in the largest unit that divides it well."""
    if resource == "cpu":
        return f"{_up(amount * 1000)}m"
    if resource == "pods":
        return str(_up(amount))
    size = abs(amount)
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if size >= _UNITS[unit] and ((size / _UNITS[unit]).denominator == 1 or size >= 10 * _UNITS[unit]):
            return f"{float(amount / _UNITS[unit]):.4g}{unit}"
    return f"{float(amount / _UNITS['Mi']):.4g}Mi" if size >= _UNITS["Mi"] else str(_up(amount))


def _up(amount: Fraction) -> int:
    """Rounded away from zero, as Kubernetes rounds what it cannot express."""
    return -(-amount.numerator // amount.denominator)


Amounts = Mapping[str, Fraction]
"""Quantities by resource."""

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_JUDGED = (*_RESOURCES, "pods")
# "1 reserved for system", "2GB reserved for system": topology 003, Minikube Cluster Capacity.
RESERVED = {"cpu": Fraction(1), "memory": Fraction(2 * 2**30)}
"""What of the cluster is kept for the pods of SYSTEM."""
SYSTEM = "kube-system"
_ZERO = Fraction(0)
_OVER = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Load:
    """A workload's pods: how many are always there, how many more in an update, and what one takes."""

    workload: Workload
    pods: int
    surge: int
    one: Amounts
    most: Amounts


@dataclass(frozen=True, slots=True)
class Share:
    """One resource: sums over all pods, what is left for applications, and all limits' share of that in per cent."""

    resource: str
    pods: int
    requests: str
    limits: str
    others: str
    """Limits of what else runs there; empty where nothing does."""
    available: str
    percent: int | None
    """None where the system's own part leaves nothing."""
    target: int

    @property
    def words(self) -> str:
        """One line, such as `cpu: 6 pods request 900m, limits 1800m of 3000m for applications: 60 % (at most 70 %)`."""
        share = "more than all" if self.percent is None else f"{self.percent} %"
        beside = f" and others' {self.others}" if self.others else ""
        return (f"{self.resource}: {self.pods} pods request {self.requests}, limits {self.limits}{beside} of "
                f"{self.available} for applications: {share} (at most {self.target} %)")  # fmt: skip


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
            first = {key: max(first.get(key, _ZERO), amounts.get(key, _ZERO)) for key in {*first, *amounts}}
    return {key: max(steady.get(key, _ZERO), first.get(key, _ZERO)) for key in {*steady, *first}}


def loads(subject: Subject) -> tuple[Load, ...]:
    """What every rendered workload puts on the cluster; a Job comes and goes like a surge pod."""
    least, found = scaled(subject), []
    for workload in subject.workloads():
        asked = pod_sum(workload.pod, "requests") | {"pods": Fraction(1)}
        most = pod_sum(workload.pod, "limits")
        if not workload.runs_on or not workload.starts:
            found.append(Load(workload, 0, int(not workload.runs_on), asked, most))
            continue
        nodes = len(subject.cluster.nodes) if subject.cluster is not None else 0
        pods = pods_of(workload) if workload.kind != "DaemonSet" else max(1, nodes)
        pods = least.get(workload.ref, pods)
        found.append(Load(workload, pods, surge_of(workload, pods), asked, most))
    return tuple(found)


@rule("CAPACITY", "certain", "topology 003 Resource Capacity Planning; Kubernetes docs, Scheduler")
def fits(subject: Subject) -> Iterator[Violation]:
    """All requests fit beside what others request, and each pod in one node; an update's surge pod is advice."""
    cluster, rules = subject.cluster, subject.loaded.spec.rules
    if cluster is None:
        return
    found, others = loads(subject), used_by_others(subject, cluster, "requests")
    yield from _larger_than_nodes(found, cluster)
    # Pods of a higher priority take the place of others.
    evicts = any(one.workload.pod.get("priorityClassName") for one in found)
    for resource in _JUDGED:
        if resource not in cluster.allocatable:
            continue
        steady = _total(one.pods * _of(one.one, resource) for one in found)
        # Updates take turns: one surge pod at a time, the largest.
        peak = max(found, key=lambda one: min(one.surge, 1) * _of(one.one, resource), default=None)
        surge = min(peak.surge, 1) * _of(peak.one, resource) if peak is not None else _ZERO
        shares = {place: _of(amounts, resource) for place, amounts in others.items()}
        has, taken = cluster.allocatable[resource], _total(shares.values())
        left = has - taken
        if steady + surge <= left:
            continue
        lines = _lines(found, "one", resource)
        if surge and peak is not None:
            lines.append(f"{peak.workload.label}, one pod more while it is updated: {shown(surge, resource)}")
        lines += _others_lines(shares, resource)
        has_one = "the node has" if len(cluster.nodes) < 2 else f"the {len(cluster.nodes)} nodes together have"
        what = "this machine can give about" if cluster.estimated else has_one
        lines.append(f"together {shown(steady + surge, resource)}; {what} {shown(has, resource)}, "
                     f"others request {shown(taken, resource)}: {shown(left, resource)} are left")  # fmt: skip
        place, detail = Place(spec=("releases",)), "\n".join(lines)
        short, word = shown(steady + surge - left, resource), _word(resource)
        strict: Severity | None = None if rules.capacity == "strict" else "warning"
        if steady <= left:
            title = f"no room for the extra pod of an update: {short} of {word} is missing"
            hints = ("nothing for a first install; for updates lower the requests, or allow maxUnavailable: 1",)
            yield Violation(title, place, detail, hints, strict)
            continue
        ways = ["lower the replicas or requests, or choose a spec profile that has lower ones"]
        if steady <= has:
            biggest = max(shares, key=lambda name: shares[name])
            ways.insert(
                0, f"they would fit alone: most of the rest is in namespace {biggest}, which is not this spec's"
            )
        title = f"the pods do not fit: they request {shown(steady - left, resource)} of {word} more than there is free"
        # The scheduler goes by what the kubelet counts, which is the host's where the node is a container.
        counted = cluster.counted.get(resource, has)
        certain = steady > counted - (_ZERO if evicts else taken)
        yield Violation(title, place, detail, tuple(ways), None if certain else strict)


def _larger_than_nodes(found: Iterable[Load], cluster: Cluster) -> Iterator[Violation]:
    """Pods that no node takes even if it were empty, where there are several; of one the sum says it."""
    for one in [each for each in found if each.pods or each.surge] if len(cluster.nodes) > 1 else ():
        asked = {resource: amount for resource in _RESOURCES if (amount := _of(one.one, resource))}
        if any(all(_of(node, key) >= amount for key, amount in asked.items()) for node in cluster.nodes):
            continue
        nodes = (", ".join(f"{shown(_of(node, key), key)} {_word(key)}" for key in asked) for node in cluster.nodes)
        wants = ", ".join(f"{shown(amount, key)} {_word(key)}" for key, amount in asked.items())
        yield Violation(
            f"{one.workload.label}: no node is large enough for one of its pods",
            Place(spec=("releases",)),
            "\n".join((f"it requests {wants}", *(f"a node has {has}" for has in nodes))),
            ("lower its requests, or use larger nodes: a pod is never divided among nodes",),
        )


@rule("LIMIT_SHARE", "advice", "topology 003 Resource Capacity Planning (70 % target)")
def limit_share(subject: Subject) -> Iterator[Violation]:
    """All limits together are at most rules.maxLimitShare per cent of what applications may have.

    Others' limits count too, unless they alone are above that.
    """
    cluster, rules = subject.cluster, subject.loaded.spec.rules
    if cluster is None:
        return
    found = loads(subject)
    for resource, kept in RESERVED.items():
        shares = _limits_of_others(subject, cluster, resource)
        own, others = _total(one.pods * _of(one.most, resource) for one in found), _total(shares.values())
        total, has = own + others, _of(cluster.allocatable, resource)
        left = has - kept
        most = left * rules.max_limit_share
        # What others use up alone is nothing that this spec could change.
        if not has or total * 100 <= most or (own * 100 <= most < others * 100):
            continue
        share = f"{float(total * 100 / left):.0f} %" if left > 0 else "more than all"
        lines = _lines(found, "most", resource) + _others_lines(shares, resource)
        lines.append(f"together {shown(total, resource)} of {shown(has, resource)} - {shown(kept, resource)} for the "
                     f"system = {shown(left, resource)}: {share}")  # fmt: skip
        yield Violation(
            f"the limits for {_word(resource)} are {share} of what applications may have, above "
            f"rules.maxLimitShare ({rules.max_limit_share} %)",
            Place(spec=("releases",)),
            "\n".join(lines),
            ("lower the limits or use a larger machine; it runs all the same, more slowly under load",),
            "error" if rules.capacity == "strict" else None,
        )


def capacity_plan(subject: Subject) -> tuple[Share, ...]:
    """CPU and memory of everything the releases run for ever; nothing where the cluster's size is not known."""
    cluster = subject.cluster
    if cluster is None or not cluster.allocatable:
        return ()
    found, target = [one for one in loads(subject) if one.pods], subject.loaded.spec.rules.max_limit_share
    shares = []
    for resource, kept in RESERVED.items():
        requests = _total(one.pods * _of(one.one, resource) for one in found)
        limits = _total(one.pods * _of(one.most, resource) for one in found)
        others = _total(_limits_of_others(subject, cluster, resource).values())
        left = max(_of(cluster.allocatable, resource) - kept, _ZERO)
        percent = round((limits + others) * 100 / left) if left else None
        asked, most, free = (shown(amount, resource) for amount in (requests, limits, left))
        theirs = shown(others, resource) if others else ""
        shares.append(Share(resource, sum(one.pods for one in found), asked, most, theirs, free, percent, target))
    return tuple(shares)


def _limits_of_others(subject: Subject, cluster: Cluster, resource: str) -> dict[str, Fraction]:
    """Limits of pods that are not ours by namespace; what is kept for the system is kept for its pods."""
    found = used_by_others(subject, cluster, "limits")
    return {place: _of(amounts, resource) for place, amounts in found.items() if place != SYSTEM}


def used_by_others(
    subject: Subject, cluster: Cluster, field: str, *, waiting: bool = False
) -> dict[str, dict[str, Fraction]]:
    """What pods that are not ours request of the running cluster (or are limited to), by their namespaces.

    The scheduler counts what is on a node, so that a pod that fits nowhere takes nothing; a quota counts those that
    are `waiting` too.
    """
    wanted = {(work.kind, work.namespace, work.name) for work in subject.workloads()}
    wanted |= {(ref.kind, ref.namespace, ref.name) for ref in cluster.ours}
    total: dict[str, dict[str, Fraction]] = {}
    for pod in cluster.pods:
        metadata = pod.get("metadata") or {}
        over = (pod.get("status") or {}).get("phase") in _OVER
        waits = not waiting and condition(pod, "PodScheduled").get("status") == "False"
        if metadata.get("deletionTimestamp") or over or waits or owner_of(pod) in wanted:
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
    """Quantities by resource; what is none is left out: its own rule reports it."""
    found = {}
    for resource, amount in given.items():
        try:
            found[resource] = quantity(amount)
        except ValueError:
            continue
    return found


def machine_cluster(name: str, cpus: int, memory_mib: int, architecture: str, nodes: int = 1) -> Cluster:
    """The cluster that this machine would make: what Minikube's own pods request is known beforehand."""
    system = {"containers": [{"resources": {"requests": {"cpu": "750m", "memory": "170Mi"}}}]}
    pods = ({"metadata": {"name": "kube-system", "namespace": "kube-system"}, "spec": system},)
    one = {"cpu": Fraction(cpus), "memory": Fraction(memory_mib) * 2**20}
    allocatable = {resource: amount * nodes for resource, amount in one.items()}
    return Cluster(name, allocatable, frozenset({architecture}), pods, nodes=(one,) * nodes, estimated=True)


def node_amounts(nodes: list[Object], most: Amounts | None = None) -> dict[str, Fraction]:
    """What all nodes together let pods request; `most`: what each node's container may use of its host.

    The kubelet in a container counts the host's processors and memory.
    """
    total: dict[str, Fraction] = {}
    for node in nodes:
        if not (node.get("spec") or {}).get("unschedulable"):
            has = amounts((node.get("status") or {}).get("allocatable") or {})
            total = _added(total, {key: min(one, (most or {}).get(key, one)) for key, one in has.items()})
    return total


def _amounts(container: Object, field: str) -> dict[str, Fraction]:
    resources = container.get("resources") or {}
    given = amounts(resources.get(field) or {})
    # Kubernetes takes a limit for the request that is not given.
    return {**amounts(resources.get("limits") or {}), **given} if field == "requests" else given


def _added(one: Amounts, other: Amounts) -> dict[str, Fraction]:
    return {key: one.get(key, _ZERO) + other.get(key, _ZERO) for key in {*one, *other}}


def _of(amounts: Amounts, resource: str) -> Fraction:
    return amounts.get(resource, _ZERO)


def _total(amounts: Iterable[Fraction]) -> Fraction:
    return sum(amounts, _ZERO)


def _lines(found: Iterable[Load], field: Literal["one", "most"], resource: str) -> list[str]:
    """`deployment/backend: 2 x 250m = 500m` for each workload that has an amount of the resource."""
    pairs = [(one, _of(getattr(one, field), resource)) for one in found if one.pods]
    return [
        f"{one.workload.label}: {one.pods}" if resource == "pods" else
        f"{one.workload.label}: {one.pods} x {shown(amount, resource)} = {shown(one.pods * amount, resource)}"
        for one, amount in pairs if amount
    ]  # fmt: skip


def _others_lines(shares: Amounts, resource: str) -> list[str]:
    return [f"others, in namespace {place}: {shown(one, resource)}" for place, one in sorted(shares.items()) if one]


def _word(resource: str) -> str:
    return {"cpu": "CPU", "ephemeral-storage": "disk"}.get(resource, resource)
