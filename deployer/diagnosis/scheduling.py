"""A pod that has no node, no volume, no network, or was turned away by its node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from deployer.core.text import one_line
from deployer.diagnosis.finding import Finding, Scene, first_time, named, near, pod_words
from deployer.diagnosis.needs import TRIES_AGAIN, may_come, missing_object, passing_cache
from deployer.status import (
    Object,
    PvcPhase,
    ServicePhase,
    Snapshot,
    WorkloadRef,
    current_pods,
    old_pods,
    pvc_phase,
    service_phase,
)
from deployer.status.objects import (
    condition,
    container_statuses,
    dig,
    epoch,
    event_time,
    find,
    has_condition,
    is_default_class,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    number,
    pod_labels,
    rows,
)

RELEASE = "meta.helm.sh/release-name"
AROUND = frozenset({
    "NODE_NOT_READY", "NODE_PRESSURE", "PVC_PENDING", "SERVICE_NO_ENDPOINTS", "INGRESS_NO_CONTROLLER", "HPA_NO_METRICS",
})  # fmt: skip
"""What is found here: none of it is an ordinary moment of a rollout that outlasts its grace period."""
BINDING_SECONDS, METRICS_SECONDS = 20.0, 90.0
_PRESSURES = {"DiskPressure": "disk", "MemoryPressure": "memory", "PIDPressure": "PID"}


def surrounding_findings(scene: Scene) -> Iterator[Finding]:
    """What is wrong around the workloads."""
    for node in scene.snapshot.nodes:
        yield from _node(node)
    yield from _claims(scene)
    for service in scene.snapshot.services:
        yield from _service(scene, service)
    for ingress in filter(lambda obj: _ours(scene, obj), scene.snapshot.ingresses):
        yield from _ingress(scene, ingress)
    for hpa in scene.snapshot.hpas:
        yield from _hpa(scene, hpa)


def _node(node: Object) -> Iterator[Finding]:
    ready, name = condition(node, "Ready"), name_of(node)
    if ready and ready.get("status") != "True":
        what = str(ready.get("message") or ready.get("reason") or "no answer")
        made = named("NODE_NOT_READY", {"name": name, "what": what})
        yield replace(made, detail=one_line(what), since=epoch(ready.get("lastTransitionTime")))
    for kind, what in _PRESSURES.items():
        pressure = condition(node, kind)
        if pressure.get("status") == "True":
            made = named("NODE_PRESSURE", {"name": name, "what": what})
            detail, since = one_line(pressure.get("message") or kind), epoch(pressure.get("lastTransitionTime"))
            yield replace(made, detail=detail, since=since)


def _claims(scene: Scene) -> Iterator[Finding]:
    """Claims that the counting pods use and that are not bound."""
    claims = {(namespace_of(c), name_of(c)): c for c in scene.snapshot.pvcs}
    users: dict[tuple[str, str], WorkloadRef] = {}
    for ref in scene.refs:
        for pod in current_pods(ref, scene.snapshot):
            for volume in rows(pod, "spec", "volumes"):
                if claim := dig(volume, "persistentVolumeClaim", "claimName"):
                    users.setdefault((ref.namespace, str(claim)), ref)
    for key, ref in sorted(users.items()):
        claim = claims.get(key)
        if claim is not None and pvc_phase(claim) in (PvcPhase.PENDING, PvcPhase.LOST):
            yield from _claim(scene, ref, claim)


def _claim(scene: Scene, ref: WorkloadRef, claim: Object) -> Iterator[Finding]:
    events = scene.events_of(claim, "ProvisioningFailed", "FailedBinding")
    # https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode
    waits = scene.events_of(claim, "WaitForFirstConsumer", "WaitForPodScheduled")
    created = epoch(dig(claim, "metadata", "creationTimestamp")) or scene.now
    if not events and (waits or scene.now - created < BINDING_SECONDS):
        return
    default = "Lost" if pvc_phase(claim) is PvcPhase.LOST else "no provisioner has answered"
    what = str(events[-1].get("message")) if events else default
    made = named("PVC_PENDING", {"name": name_of(claim), "namespace": ref.namespace, "what": what}, workload=ref)
    detail = one_line(f"storage class {dig(claim, 'spec', 'storageClassName') or '(default)'}: {what}")
    yield replace(made, detail=detail, since=first_time(events) or created)


def _ours(scene: Scene, obj: Object) -> bool:
    """Whether the object belongs to a release of ours: a namespace may hold other people's objects."""
    release = dig(obj, "metadata", "annotations", RELEASE)
    mine = {dig(find(ref, scene.snapshot), "metadata", "annotations", RELEASE) for ref in scene.refs}
    return release is not None and release in mine


