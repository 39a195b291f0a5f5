"""The application as it stands now: workloads with their causes, releases with their verdicts, addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from deployer import diagnosis
from deployer.cluster.network_policy import Enforcement, enforcement
from deployer.commands.connection import Opened, not_deployed
from deployer.commands.deploy import take_back
from deployer.composition import lease_namespace
from deployer.config.spec import Url
from deployer.core.errors import DeployError
from deployer.core.ports import KubePort, ObjectRef, Revision, ref_of
from deployer.core.steps import Clock
from deployer.diagnosis import Finding
from deployer.helm.storage import latest_of
from deployer.plan import is_on, switch_states
from deployer.rollout.hold import lately
from deployer.rollout.stage import (
    DONE,
    RECENT_SECONDS,
    has_restarted,
    take_snapshot,
    workloads_in,
    workloads_of,
    worth_showing,
)
from deployer.rollout.watch import take_logs
from deployer.sources.load import load_env, values_of
from deployer.stages.removal import volume_claims
from deployer.stages.sync import pod_containers
from deployer.stages.urls import INGRESS, forwarded_origin, service_origin
from deployer.state.lock import is_held
from deployer.state.record import Record
from deployer.status import (
    Object,
    PvcPhase,
    ServicePhase,
    Snapshot,
    WorkloadRef,
    WorkloadStatus,
    current_pods,
    pvc_phase,
    service_phase,
    workload_status,
)
from deployer.status.objects import dig, find, name_of, pod_labels


@dataclass(frozen=True, slots=True)
class Part:
    """A Service or a volume claim of the application, and its phase in a word."""

    kind: str
    namespace: str
    name: str
    phase: str
    well: bool
    """Whether it is as it should be."""


@dataclass(frozen=True, slots=True)
class Status:
    """What `status` shows."""

    opened: Opened
    releases: tuple[Revision, ...]
    workloads: tuple[WorkloadStatus, ...]
    causes: Mapping[WorkloadRef, str]
    addresses: Mapping[WorkloadRef, str]
    urls: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...] = ()
    policies: Enforcement | None = None
    """Whether the application's NetworkPolicies are enforced; None where it has none."""
    nodes: Mapping[WorkloadRef, Mapping[str, int]] = field(default_factory=dict)
    """How many pods of a workload each node has."""
    astray: tuple[str, ...] = ()
    """Where Helm's newest revisions are not those of the history."""


def read_status(opened: Opened, clock: Clock) -> Status:
    """How the application stands at this moment; machine error where it was never deployed."""
    if not opened.record.releases:
        raise not_deployed(opened)
    kube = opened.kube
    releases: list[Revision] = []
    for name, release in opened.record.releases.items():
        if (one := latest_of(name, release.namespace, kube)) is not None:
            # Helm hands labels on: the verdict of a revision that another helm made is its predecessor's.
            own = one.revision == release.revision or one.verdict == "unfinished"
            releases.append(one if own else replace(one, verdict=""))
    verified = bool(releases) and all(one.verdict == "verified" for one in releases)
    refs = workloads_in(opened.record.releases.values())
    snapshot = take_snapshot(refs, kube)
    now = clock.now()
    statuses = worth_showing(workload_status(ref, snapshot, now, was_available=verified) for ref in refs)
    logs = take_logs(snapshot, refs, kube)
    causes: dict[WorkloadRef, str] = {}
    for finding in diagnosis.diagnose(snapshot, refs, logs, now=now, since=now - RECENT_SECONDS):
        if finding.workload is not None:
            causes.setdefault(finding.workload, finding.title)
    if verified and (any(one.phase not in DONE for one in statuses) or has_restarted(refs, snapshot, now)):
        for finding, is_lasting in lately(snapshot, refs, kube, now):
            assert finding.workload is not None
            causes.setdefault(finding.workload, finding.title)
            if is_lasting and verified:
                verified = False
                opened, releases = _taken_back(opened, finding, releases)
    for ref in refs:
        if any(one.is_labelled for one in pod_containers(current_pods(ref, snapshot))):
            causes.setdefault(ref, "runs files that `dev` copied into it, which are not verified: todo-deploy up")
            releases = [replace(one, verdict="") if _has(opened, one.release, ref) else one for one in releases]
    services = services_beside(refs, kube)
    return Status(
        opened, tuple(releases), statuses, causes, addresses_of(refs, services, opened, snapshot),
        _urls(opened, services), _parts(opened, services, kube), _policies(opened),
        {ref: _placed(ref, snapshot) for ref in refs}, astray(opened.record, kube),
    )  # fmt: skip


def _placed(ref: WorkloadRef, snapshot: Snapshot) -> Mapping[str, int]:
    return Counter(str(node) for pod in current_pods(ref, snapshot) if (node := dig(pod, "spec", "nodeName")))


def _has(opened: Opened, release: str, ref: WorkloadRef) -> bool:
    """Whether the workload is one of the release."""
    return ref in workloads_of(opened.record.releases[release].objects)


