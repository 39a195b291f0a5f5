"""Rules on what a namespace admits: its ResourceQuotas and its LimitRanges, of the cluster and of the charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from deployer.core.ports import KINDS, Object
from deployer.preflight.rules.capacity import Load, amounts, loads, pod_sum, quantity, shown, used_by_others
from deployer.preflight.rules.model import Container, Manifest, Place, Subject, Violation, Workload, hooks_of, rule
from deployer.preflight.rules.workloads import pods_of
from deployer.status.objects import dig, name_of, namespace_of

_ZERO = Fraction(0)
# Of these, a pod says how much it takes in each container, or is refused (pkg/quota/v1/evaluator/core/pods.go).
_SAID = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_FIELDS = {"requests": "request", "limits": "limit"}
_COUNTED = {
    f"count/{kind.plural}{f'.{kind.group}' if kind.group else ''}": name
    for name, kind in KINDS.items() if kind.namespaced and name != "Pod"
} | {"services": "Service", "configmaps": "ConfigMap", "secrets": "Secret",
     "persistentvolumeclaims": "PersistentVolumeClaim"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Need:
    """What a quota counts of the spec: always, while one workload is updated, and what others have of it."""

    steady: Fraction
    surge: Fraction = _ZERO
    others: Fraction = _ZERO
    lines: tuple[str, ...] = ()


@rule("QUOTA", "certain", "Kubernetes docs, Resource Quotas",
      hint="kubectl describe resourcequota shows what is left; lower replicas, requests or limits")  # fmt: skip
def quota(subject: Subject) -> Iterator[Violation]:
    """What is deployed fits into each ResourceQuota of its namespace; the extra pod of an update is advice."""
    for body in _in_force(subject, "ResourceQuota"):
        found = [one for one in _loads_in(subject, namespace_of(body)) if _is_counted(one.workload.pod, body)]
        hard = amounts(dig(body, "spec", "hard") or {})
        for resource, most in hard.items():
            need = _need(resource, body, found, subject)
            if need is not None and need.steady + need.surge + need.others > most:
                yield _exceeded(body, resource, most, need)
        yield from _unsaid(body, [key for key in _SAID if key in hard], found)


@rule("LIMIT_RANGE", "certain", "Kubernetes docs, Limit Ranges",
      hint="kubectl describe limitrange shows the bounds; change the requests and limits")  # fmt: skip
def limit_range(subject: Subject) -> Iterator[Violation]:
    """Requests and limits of containers, pods and claims are within the LimitRanges of their namespace."""
    for body in _in_force(subject, "LimitRange"):
        for item in map(_as_kept, dig(body, "spec", "limits") or ()):
            where = f"LimitRange `{name_of(body)}` of namespace `{namespace_of(body)}`"
            for who, place, asked, most in _bounded(subject, namespace_of(body), str(item.get("type"))):
                for said in _outside(item, asked, most):
                    yield Violation(f"{who}: {said}, by {where}", place)


def _in_force(subject: Subject, kind: str) -> list[Object]:
    """What the cluster has, and what the charts make, which Helm applies before the pods."""
    cluster = subject.cluster
    there = () if cluster is None else cluster.quotas if kind == "ResourceQuota" else cluster.limit_ranges
    made = {(one.namespace, one.name): one for one in subject.objects(kind)}
    rendered = [{**one.body, "metadata": {"name": name, "namespace": place}} for (place, name), one in made.items()]
    return [*rendered, *(one for one in there if (namespace_of(one), name_of(one)) not in made)]


def _as_kept(item: Object) -> Object:
    """The item of a LimitRange as the API server completes it (pkg/apis/core/v1/defaults.go)."""
    if item.get("type") != "Container":
        return item
    limits = {**(item.get("max") or {}), **(item.get("default") or {})}
    requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
    return {**item, "default": limits, "defaultRequest": requests}


def _exceeded(body: Object, resource: str, most: Fraction, need: _Need) -> Violation:
    unit = resource.rpartition(".")[2]
    has, namespace, fits = shown_as(most, unit), namespace_of(body), need.steady + need.others <= most
    lines = [*need.lines]
    if fits:
        lines.append(f"one pod more while a workload is updated: {shown_as(need.surge, unit)}")
    if need.others:
        lines.append(f"others in the namespace: {shown_as(need.others, unit)}")
    total = shown_as(need.steady + need.others + (need.surge if fits else _ZERO), unit)
    lines.append(f"together {total} of `{resource}`; the quota's is {has}")
    hints = [f"kubectl -n {namespace} describe resourcequota {name_of(body)}", "lower the replicas, requests or limits"]
    quoted = f"ResourceQuota `{name_of(body)}` of namespace `{namespace}`"
    if not fits:
        title = f"{quoted} does not admit what is deployed: {total} of `{resource}`, {has} at most"
        return Violation(title, Place(spec=("releases",)), "\n".join(lines), tuple(hints))
    title = f"{quoted} has no room for the extra pod of an update: {total} of `{resource}`, {has} at most"
    hints[1] = "nothing for a first install; for updates lower the requests, or allow maxUnavailable: 1"
    return Violation(title, Place(spec=("releases",)), "\n".join(lines), tuple(hints), "warning")


def shown_as(amount: Fraction, unit: str) -> str:
    """The amount as a person writes it; counts as they are."""
    known = {"storage": "memory", "cpu": "cpu", "memory": "memory", "ephemeral-storage": "memory"}
    return shown(amount, known.get(unit, "pods"))


def _need(resource: str, body: Object, found: list[Load], subject: Subject) -> _Need | None:
    """What the quota's resource counts of the spec and of others; None where that cannot be known."""
    kind = _COUNTED.get(resource)
    if resource == "requests.storage" or kind == "PersistentVolumeClaim":
        sizes = list(_claims(subject, namespace_of(body)))
        return _Need(sum(sizes, _ZERO) if kind is None else Fraction(len(sizes)))
    if resource in ("services.nodeports", "services.loadbalancers") or kind is not None:
        return _count(resource, kind or "Service", namespace_of(body), subject)
    prefix, _, unit = resource.partition(".")
    field = prefix if prefix in _FIELDS and unit else "requests"
    unit = "pods" if resource in ("pods", "count/pods") else unit if prefix in _FIELDS and unit else resource
    if "/" in resource and unit != "pods" and not resource.startswith("requests."):
        return None
    return _of_pods(field, unit, body, found, subject)