def _service(scene: Scene, service: Object) -> Iterator[Finding]:
    """A selector that matches no pod at all; pods that are not ready yet are said of the pods."""
    selector = dig(service, "spec", "selector") or {}
    if not selector or not _ours(scene, service) or is_terminating(service):
        return
    here = [p for p in scene.snapshot.pods if namespace_of(p) == namespace_of(service)]
    matched = [pod for pod in here if selector.items() <= labels_of(pod).items()]
    running = any(is_ready(pod) for ref in scene.refs for pod in current_pods(ref, scene.snapshot))
    if matched or not running or service_phase(service, scene.snapshot.endpointslices) is ServicePhase.AVAILABLE:
        return
    namespace = namespace_of(service)
    templates = {ref: pod_labels(find(ref, scene.snapshot)) for ref in scene.refs if ref.namespace == namespace}
    if any(selector.items() <= labels.items() for labels in templates.values()):
        return  # a workload of ours is meant, and scaled to 0
    hints = tuple(
        f"{key}={value}: {hint}"
        for key, value in sorted(selector.items())
        if all(labels.get(key) != value for labels in templates.values())
        for hint in near(str(value), (str(labels[key]) for labels in templates.values() if key in labels))
    )
    asked = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    words = {"name": name_of(service), "namespace": namespace, "what": f"none has {asked}"}
    made = named("SERVICE_NO_ENDPOINTS", words, *hints)
    ignored = "" if _is_needed(scene, namespace, name_of(service)) else "no URL of the spec needs it"
    yield replace(made, detail=f"selector {asked}", since=_made_in_run(scene, service), ignored=ignored)


def _is_needed(scene: Scene, namespace: str, service: str) -> bool:
    """Whether a URL leads to the Service, by its name or through an Ingress."""
    backends = (
        dig(path, "backend", "service", "name")
        for ingress in scene.snapshot.ingresses
        if namespace_of(ingress) == namespace
        for rule in rows(ingress, "spec", "rules")
        if ("", dig(rule, "host")) in scene.known.needed
        for path in rows(rule, "http", "paths")
    )
    return (namespace, service) in scene.known.needed or service in backends


def _made_in_run(scene: Scene, obj: Object) -> float | None:
    """When the object was made; of an older one nothing says since when it is as it is."""
    made = epoch(dig(obj, "metadata", "creationTimestamp"))
    return made if made is not None and made + 1 > scene.since else None


def _ingress(scene: Scene, ingress: Object) -> Iterator[Finding]:
    if dig(ingress, "status", "loadBalancer", "ingress"):
        return
    classes = {name_of(one): one for one in scene.snapshot.ingressclasses}
    legacy = dig(ingress, "metadata", "annotations", "kubernetes.io/ingress.class")
    wanted = dig(ingress, "spec", "ingressClassName") or legacy
    if wanted in classes or (wanted is None and any(map(is_default_class, classes.values()))):
        return
    what = f"class `{wanted}` does not exist" if wanted else "it names no class and none is the default"
    words = {"name": name_of(ingress), "what": what}
    hints = near(str(wanted), classes) if wanted else ()
    yield replace(named("INGRESS_NO_CONTROLLER", words, *hints), detail=what, since=_made_in_run(scene, ingress))