def _taken_back(opened: Opened, found: Finding, releases: list[Revision]) -> tuple[Opened, list[Revision]]:
    """As before, with the verdict taken back; left to the run that is at work, or to whoever may write."""
    spec, kube = opened.loaded.spec, opened.kube
    with suppress(DeployError):
        if not is_held(kube, spec.application, lease_namespace(spec)):
            kept = take_back(opened.record, diagnosis.problem(found), spec, kube)
            opened = replace(opened, record=kept)
            latest = (latest_of(name, known.namespace, kube) for name, known in kept.releases.items())
            return opened, [one for one in latest if one is not None]
    return opened, releases


def astray(kept: Record, kube: KubePort) -> tuple[str, ...]:
    """A sentence for each release whose newest revision is not the one that the history ends with."""
    said = []
    for name, known in kept.releases.items():
        latest = latest_of(name, known.namespace, kube)
        if latest is None:
            said.append(f"release {name} is not installed any more: todo-deploy up")
        elif latest.revision != known.revision:
            who = "a run that did not end" if latest.verdict == "unfinished" else "another helm"
            said.append(f"release {name} is at revision {latest.revision}, which {who} made: todo-deploy up")
    return tuple(said)


def _parts(opened: Opened, services: Mapping[tuple[str, str], Object], kube: KubePort) -> tuple[Part, ...]:
    """The releases' Services, by whether an endpoint takes traffic, and the claims that their pods use."""
    ours = {ref for release in opened.record.releases.values() for ref in release.objects}
    namespaces = sorted({ref.namespace for ref in ours})
    slices = [one for namespace in namespaces for one in kube.list("EndpointSlice", namespace)]
    found = []
    for (namespace, name), service in services.items():
        if ObjectRef("Service", namespace, name) in ours:
            phase = service_phase(service, slices)
            found.append(Part("Service", namespace, name, phase.value, phase is ServicePhase.AVAILABLE))
    claims = [one for namespace in namespaces for one in kube.list("PersistentVolumeClaim", namespace)]
    known = {*volume_claims(ours, kube), *opened.record.claims}
    for claim in claims:
        ref = ref_of(claim)
        if ref in known:
            state = pvc_phase(claim)
            found.append(Part(ref.kind, ref.namespace, ref.name, state.value, state is PvcPhase.BOUND))
    return tuple(found)


def _policies(opened: Opened) -> Enforcement | None:
    kinds = {ref.kind for release in opened.record.releases.values() for ref in release.objects}
    return enforcement(opened.kube.list("Pod")) if "NetworkPolicy" in kinds else None


def services_beside(refs: Sequence[WorkloadRef], kube: KubePort) -> dict[tuple[str, str], Object]:
    """The Services of the workloads' namespaces, by namespace and name."""
    namespaces = sorted({ref.namespace for ref in refs})
    return {(namespace, name_of(one)): one for namespace in namespaces for one in kube.list("Service", namespace)}


def addresses_of(
    refs: tuple[WorkloadRef, ...],
    services: Mapping[tuple[str, str], Object],
    opened: Opened,
    snapshot: Snapshot,
) -> dict[WorkloadRef, str]:
    """Where the workloads that a Service exposes are reached from this machine."""
    found: dict[WorkloadRef, str] = {}
    for ref in refs:
        own = pod_labels(find(ref, snapshot))
        for (namespace, name), service in services.items():
            selector = (service.get("spec") or {}).get("selector") or {}
            if namespace == ref.namespace and selector and selector.items() <= own.items():
                keys = (key for key in opened.local if key[:2] == (namespace, name))
                origin = service_origin(service, None, opened.facts.address)
                if (key := next(keys, None)) is not None:
                    origin = forwarded_origin(origin or "http:", *key, opened.local)
                if origin is not None:
                    found[ref] = origin
    return found


def _urls(opened: Opened, services: Mapping[tuple[str, str], Object]) -> tuple[tuple[str, str], ...]:
    spec = opened.loaded.spec
    on = switch_states(spec, values_of(load_env(opened.loaded)))
    shown = []
    for name, url in spec.urls.items():
        service = services.get((url.namespace or spec.namespace, url.service or ""))
        if not url.show or not is_on(url.when, on):
            continue
        if url.ingress_host is not None:
            port = f":{opened.local[INGRESS]}" if INGRESS in opened.local else ""
            shown.append((name, f"{url.scheme or 'http'}://{url.ingress_host}{port}{url.path}"))
        elif service is not None and (origin := _origin(service, url, opened)) is not None:
            shown.append((name, origin + url.path))
    return tuple(shown)


def _origin(service: Object, url: Url, opened: Opened) -> str | None:
    origin = service_origin(service, url.port, opened.facts.address, external=url.external, scheme=url.scheme)
    namespace, name = url.namespace or opened.loaded.spec.namespace, url.service or ""
    return origin and forwarded_origin(origin, namespace, name, url.port, opened.local)
