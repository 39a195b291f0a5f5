"""What workloads stand on and are reached by: nodes, volume claims, Services, Ingresses, autoscalers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployer.core.text import one_line
from deployer.diagnosis.finding import Finding, Scene, first_time, named, near
from deployer.status import Object, PvcPhase, ServicePhase, WorkloadRef, current_pods, pvc_phase, service_phase
from deployer.status.objects import condition, dig, epoch, find, is_ready, is_terminating, name_of, rows

RELEASE = "meta.helm.sh/release-name"
AROUND = frozenset({
    "NODE_NOT_READY", "NODE_PRESSURE", "PVC_PENDING", "SERVICE_NO_ENDPOINTS", "INGRESS_NO_CONTROLLER", "HPA_NO_METRICS",
})  # fmt: skip
"""What is found here: none of it is an ordinary moment of a rollout that outlasts its grace period."""
BINDING_SECONDS, METRICS_SECONDS = 20.0, 90.0
_PRESSURES = {"DiskPressure": "disk", "MemoryPressure": "memory", "PIDPressure": "process ids"}


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
    claims = {(str(dig(c, "metadata", "namespace")), name_of(c)): c for c in scene.snapshot.pvcs}
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
    here = [p for p in scene.snapshot.pods if dig(p, "metadata", "namespace") == dig(service, "metadata", "namespace")]
    matched = [pod for pod in here if selector.items() <= (dig(pod, "metadata", "labels") or {}).items()]
    running = any(is_ready(pod) for ref in scene.refs for pod in current_pods(ref, scene.snapshot))
    if matched or not running or service_phase(service, scene.snapshot.endpointslices) is ServicePhase.AVAILABLE:
        return
    templates = {ref: _labels(scene, ref) for ref in scene.refs}
    if any(selector.items() <= labels.items() for labels in templates.values()):
        return  # a workload of ours is meant, and scaled to 0
    hints = tuple(
        f"{key}={value}: {hint}"
        for key, value in sorted(selector.items())
        if all(labels.get(key) != value for labels in templates.values())
        for hint in near(str(value), (str(labels[key]) for labels in templates.values() if key in labels))
    )
    asked = ", ".join(f"{key}={value}" for key, value in sorted(selector.items()))
    namespace = str(dig(service, "metadata", "namespace"))
    words = {"name": name_of(service), "namespace": namespace, "what": f"none has {asked}"}
    made = named("SERVICE_NO_ENDPOINTS", words, *hints)
    yield replace(made, detail=f"selector {asked}", since=_made_in_run(scene, service))


def _made_in_run(scene: Scene, obj: Object) -> float | None:
    """When the object was made; of an older one nothing says since when it is as it is."""
    made = epoch(dig(obj, "metadata", "creationTimestamp"))
    return made if made is not None and made + 1 > scene.since else None


def _labels(scene: Scene, ref: WorkloadRef) -> dict[str, str]:
    return dig(find(ref, scene.snapshot), "spec", "template", "metadata", "labels") or {}


def _ingress(scene: Scene, ingress: Object) -> Iterator[Finding]:
    if dig(ingress, "status", "loadBalancer", "ingress"):
        return
    classes = {name_of(one): one for one in scene.snapshot.ingressclasses}
    legacy = dig(ingress, "metadata", "annotations", "kubernetes.io/ingress.class")
    wanted = dig(ingress, "spec", "ingressClassName") or legacy
    mark = "ingressclass.kubernetes.io/is-default-class"
    default = any(dig(one, "metadata", "annotations", mark) == "true" for one in classes.values())
    if wanted in classes or (wanted is None and default):
        return
    what = f"class `{wanted}` does not exist" if wanted else "it names no class and none is the default"
    words = {"name": name_of(ingress), "what": what}
    hints = near(str(wanted), classes) if wanted else ()
    yield replace(named("INGRESS_NO_CONTROLLER", words, *hints), detail=what, since=_made_in_run(scene, ingress))


def _hpa(scene: Scene, hpa: Object) -> Iterator[Finding]:
    target, namespace = dig(hpa, "spec", "scaleTargetRef"), str(dig(hpa, "metadata", "namespace"))
    ref = next((r for r in scene.refs if (r.kind, r.name) == (dig(target, "kind"), dig(target, "name"))), None)
    active = condition(hpa, "ScalingActive")
    if ref is None or ref.namespace != namespace or active.get("status") != "False":
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