def _hpa(scene: Scene, hpa: Object) -> Iterator[Finding]:
    target = dig(hpa, "spec", "scaleTargetRef")
    named_so = (namespace_of(hpa), dig(target, "kind"), dig(target, "name"))
    ref = next((one for one in scene.refs if (one.namespace, one.kind, one.name) == named_so), None)
    active = condition(hpa, "ScalingActive")
    if ref is None or active.get("status") != "False":
        return
    if active.get("reason") == "ScalingDisabled":  # scaled to 0 on purpose
        return
    since = epoch(active.get("lastTransitionTime"))
    # A metrics server has nothing to say about a pod in its first minute.
    young = scene.now - (epoch(dig(hpa, "metadata", "creationTimestamp")) or 0.0) < METRICS_SECONDS
    message = str(active.get("message") or "")
    absent = "could not find the requested resource" in message  # then nobody serves metrics at all
    ignored = "metrics come about a minute after a start" if young and not absent else ""
    what = "the cluster has no metrics server" if absent else str(active.get("reason"))
    made = named("HPA_NO_METRICS", {"name": name_of(hpa), "what": what}, workload=ref)
    yield replace(made, detail=one_line(message), since=since, ignored=ignored)


VOLUME_SECONDS = 20.0
"""A claim that is made with its pod is unbound for a moment of every healthy rollout, longer on a node just started."""
_RPC = re.compile(r"(?:^Failed to create pod sandbox: )?rpc error: code = \w+ desc = ")
_NO_CLAIM = re.compile(r"persistentvolumeclaim \"(?P<claim>[^\"]+)\" not found")

# The scheduler's words: https://kubernetes.io/docs/concepts/scheduling-eviction/ and
# pkg/scheduler/framework/plugins/*; from 1.34 on "untolerated taint(s)" no longer names the taint.
_REASONS: tuple[tuple[str, str], ...] = (
    ("UNSCHEDULABLE_CPU", r"Insufficient cpu"),
    ("UNSCHEDULABLE_MEMORY", r"Insufficient memory"),
    ("UNSCHEDULABLE_STORAGE", r"Insufficient ephemeral-storage"),
    ("UNSCHEDULABLE_PODS", r"Too many pods"),
    (
        "UNSCHEDULABLE_VOLUME",
        r"persistentvolumeclaim \"|unbound immediate|persistent volumes? to bind|volume node affin",
    ),
    ("UNSCHEDULABLE_PORT", r"free ports"),
    ("UNSCHEDULABLE_SELECTOR", r"node affinity|node selector|pod affinity rules|anti-affinity|topology spread"),
    ("UNSCHEDULABLE_TAINT", r"taint|were unschedulable"),
)
_ASKED = (
    (r"node affinity|node selector", "node affinity"),
    (r"anti-affinity", "pod anti-affinity"),
    (r"pod affinity rules", "pod affinity"),
    (r"topology spread", "topology spread constraints"),
)
_FREED_BY_OTHERS = {"UNSCHEDULABLE_CPU", "UNSCHEDULABLE_MEMORY", "UNSCHEDULABLE_PODS", "UNSCHEDULABLE_PORT"}
_REJECTED = {
    "Evicted", "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage", "NodeAffinity", "NodeShutdown",
    "Terminated", "UnexpectedAdmissionError", "ContainerStatusUnknown", "Preempting",
}  # fmt: skip


_GATE_SECONDS = 15.0
"""So long a controller may take to remove a scheduling gate that it knows."""


def scheduling_finding(scene: Scene, ref: WorkloadRef, pod: Object) -> Finding | None:
    """Why no node takes the pod."""
    scheduled = condition(pod, "PodScheduled")
    if gates := [str(gate.get("name")) for gate in rows(pod, "spec", "schedulingGates")]:
        what = ", ".join(f"`{gate}`" for gate in gates)
        born = epoch(dig(pod, "metadata", "creationTimestamp")) or scene.now
        ignored = "it was made a moment ago" if scene.now - born < _GATE_SECONDS else ""
        made = named("SCHEDULING_GATE", pod_words(ref, pod, what=what), workload=ref)
        return replace(made, since=born, ignored=ignored)
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return None
    message, since = str(scheduled.get("message") or ""), epoch(scheduled.get("lastTransitionTime"))
    # What stands after "preemption:" speaks of other pods.
    reasons = message.partition("preemption:")[0]
    code = next((code for code, pattern in _REASONS if re.search(pattern, reasons)), "UNSCHEDULABLE")
    made = named(code, pod_words(ref, pod, what=_what(scene, code, pod, reasons)), workload=ref)
    ignored = _passing(scene, ref, code, message, since)
    if node := dig(pod, "status", "nominatedNodeName"):
        ignored = ignored or f"pods of a lower priority make room for it on node {node}"
    return replace(made, detail=one_line(message), since=since, evidence=(one_line(message),), ignored=ignored)


