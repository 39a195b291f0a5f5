"""A pod that has no node, no volume, no network, or was turned away by its node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from deployer.core.text import one_line
from deployer.diagnosis.finding import Finding, Scene, event_time, first_time, named, pod_words
from deployer.diagnosis.needs import missing_object
from deployer.status import Object, Snapshot, WorkloadRef, current_pods, old_pods
from deployer.status.objects import condition, container_statuses, dig, epoch, is_terminating, name_of, number, rows

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
_FREED_BY_OTHERS = {"UNSCHEDULABLE_CPU", "UNSCHEDULABLE_MEMORY", "UNSCHEDULABLE_PODS", "UNSCHEDULABLE_PORT"}
_REJECTED = {
    "Evicted", "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage", "NodeAffinity", "NodeShutdown",
    "Terminated", "UnexpectedAdmissionError", "ContainerStatusUnknown", "Preempting",
}  # fmt: skip


def scheduling_finding(scene: Scene, ref: WorkloadRef, pod: Object) -> Finding | None:
    """Why no node takes the pod."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False" or scheduled.get("reason") != "Unschedulable":
        return None  # SchedulingGated pods wait for whoever gated them
    message, since = str(scheduled.get("message") or ""), epoch(scheduled.get("lastTransitionTime"))
    # What stands after "preemption:" speaks of other pods.
    reasons = message.partition("preemption:")[0]
    code = next((code for code, pattern in _REASONS if re.search(pattern, reasons)), "UNSCHEDULABLE")
    made = named(code, pod_words(ref, pod, what=_what(scene, code, pod, reasons)), workload=ref)
    ignored = _passing(scene, ref, code, message, since)
    return replace(made, detail=one_line(message), since=since, evidence=(one_line(message),), ignored=ignored)


def _will_free(ref: WorkloadRef, snapshot: Snapshot) -> bool:
    """Whether the workload has old pods that go once its new ones are ready, and its new ones have their nodes."""
    placed = all(condition(pod, "PodScheduled").get("status") == "True" for pod in current_pods(ref, snapshot))
    return placed and bool(old_pods(ref, snapshot))


def _passing(scene: Scene, ref: WorkloadRef, code: str, message: str, since: float | None) -> str:
    """Why the pod may yet find its place."""
    if scene.known.growable and code in _FREED_BY_OTHERS:
        return "the cluster may add a node"
    leaving = [name_of(pod) for pod in scene.snapshot.pods if is_terminating(pod)]
    if leaving and code in _FREED_BY_OTHERS:
        return f"{min(leaving)} is still terminating and will free its share"
    rolling = [other for other in scene.refs if other != ref and _will_free(other, scene.snapshot)]
    if rolling and code in _FREED_BY_OTHERS:
        return f"{min(rolling)} is still rolling and will free what its old pods hold"
    absent = _NO_CLAIM.search(message)
    # The scheduler may not yet have heard of a claim that is there.
    made = absent is not None and absent["claim"] in {name_of(claim) for claim in scene.snapshot.pvcs}
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
        return ", ".join(f"{key}={value}" for key, value in sorted(selector.items())) or "its affinity"
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
    telling = [event for event in events if "Unable to attach or mount" not in str(event.get("message"))]
    if begun or not events or dig(pod, "status", "phase") != "Pending":
        return None
    message = str((telling or list(events))[-1].get("message") or "")
    words = pod_words(ref, pod)
    missing = missing_object(scene, words, ref, message)
    made = named("VOLUME_MOUNT", words | {"what": _mounted(message)}, *(missing.hints if missing else ()), workload=ref)
    return replace(made, detail=one_line(message), since=first_time(events), evidence=_lines(telling or events))


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
        ignored="" if tried > 1 else "the kubelet tries again",
    )


def rejected_findings(scene: Scene, ref: WorkloadRef, pods: Iterable[Object]) -> Iterator[Finding]:
    """The pods of this run that their node turned away, as one finding."""
    gone = [
        pod
        for pod in pods
        if dig(pod, "status", "reason") in _REJECTED
        and dig(pod, "status", "phase") == "Failed"
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