def _of_pods(field: str, unit: str, body: Object, found: list[Load], subject: Subject) -> _Need | None:
    taken = [(one, (one.one if field == "requests" else one.most).get(unit, _ZERO)) for one in found]
    lines = tuple(
        f"{one.workload.label}: {one.pods} x {shown_as(amount, unit)}" for one, amount in taken if one.pods and amount
    )
    steady = sum((one.pods * amount for one, amount in taken), _ZERO)
    surge = max((min(one.surge, 1) * amount for one, amount in taken), default=_ZERO)
    others: Mapping[str, Fraction] = {}
    if subject.cluster is not None and not (dig(body, "spec", "scopes") or dig(body, "spec", "scopeSelector")):
        others = used_by_others(subject, subject.cluster, field, waiting=True).get(namespace_of(body), {})
    return _Need(steady, surge, others.get(unit, _ZERO), lines) if steady or surge else None


def _count(resource: str, kind: str, namespace: str, subject: Subject) -> _Need:
    """How many objects of the kind there are; those of others and of hooks are not counted: nobody knows which stay."""
    types = {"services.nodeports": ("NodePort", "LoadBalancer"), "services.loadbalancers": ("LoadBalancer",)}
    wanted = types.get(resource)
    found = [one for one in subject.objects(kind) if one.namespace == namespace and not hooks_of(one.body)]
    if wanted is None:
        secrets = [one for one in subject.plan.secrets if one.namespace == namespace] if kind == "Secret" else []
        return _Need(Fraction(len({one.name for one in found} | {one.served for one in secrets})))
    those = [one for one in found if one.spec.get("type") in wanted]
    ports = [port for one in those for port in one.spec.get("ports") or ()]
    return _Need(Fraction(len(ports if resource.endswith("nodeports") else those)))