def _will_free(ref: WorkloadRef, snapshot: Snapshot) -> bool:
    """Whether the workload has old pods that go once its new ones are ready, and its new ones have their nodes."""
    placed = all(has_condition(pod, "PodScheduled") for pod in current_pods(ref, snapshot))
    return placed and bool(old_pods(ref, snapshot))


def _will_end(ref: WorkloadRef, snapshot: Snapshot) -> bool:
    """Whether it is a Job, or a pod that is not started again, that holds its share of a node until it has ended."""
    pods = current_pods(ref, snapshot) if ref.kind in ("Job", "Pod") else ()
    ends = (pod for pod in pods if dig(pod, "spec", "restartPolicy") not in ("Always", None))
    return any(
        has_condition(pod, "PodScheduled") and dig(pod, "status", "phase") in ("Pending", "Running") for pod in ends
    )


def _freed_by(scene: Scene, ref: WorkloadRef) -> str:
    """What else of ours will soon hold no more what the workload's pods need; empty where nothing will."""
    leaving = [name_of(pod) for pod in scene.snapshot.pods if is_terminating(pod)]
    if leaving:
        return f"{min(leaving)} is still terminating and will free its share"
    others = [other for other in scene.refs if other != ref]
    rolling = [other for other in others if _will_free(other, scene.snapshot)]
    if rolling:
        return f"{min(rolling)} is still rolling and will free what its old pods hold"
    ending = [other for other in others if _will_end(other, scene.snapshot)]
    return f"{min(ending)} is still at work and will free what it holds" if ending else ""


def _passing(scene: Scene, ref: WorkloadRef, code: str, message: str, since: float | None) -> str:
    """Why the pod may yet find its place."""
    if scene.known.growable and code in _FREED_BY_OTHERS:
        return "the cluster may add a node"
    lost = [name_of(node) for node in scene.snapshot.nodes if condition(node, "Ready").get("status") == "Unknown"]
    if lost:
        return f"node {min(lost)} is lost"
    if code in _FREED_BY_OTHERS and (freed := _freed_by(scene, ref)):
        return freed
    absent = _NO_CLAIM.search(message)
    # The scheduler may not yet have heard of a claim that is there.
    claims = {name_of(claim) for claim in scene.snapshot.pvcs if namespace_of(claim) == ref.namespace}
    made = absent is not None and absent["claim"] in claims
    bound_soon = code == "UNSCHEDULABLE_VOLUME" and (made or absent is None)
    return "volumes are being bound" if bound_soon and scene.now - (since or scene.now) < VOLUME_SECONDS else ""


def _what(scene: Scene, code: str, pod: Object, reasons: str) -> str:
    resource = {"UNSCHEDULABLE_CPU": "cpu", "UNSCHEDULABLE_MEMORY": "memory"}.get(code)
    if resource:
        asked = (dig(spec, "resources", "requests", resource) for spec in rows(pod, "spec", "containers"))
        allowed = (dig(node, "status", "allocatable", resource) for node in scene.snapshot.nodes)
        said = f"requests {' + '.join(str(one) for one in asked if one)}"
        nodes = [_amount(str(one)) for one in allowed if one]
        have = "the node has" if len(nodes) == 1 else "the nodes have"
        return f"{said}; {have} {', '.join(nodes)} in all" if nodes else said
    if code == "UNSCHEDULABLE_SELECTOR":
        selector = dig(pod, "spec", "nodeSelector") or {}
        labels = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
        unmet = next(words for pattern, words in _ASKED if re.search(pattern, reasons))
        return f"nodeSelector {labels}" if labels and unmet == "node affinity" else unmet
    if code == "UNSCHEDULABLE_TAINT":
        taints = {str(taint.get("key")) for node in scene.snapshot.nodes for taint in rows(node, "spec", "taints")}
        return f"taints {', '.join(sorted(taints))}" if taints else "its nodes are tainted"
    claim = re.search(r"persistentvolumeclaim \"[^\"]+\" [^.]+", reasons)
    return claim[0] if claim else reasons.partition(": ")[2].strip(" .") or reasons


