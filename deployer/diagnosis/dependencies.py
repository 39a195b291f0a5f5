"""Whom a container cannot reach, and whether that one is only still starting.

Giving up on the first crash is wrong for a service that ends until its database is up: the restarts are then
Kubernetes' ordinary way of waiting (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy).
"""

from __future__ import annotations

import re

from deployer.diagnosis.finding import Scene
from deployer.diagnosis.logs import LastWords
from deployer.diagnosis.needs import Container
from deployer.status import Object, Phase, WorkloadRef, current_pods, workload_status
from deployer.status.objects import condition, dig, epoch, find, name_of, pod_labels

_HERE = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104  (an address read in a log, not bound)


def host_of(words: LastWords, scene: Scene, ref: WorkloadRef) -> str:
    """The host's name as the log says it, or the Service's name where it says a cluster address."""
    host = words.what
    service = _service(host, scene, ref)
    return name_of(service) if service and re.fullmatch(r"[\d.]+", host) else host


def _service(host: str, scene: Scene, ref: WorkloadRef) -> Object | None:
    for service in scene.snapshot.services:
        namespace = dig(service, "metadata", "namespace") or ref.namespace
        names = {name_of(service) + tail for tail in (f".{namespace}", f".{namespace}.svc", "")}
        short = re.sub(r"\.cluster\.local\.?$", "", host)
        if dig(service, "spec", "clusterIP") == host or (
            short in names and (namespace == ref.namespace or "." in short)
        ):
            return service
    return None


def _candidates(scene: Scene, container: Container, host: str) -> list[WorkloadRef]:
    """The workloads that the host may stand for; none if it stands for nothing of ours."""
    others = [ref for ref in scene.refs if ref != container.ref and ref.kind not in ("Job", "CronJob")]
    if not host:
        return [ref for ref in others if ref.kind == "StatefulSet"] or others
    service = _service(host, scene, container.ref)
    selector = dig(service, "spec", "selector") or {}
    if not selector:
        return [ref for ref in others if ref.name == host]
    labels = {ref: pod_labels(find(ref, scene.snapshot)) for ref in others}
    return [ref for ref in others if selector.items() <= labels[ref].items()]


def why_ignored(
    scene: Scene, container: Container, host: str, at: float | None, *, runs: bool = False
) -> tuple[str, float]:
    """Why failing to reach `host` at `at` is still ordinary ("" if it is not), and since when the host is up.

    `runs`: the container did not end by it, but tries again.
    """
    up = 0.0
    if host in _HERE:
        return "", up
    for ref in _candidates(scene, container, host):
        if workload_status(ref, scene.snapshot, scene.now).phase is not Phase.AVAILABLE:
            return f"{ref} is still starting", up
        up = max((up, *(_ready_since(pod) for pod in current_pods(ref, scene.snapshot))))
    if at is not None and at <= up:
        reason = "what it needs has only just come up"
        return reason if runs else "it ended before what it needs was ready, and will be started again", up
    return "", up


def _ready_since(pod: Object) -> float:
    return epoch(condition(pod, "Ready").get("lastTransitionTime")) or 0.0