def _claims(subject: Subject, namespace: str) -> Iterator[Fraction]:
    """The size of each claim that is deployed there."""
    for _, claim, count in _claim_specs(subject, namespace):
        size = amounts(dig(claim, "spec", "resources", "requests") or {}).get("storage", _ZERO)
        yield from [size] * count


def _claim_specs(subject: Subject, namespace: str) -> Iterator[tuple[Manifest, Object, int]]:
    """Each object that makes claims, such a claim, and how many of it there are."""
    for one in subject.objects("PersistentVolumeClaim", "StatefulSet"):
        if one.namespace != namespace:
            continue
        if one.kind == "PersistentVolumeClaim":
            yield one, one.body, 1
        for claim in one.spec.get("volumeClaimTemplates") or ():
            yield one, claim, pods_of(Workload(one.release, one.body, {}))


def _unsaid(body: Object, keys: list[str], found: list[Load]) -> Iterator[Violation]:
    """Containers that do not say how much they take of what the quota counts."""
    for one in found:
        if not one.workload.starts or not (one.pods or one.surge) or one.workload.pod.get("resources"):
            continue
        for container in one.workload.containers(init=True):
            lacks = [key for key in keys if not _says(container, key)]
            if lacks:
                box = Container(one.workload, container)
                words = ", ".join(f"`{key}`" for key in lacks)
                quoted = f"ResourceQuota `{name_of(body)}` of namespace `{namespace_of(body)}`"
                hint = "set resources in the chart's values, or ask for a LimitRange with defaults"
                yield box.violation(f"no {words} is set, and {quoted} counts it", "resources", hint=hint)


def _says(container: Object, key: str) -> bool:
    field, _, resource = key.rpartition(".")
    resources = container.get("resources") or {}
    if (resources.get("limits") or {}).get(resource) is not None:
        return True
    return field != "limits" and (resources.get("requests") or {}).get(resource) is not None


def _loads_in(subject: Subject, namespace: str) -> Iterator[Load]:
    """What each workload of the namespace takes there at least, with the defaults of its LimitRanges."""
    ranges = _items(subject, namespace, "Container")
    for one in loads(subject):
        if one.workload.namespace == namespace:
            work = _with_defaults(one.workload, ranges)
            asked = pod_sum(work.pod, "requests") | {"pods": Fraction(1)}
            # Selectors and taints may keep a DaemonSet from nodes: one pod is certain.
            pods = one.pods if work.kind != "DaemonSet" else int(work.starts)
            yield replace(one, workload=work, pods=pods, one=asked, most=pod_sum(work.pod, "limits"))


def _items(subject: Subject, namespace: str, kind: str) -> list[Object]:
    those = (one for one in _in_force(subject, "LimitRange") if namespace_of(one) == namespace)
    items = (item for one in those for item in dig(one, "spec", "limits") or () if item.get("type") == kind)
    return [_as_kept(item) for item in items]


def _with_defaults(workload: Workload, items: list[Object]) -> Workload:
    """As the admission plugin LimitRanger completes its pods, after the API server took limits for requests."""
    defaults: dict[str, dict[str, Any]] = {"requests": {}, "limits": {}}
    for item in items:
        defaults["requests"] = {**(item.get("defaultRequest") or {}), **defaults["requests"]}
        defaults["limits"] = {**(item.get("default") or {}), **defaults["limits"]}
    if not any(defaults.values()):
        return workload

    def completed(container: Object) -> Object:
        has = container.get("resources") or {}
        limits = has.get("limits") or {}
        requests = {**defaults["requests"], **limits, **(has.get("requests") or {})}
        return {**container, "resources": {**has, "requests": requests, "limits": {**defaults["limits"], **limits}}}

    boxes = {field: [completed(one) for one in workload.pod.get(field) or ()]
             for field in ("initContainers", "containers")}  # fmt: skip
    return replace(workload, template={**workload.template, "spec": {**workload.pod, **boxes}})