def _amount(text: str) -> str:
    """The quantity as a person would write it: the kubelet gives memory in Ki."""
    kibibytes = text.removesuffix("Ki")
    return f"{int(kibibytes) / 2**20:.1f}Gi" if kibibytes != text and kibibytes.isdigit() else text


def mount_finding(scene: Scene, ref: WorkloadRef, pod: Object) -> Finding | None:
    """Which volume the node cannot mount, while no container of the pod has started."""
    statuses = container_statuses(pod)
    begun = any(dig(status, "state", "running") or dig(status, "state", "terminated") for status in statuses)
    events = scene.events_of(pod, "FailedMount", "FailedAttachVolume")
    # The kubelet's summary ("Unable to attach or mount volumes … timed out") only repeats that there is a cause.
    specific = [event for event in events if "Unable to attach or mount" not in str(event.get("message"))]
    if begun or not events or dig(pod, "status", "phase") != "Pending":
        return None
    message = str((specific or list(events))[-1].get("message") or "")
    words = pod_words(ref, pod)
    missing = missing_object(scene, words, ref, message)
    made = named("VOLUME_MOUNT", words | {"what": _mounted(message)}, *(missing.hints if missing else ()), workload=ref)
    since, lines = first_time(events), _lines(specific or events)
    ignored = passing_cache(scene, pod, message, since) or may_come(scene, ref, message)
    return replace(made, detail=one_line(message), since=since, evidence=lines, ignored=ignored)


def _mounted(message: str) -> str:
    volume = re.search(r"for volume \"([^\"]+)\"", message)
    cause = message.rpartition(" : ")[2]
    return f"volume `{volume[1]}`: {cause}" if volume else cause


def sandbox_finding(scene: Scene, ref: WorkloadRef, pod: Object) -> Finding | None:
    """Why the node cannot set up the pod's sandbox or network."""
    events = scene.events_of(pod, "FailedCreatePodSandBox", "NetworkNotReady")
    if not events or dig(pod, "status", "podIP") or dig(pod, "status", "phase") != "Pending":
        return None
    message = str(events[-1].get("message") or "")
    # A busy node's container runtime may be late once: the kubelet makes another sandbox.
    tried = sum(number(event, "count", default=1) for event in events)
    made = named("SANDBOX", pod_words(ref, pod, what=_RPC.sub("", message)), workload=ref)
    return replace(
        made,
        detail=one_line(message),
        since=first_time(events),
        evidence=_lines(events),
        ignored="" if tried > 1 else TRIES_AGAIN,
    )


def rejected_findings(scene: Scene, ref: WorkloadRef, pods: Iterable[Object]) -> Iterator[Finding]:
    """The pods of this run that their node turned away, as one finding."""
    gone = [
        pod
        for pod in pods
        if dig(pod, "status", "phase") == "Failed"
        and (reason := dig(pod, "status", "reason"))
        # Of the others (SysctlForbidden, AppArmor, PodOSNotSupported, …) the kubelet does not even list the containers.
        and (reason in _REJECTED or not rows(pod, "status", "containerStatuses"))
        and (epoch(dig(pod, "metadata", "creationTimestamp")) or scene.now) + 1 > scene.since
    ]
    if gone:
        last = max(gone, key=lambda pod: (str(dig(pod, "metadata", "creationTimestamp")), name_of(pod)))
        what = f"{dig(last, 'status', 'reason')}: {dig(last, 'status', 'message') or ''}"
        made = named("POD_REJECTED", pod_words(ref, last, what=what.strip(": ")), workload=ref)
        since = epoch(dig(gone[0], "status", "startTime"))
        yield replace(made, detail=one_line(what), since=since, observations=len(gone))


def _lines(events: Iterable[Object]) -> tuple[str, ...]:
    latest = sorted(events, key=lambda event: event_time(event) or 0.0)[-3:]
    return tuple(dict.fromkeys(one_line(f"{e.get('reason')}: {e.get('message')}") for e in latest))
