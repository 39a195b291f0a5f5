"""What a look at a rollout asks the API server for, beside the workloads themselves, and how often.

Surroundings (Services, Ingresses, nodes), the ends of logs, and look-ups that a finding asks for: often enough to help,
and with few requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from deployer.core.errors import DeployError
from deployer.core.ports import KubePort, Object, ObjectRef
from deployer.kube.rights import listed
from deployer.status import Snapshot, WorkloadRef, current_pods
from deployer.status.objects import container_statuses, dig, is_ready, name_of, namespace_of, rows, uid_of

if TYPE_CHECKING:  # a run that changes nothing loads no diagnosis
    from deployer.diagnosis import Finding, Known, LogRequest, Measured


_FIELDS = {
    "Node": "nodes",
    "Service": "services",
    "Ingress": "ingresses",
    "IngressClass": "ingressclasses",
    "HorizontalPodAutoscaler": "hpas",
    "PersistentVolumeClaim": "pvcs",
}
_OF_NO_NAMESPACE = ("Node", "IngressClass")
_CLAIMS = "PersistentVolumeClaim"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was seen around the workloads, by kind, and how many looks it took."""

    objects: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    looks: int = 0

    def beside(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what was seen around it."""
        return replace(snapshot, **{_FIELDS[kind]: found for kind, found in self.objects.items()})


def surrounding_kinds(objects: Iterable[ObjectRef]) -> tuple[str, ...]:
    """The kinds that are worth looking at for releases of these objects."""
    has = {one.kind for one in objects}
    classes = ("IngressClass",) if "Ingress" in has else ()
    return ("Node", *sorted(has & {"Service", "Ingress", "HorizontalPodAutoscaler"}), *classes)


def read_surroundings(
    before: Surroundings, kinds: Sequence[str], snapshot: Snapshot, refs: Collection[WorkloadRef], kube: KubePort
) -> Surroundings:
    """All kinds at the first look, half of them at each later one; volume claims while a pod waits for them."""
    asked = [kind for at, kind in enumerate(kinds) if not before.looks or at % 2 == before.looks % 2]
    if _waits_for_claims(snapshot, refs):
        asked.append(_CLAIMS)
    namespaces = sorted({ref.namespace for ref in refs})
    found = {
        kind: tuple(
            one
            for namespace in ([""] if kind in _OF_NO_NAMESPACE else namespaces)
            for one in listed(kube, kind, namespace) or ()
        )
        for kind in asked
    }
    return Surroundings({**before.objects, **found}, before.looks + 1)


def _waits_for_claims(snapshot: Snapshot, refs: Collection[WorkloadRef]) -> bool:
    return any(
        dig(volume, "persistentVolumeClaim") is not None
        for ref in refs
        for pod in current_pods(ref, snapshot)
        if not is_ready(pod)
        for volume in rows(pod, "spec", "volumes")
    )


Refs = Callable[[], Sequence[str]]
"""The images of a daemon."""

Lookup = Callable[["Known", Snapshot, Sequence[WorkloadRef], Sequence["Finding"], float], "Known"]
"""What is known after another look, at that moment: the same object where nothing was looked up."""

NO_REPOSITORIES: Mapping[str, str] = MappingProxyType({})
_IMAGES = {"IMAGE_NEVER_PULL", "IMAGE_NOT_FOUND", "IMAGE_DENIED", "IMAGE_NETWORK", "IMAGE_PULL"}
_NAMES = {"CONFIG_SECRET_MISSING", "CONFIG_MAP_MISSING", "CONFIG_KEY_MISSING", "VOLUME_MOUNT"}
MEASURE_SECONDS = 4.0
"""So far apart the kubelets are asked for the memory in use: they measure it themselves only every ten seconds."""


def no_lookup(
    known: Known, snapshot: Snapshot, refs: Sequence[WorkloadRef], findings: Sequence[Finding], now: float
) -> Known:
    """Nothing is looked up."""
    return known


def lookup_of(
    kube: KubePort,
    node_images: Refs | None,
    host_images: Refs | None,
    repositories: Mapping[str, str] = NO_REPOSITORIES,
) -> Lookup:
    """Looks into both daemons, at the names of the namespace's objects, and at the memory of pods that start.

    Daemons say nothing (None) where images come from a registry.
    `repositories` are those of the spec's images, by their names in it.
    """

    def look(
        known: Known, snapshot: Snapshot, refs: Sequence[WorkloadRef], findings: Sequence[Finding], now: float
    ) -> Known:
        codes = {one.code for one in findings}
        if codes & _IMAGES and not known.images_seen:
            node, host = _had(node_images), _had(host_images)
            seen = node is not None and host is not None
            known = replace(known, node_images=node or (), host_images=host or (), images_seen=seen,
                            repositories=repositories)  # fmt: skip
        if codes & _NAMES:  # something of the release may have made it since the last look
            namespaces = sorted({ref.namespace for ref in refs})
            secrets, config_maps = (_keys(kind, namespaces, kube) for kind in ("Secret", "ConfigMap"))
            if (secrets, config_maps) != (known.secrets, known.config_maps):
                known = replace(known, secrets=secrets, config_maps=config_maps)
        killed = {(one.pod, one.container) for one in findings if one.code == "OOM_KILLED"} - known.killed
        if killed:
            known = replace(known, killed=known.killed | killed)
        if known.measured_at is None:
            return replace(known, measured_at=now)  # what is up within seconds is not measured at all
        if now - known.measured_at >= MEASURE_SECONDS:
            return replace(known, memory=_measured(known.memory, snapshot, refs, kube, now), measured_at=now)
        return known

    return look


def _had(refs: Refs | None) -> tuple[str, ...] | None:
    if refs is None:
        return None
    try:
        return tuple(refs())
    except DeployError:
        return None


def _keys(kind: str, namespaces: Sequence[str], kube: KubePort) -> dict[str, tuple[str, ...]]:
    """The names of the objects with those of their keys; the values are let go of at once."""
    return {
        name_of(one): tuple(sorted(one.get("data") or {}))
        for namespace in namespaces
        for one in kube.list(kind, namespace)
    }


def _measured(
    before: Mapping[tuple[str, str], Measured],
    snapshot: Snapshot,
    refs: Sequence[WorkloadRef],
    kube: KubePort,
    now: float,
) -> dict[tuple[str, str], Measured]:
    """The most memory seen in use by each limited container of the workloads' pods."""
    from deployer.diagnosis import Measured

    pods = [pod for ref in refs for pod in current_pods(ref, snapshot) if _is_limited(pod)]
    places = {(namespace_of(pod), name_of(pod)) for pod in pods}
    most = dict(before)
    for node in sorted({str(name) for pod in pods if (name := dig(pod, "spec", "nodeName"))}):
        for (namespace, pod_name, container), used in kube.memory_in_use(node).items():
            known = most.get((pod_name, container))
            if (namespace, pod_name) in places and used and (known is None or used >= known.most):
                most[pod_name, container] = Measured(used, now)
    return most


def _is_limited(pod: Mapping[str, object]) -> bool:
    containers = rows(pod, "spec", "containers") + rows(pod, "spec", "initContainers")
    return any(dig(one, "resources", "limits", "memory") for one in containers)


_FEW_PODS = 100
_OF_FEW, _OF_MANY = (10.0, 60.0), (4.5, 10.0)
"""Requests a second, and those that may be made at once: of many pods five a second in any minute."""

_LOGS_AT_ONCE = 4

Key = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests that are left to be made at once, at most so many; more come with time, and debts are waited for."""

    left: float = _OF_FEW[1]
    most: float = _OF_FEW[1]
    per_second: float = _OF_FEW[0]

    def among(self, pods: int) -> Pace:
        """The pace where there are so many pods, the answers about which are long."""
        per_second, most = _OF_FEW if pods <= _FEW_PODS else _OF_MANY
        return Pace(min(self.left, most), most, per_second)

    def after(self, asked: int, seconds: float) -> Pace:
        """The pace when so many requests more were made in so many seconds."""
        return replace(self, left=min(self.most, self.left + seconds * self.per_second) - asked)

    def pause(self, least: float, *, soon: bool) -> float:
        """Seconds until the next look; `soon`: something was seen that the next look is to confirm."""
        return least if soon else max(least, -self.left / self.per_second)


class _Counted:
    """A port that counts what it is asked."""

    def __init__(self, kube: KubePort) -> None:
        self._kube = kube
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        return getattr(self._kube, name)


def counted(kube: KubePort) -> tuple[KubePort, _Counted]:
    """The port, and the count of the requests that are made through it."""
    counter = _Counted(kube)
    return cast(KubePort, counter), counter


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a container's log, of that run of the container, as it was in that round."""

    run: str
    text: str
    round: int


@dataclass(frozen=True, slots=True)
class Tails:
    """The log tails of a rollout as far as they were read; of a container that has ended, once."""

    read: Mapping[Key, Tail] = field(default_factory=dict)
    round: int = 0

    @property
    def texts(self) -> dict[Key, str]:
        """The tails by pod, container and whether they are of the previous run."""
        return {key: one.text for key, one in self.read.items()}


def read_tails(before: Tails, snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort, pace: Pace) -> Tails:
    """The tails that diagnosis of the snapshot needs: a few anew in each round, those read longest ago first."""
    from deployer import diagnosis

    wanted = {one.key: one for one in diagnosis.logs_wanted(snapshot, refs)}
    runs = _runs(snapshot)
    kept = {key: one for key, one in before.read.items() if key in wanted and one.run == runs.get(key)}
    due = [key for key in wanted if key not in kept or not _is_complete(kept[key])]
    due.sort(key=lambda key: kept[key].round if key in kept else 0)
    fresh = {
        key: Tail(runs.get(key, ""), log_end(wanted[key], kube), before.round + 1)
        for key in due[: _LOGS_AT_ONCE if pace.left > 0 else 1]
    }
    return Tails({**kept, **fresh}, before.round + 1)


def log_end(wanted: LogRequest, kube: KubePort) -> str:
    """The last lines of the log."""
    return "\n".join(kube.logs(wanted.namespace, wanted.pod, wanted.container, previous=wanted.previous))


def _runs(snapshot: Snapshot) -> dict[Key, str]:
    """Which run of its container each log is of, and whether that has ended."""
    runs: dict[Key, str] = {}
    for pod in snapshot.pods:
        for status in container_statuses(pod):
            name, mark = str(status.get("name")), f"{uid_of(pod)}/{status.get('restartCount') or 0}"
            over = "over" if dig(status, "state", "terminated") else ""
            runs[name_of(pod), name, False] = f"{mark}/{over}"
            runs[name_of(pod), name, True] = f"{mark}/over"
    return runs


def _is_complete(tail: Tail) -> bool:
    # A log of a container that has just ended may still be empty.
    return tail.run.endswith("/over") and bool(tail.text)