def _is_counted(pod: Object, body: Object) -> bool:
    """Whether the quota's scopes match the pod; False where that cannot be known."""
    wanted = [{"scopeName": one, "operator": "Exists"} for one in dig(body, "spec", "scopes") or ()]
    wanted += dig(body, "spec", "scopeSelector", "matchExpressions") or ()
    effort = any(pod_sum(pod, field) for field in _FIELDS)
    classes = str(pod.get("priorityClassName") or "")
    ends = pod.get("activeDeadlineSeconds") is not None
    simple = {"Terminating": ends, "NotTerminating": not ends, "BestEffort": not effort, "NotBestEffort": effort}
    for one in wanted:
        name, operator = one.get("scopeName"), one.get("operator")
        if name == "PriorityClass":
            listed = classes in (one.get("values") or ())
            known = {"In": listed, "NotIn": not listed, "Exists": bool(classes), "DoesNotExist": not classes}
            if not known.get(str(operator)):
                return False
        elif not simple.get(str(name)):
            return False
    return True


_Bounded = tuple[str, Place, Mapping[str, Fraction], Mapping[str, Fraction]]


def _bounded(subject: Subject, namespace: str, kind: str) -> Iterator[_Bounded]:
    """Each thing of the kind that starts there: who it is, its place, its requests and its limits."""
    if kind == "PersistentVolumeClaim":
        for one, claim, _ in _claim_specs(subject, namespace):
            asked = amounts(dig(claim, "spec", "resources", "requests") or {})
            yield f"{one.label}, claim" if claim is not one.body else one.label, one.place("storage"), asked, {}
    if kind not in ("Pod", "Container"):
        return
    for load in _loads_in(subject, namespace):
        work = load.workload
        if not work.starts or work.pod.get("resources"):
            continue
        if kind == "Pod":
            yield work.label, work.place("resources"), load.one, load.most
            continue
        for box in work.containers(init=True):
            who = f"{work.label}, container `{box.get('name')}`"
            alone = {"containers": [box]}
            yield who, work.place("resources"), pod_sum(alone, "requests"), pod_sum(alone, "limits")


def _outside(item: Object, asked: Mapping[str, Fraction], most: Mapping[str, Fraction]) -> Iterator[str]:
    """What the item of a LimitRange refuses (plugin/pkg/admission/limitranger)."""
    claim = item.get("type") == "PersistentVolumeClaim"
    for resource, given in (item.get("max") or {}).items():
        above = asked if claim else most
        if resource in above and above[resource] > quantity(given):
            what = "request" if claim else "limit"
            yield f"its {what} of {resource} is {shown_as(above[resource], resource)}, at most {given} is admitted"
        elif resource not in above and not claim and not item.get("default", {}).get(resource):
            yield f"it has no limit of {resource}, at most {given} is admitted"
    for resource, given in (item.get("min") or {}).items():
        if asked.get(resource, _ZERO) < quantity(given):
            has = shown_as(asked[resource], resource) if resource in asked else "not set"
            yield f"its request of {resource} is {has}, at least {given} is admitted"
    for resource, given in (item.get("maxLimitRequestRatio") or {}).items():
        if asked.get(resource) and resource in most and most[resource] / asked[resource] > quantity(given):
            ratio = float(most[resource] / asked[resource])
            yield f"its limit of {resource} is {ratio:.3g} times its request, at most {given} times is admitted"
