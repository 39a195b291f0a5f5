"""What the stages need from the outside, as Protocols and plain values; clients implement them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

from deployer.core.events import Event
from deployer.status import ClusterPhase

Object = dict[str, Any]
"""A Kubernetes object as the API server's JSON has it."""

OWNER = "todo-deploy"
"""Field manager and `managed-by` of what we create."""

MANAGED_BY = "app.kubernetes.io/managed-by"

LABEL_PREFIX = "todo-deploy.dev"
"""Prefix of our own labels and annotations."""

RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"
"""Annotations that Helm gives to the objects of a release."""

APPLICATION_LABEL = f"{LABEL_PREFIX}/application"
"""Label of what was made for an application: Secrets and images."""

SECRET_LABEL = f"{LABEL_PREFIX}/secret"
"""Label of a Secret that we made: its name in the spec."""

MADE_LABEL = f"{LABEL_PREFIX}/made-by"
"""Label of a namespace that we made and that is a release's object since."""

INPUTS_LABEL = f"{LABEL_PREFIX}/inputs"
"""Label of a Helm revision: digest of the chart and the values it was made from."""

VERDICT_LABEL = f"{LABEL_PREFIX}/verdict"
"""Label of a Helm revision: `verified` once its rollout was stable, `failed` with a failed verdict."""


def made_for(application: str) -> str:
    """The selector of the objects that we made for the application."""
    return f"{APPLICATION_LABEL}={application},{MANAGED_BY}={OWNER}"


@dataclass(frozen=True, slots=True)
class DockerEndpoint:
    """A Docker daemon: its address, and the folder of its client certificates when it wants TLS."""

    host: str
    cert_path: Path | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node by its name in the cluster, which is that of its container in this machine's Docker.

    `docker` is its own Docker daemon where that can be reached, `runtime` what runs its pods, such as `containerd`.
    """

    name: str
    running: bool
    docker: DockerEndpoint | None = None
    runtime: str = "docker"


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What is known of the cluster without asking its API server."""

    phase: ClusterPhase
    node_ip: str | None = None
    docker: DockerEndpoint | None = None
    driver: str = ""
    kubernetes_version: str = ""
    cpus: int = 0
    memory_mib: int = 0
    detail: str = ""
    node_network: str | None = None
    """The network that node and host share, such as 192.168.49.0/24."""
    moved_from: str = ""
    """The address in the kubeconfig, where the cluster's API server is at another one by now."""
    nodes: tuple[NodeFacts, ...] = ()
    """The nodes, a Minikube profile's control plane first; empty where they are no containers of this machine."""
    shared_volumes: bool = False
    """Whether all nodes have the same folder for volumes."""

    @property
    def address(self) -> str:
        """Where the nodes' ports are reached from this machine."""
        return self.node_ip or "127.0.0.1"

    @property
    def daemons(self) -> dict[str, DockerEndpoint]:
        """The Docker daemons of the nodes by their names; that of the first node builds."""
        found = {node.name: node.docker for node in self.nodes if node.docker is not None}
        return found or ({"": self.docker} if self.docker is not None else {})


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What Minikube is asked to start."""

    profile: str
    driver: str
    cpus: int
    memory_mib: int
    disk: str
    kubernetes_version: str
    nodes: int = 1


class ClusterPort(Protocol):
    """A Minikube profile."""

    def facts(self) -> ClusterFacts: ...
    def start(self, request: StartRequest) -> Generator[Event, None, None]: ...
    def start_node(self, name: str) -> Generator[Event, None, None]: ...
    def add_node(self) -> Generator[Event, None, None]: ...
    def wake(self, node: str = "") -> None: ...
    def delete(self) -> Generator[Event, None, None]: ...
    def remove_folder(self, path: str) -> None: ...
    def write_context(self) -> None: ...
    def restore_context(self) -> bool: ...
    def enable_addon(self, name: str) -> Generator[Event, None, None]: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """Where the API server serves a kind of object."""

    api: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return self.api.removeprefix("api").removeprefix("s/").rpartition("/")[0]


KINDS: Mapping[str, Kind] = {
    "APIService": Kind("apis/apiregistration.k8s.io/v1", "apiservices", namespaced=False),
    "ClusterRole": Kind("apis/rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False),
    "ConfigMap": Kind("api/v1", "configmaps"),
    "ControllerRevision": Kind("apis/apps/v1", "controllerrevisions"),
    "CronJob": Kind("apis/batch/v1", "cronjobs"),
    "CustomResourceDefinition": Kind("apis/apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False),
    "DaemonSet": Kind("apis/apps/v1", "daemonsets"),
    "Deployment": Kind("apis/apps/v1", "deployments"),
    "Endpoints": Kind("api/v1", "endpoints"),
    "EndpointSlice": Kind("apis/discovery.k8s.io/v1", "endpointslices"),
    "Event": Kind("api/v1", "events"),
    "HorizontalPodAutoscaler": Kind("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "IPAddressPool": Kind("apis/metallb.io/v1beta1", "ipaddresspools"),
    "Ingress": Kind("apis/networking.k8s.io/v1", "ingresses"),
    "IngressClass": Kind("apis/networking.k8s.io/v1", "ingressclasses", namespaced=False),
    "Job": Kind("apis/batch/v1", "jobs"),
    "L2Advertisement": Kind("apis/metallb.io/v1beta1", "l2advertisements"),
    "LimitRange": Kind("api/v1", "limitranges"),
    "Lease": Kind("apis/coordination.k8s.io/v1", "leases"),
    "Namespace": Kind("api/v1", "namespaces", namespaced=False),
    "NetworkPolicy": Kind("apis/networking.k8s.io/v1", "networkpolicies"),
    "Node": Kind("api/v1", "nodes", namespaced=False),
    "PersistentVolume": Kind("api/v1", "persistentvolumes", namespaced=False),
    "PersistentVolumeClaim": Kind("api/v1", "persistentvolumeclaims"),
    "Pod": Kind("api/v1", "pods"),
    "PodDisruptionBudget": Kind("apis/policy/v1", "poddisruptionbudgets"),
    "PriorityClass": Kind("apis/scheduling.k8s.io/v1", "priorityclasses", namespaced=False),
    "ReplicaSet": Kind("apis/apps/v1", "replicasets"),
    "ReplicationController": Kind("api/v1", "replicationcontrollers"),
    "ResourceQuota": Kind("api/v1", "resourcequotas"),
    "Role": Kind("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "Secret": Kind("api/v1", "secrets"),
    "SelfSubjectAccessReview": Kind("apis/authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False),
    "Service": Kind("api/v1", "services"),
    "ServiceAccount": Kind("api/v1", "serviceaccounts"),
    "StatefulSet": Kind("apis/apps/v1", "statefulsets"),
    "StorageClass": Kind("apis/storage.k8s.io/v1", "storageclasses", namespaced=False),
}
"""The kinds that are asked for by their name alone; any other is named `Kind.group` (see `kind_of`) and discovered."""


def kind_of(body: Object) -> str:
    """The object's kind; with its group where `KINDS` has another, as kubectl takes it: `Certificate.example.com`.

    A body without apiVersion is one of `KINDS`.
    """
    kind, version = str(body.get("kind") or ""), str(body.get("apiVersion") or "")
    known, group = KINDS.get(kind), version.rpartition("/")[0] if kind else ""
    return kind if not group or (known is not None and known.group == group) else f"{kind}.{group}"


@dataclass(frozen=True, slots=True)
class DryRun:
    """The API server's answer to a change that it was asked to judge and not to make.

    `causes` are the fields that it refuses, each with why; `warnings` what it would only remark on.
    """

    status: int
    message: str = ""
    causes: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the server would make the change."""
        return self.status < 400

    @property
    def is_conflict(self) -> bool:
        """Whether fields that others have set keep it from a server-side apply; `causes` are those fields."""
        return self.status == 409 and any(said.startswith("conflict with ") for _, said in self.causes)


MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
"""Server-side apply."""


@dataclass(frozen=True, slots=True)
class PodAnswer:
    """The head of an HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]


LocalPorts = Mapping[tuple[str, str, str], int]
"""Namespace, Service ("" for the ingress) and port as the spec names it → the port of this machine that leads there."""


class PodConnection(Protocol):
    """A TCP connection to a port of a pod; `receive` returns b"" at its end, and all raise OSError where it fails."""

    def send(self, data: bytes) -> None: ...
    def receive(self) -> bytes: ...
    def interrupt(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command in a container ended, and what it wrote to both outputs."""

    code: int
    output: str = ""


class KubePort(Protocol):
    """The API server, in plain objects; every call but `contents` names the kind, which is in `KINDS` or discovered."""

    def ready(self) -> bool: ...
    def version(self) -> str: ...
    def kinds(self) -> Mapping[tuple[str, str], Kind]: ...
    def dry_run(self, kind: Kind, body: Object, patch: str = "", *, force: bool = False) -> DryRun: ...
    def get(self, kind: str, namespace: str, name: str) -> Object | None: ...
    def list(
        self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]: ...
    def serves(self, kind: str) -> bool: ...
    def contents(self, namespace: str = "") -> Sequence[Object]: ...
    def awaited(self, kind: str, namespace: str, name: str, come: Callable[[Object], bool], seconds: float) -> bool: ...
    def create(self, body: Object) -> Object: ...
    def apply(self, body: Object) -> Object: ...
    def replace(self, body: Object) -> Object: ...
    def patch(self, kind: str, namespace: str, name: str, body: Object) -> Object | None: ...
    def delete(self, kind: str, namespace: str, name: str, *, orphan: bool = False) -> bool: ...
    def logs(
        self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 40
    ) -> Sequence[str]: ...
    def follow(
        self, namespace: str, pod: str, container: str, *, tail: int, previous: bool, follow: bool
    ) -> Generator[str, None, None]: ...
    def connect_pod(self, namespace: str, pod: str, port: int, *, timeout: float | None = None) -> PodConnection: ...
    def ask_pod(
        self, namespace: str, pod: str, port: int, method: str, path: str, headers: Mapping[str, str]
    ) -> PodAnswer: ...
    def execute(
        self, namespace: str, pod: str, container: str, command: Sequence[str], data: bytes = b""
    ) -> Executed: ...
    def free_disk(self, node: str) -> int | None: ...
    def memory_in_use(self, node: str) -> Mapping[tuple[str, str, str], int]: ...


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image in a daemon; size in bytes."""

    ref: str
    id: str
    size: int
    user: str
    architecture: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    layers: int = 0
    digest: str = ""
    """That of the manifest in a registry; empty for an image that was not looked up in one."""


@dataclass(frozen=True, slots=True)
class Buildx:
    """A `docker` that has buildx, and the environment in which it has."""

    docker: Path
    env: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One build: the context as a tar that holds the Dockerfile under `dockerfile`."""

    ref: str
    context: IO[bytes]
    dockerfile: str
    args: Mapping[str, str]
    labels: Mapping[str, str]
    target: str | None = None
    no_cache: bool = False
    platforms: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What `RUN --mount=type=secret,id=…` finds, by id; in no layer."""
    content: bytes = b""
    """For BuildKit: the Dockerfile, which then need not be in the context."""
    ignore: bytes = b""
    """For BuildKit: the patterns by which the context was chosen, which also hide the Dockerfile from `COPY`."""


class BuildFailed(Exception):
    """The daemon refused or a step of the Dockerfile failed; `step` and the last lines of output say where.

    `line` is the Dockerfile's (from 1), 0 where the builder does not say it.
    """

    def __init__(self, message: str, step: str, tail: Sequence[str], line: int = 0) -> None:
        self.step = step
        self.line = line
        self.tail = tuple(tail)
        super().__init__(message)


class ImagePort(Protocol):
    """A Docker daemon."""

    def image(self, ref: str) -> ImageFacts | None: ...
    def images(self, label: str) -> Sequence[ImageFacts]: ...
    def refs(self) -> Sequence[str]: ...
    @property
    def has_buildkit(self) -> bool: ...
    def build(self, request: BuildRequest) -> Generator[str, None, None]: ...
    def copy_to(self, other: DockerEndpoint, refs: Sequence[str]) -> None: ...
    def save(self, refs: Sequence[str]) -> Iterator[bytes]: ...
    def load(self, archive: Iterable[bytes]) -> None: ...
    def remove(self, ref: str) -> None: ...
    def published(self, ref: str) -> ImageFacts | None: ...
    def pull(self, name: str) -> ImageFacts | None: ...
    def push(self, ref: str, name: str) -> Generator[tuple[int, int], None, None]: ...


class DeliveryPort(Protocol):
    """How an image comes from the daemon that builds it to where the cluster's nodes find it."""

    @property
    def builder(self) -> ImagePort: ...
    @property
    def doing(self) -> str: ...
    def found(self, ref: str) -> ImageFacts | None: ...
    def send(self, ref: str) -> Generator[tuple[int, int], None, None]: ...


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a release; `status` is Helm's own word, `created` the API server's time of its record."""

    release: str
    namespace: str
    revision: int
    status: str
    inputs: str = ""
    updated: str = ""
    verdict: str = ""
    created: str = ""


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """One `helm upgrade --install`; the chart folder is staged, values are final, labels mark the revision."""

    release: str
    namespace: str
    chart: Path
    values: Mapping[str, Any]
    labels: Mapping[str, str]
    description: str
    timeout: float
    server_side: bool | None = None
    """Whether Helm 4 applies the objects on the server; None: as it did before, and on the server at first."""
    force_conflicts: bool = False
    """Fields that others have set are taken over; Helm takes that only for what it applies on the server."""
    accepted: bool = False
    """Whether the API server took every object in a dry run already: Helm need not ask it for its schemas."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Against what a chart is rendered: `apis` are what the cluster serves (`apps/v1`, `apps/v1/Deployment`).

    `asks`: `lookup` asks the cluster; `upgrade`: the release is there; `crds`: with what is in the chart's `crds`.
    """

    apis: tuple[str, ...] = ()
    asks: bool = False
    upgrade: bool = False
    crds: bool = False


WITHOUT_CLUSTER = Rendering()


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """Names one object by kind (see `kind_of`), namespace and name.

    `passing`: a Job that removes itself some time after it has ended (`ttlSecondsAfterFinished`).
    """

    kind: str
    namespace: str
    name: str
    passing: bool = field(default=False, compare=False)


def ref_of(body: Object, namespace: str = "") -> ObjectRef:
    """Names the object; one that says no namespace of itself is in that one."""
    metadata = body.get("metadata") or {}
    spec = body.get("spec")
    passing = body.get("kind") == "Job" and isinstance(spec, dict) and spec.get("ttlSecondsAfterFinished") is not None
    place, name = str(metadata.get("namespace") or namespace), str(metadata.get("name") or "")
    return ObjectRef(kind_of(body), place, name, passing)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What `helm upgrade` recorded: the new revision and the objects it applied."""

    revision: Revision
    objects: tuple[ObjectRef, ...]


UNINSTALL_SECONDS = 120.0
"""So long Helm waits for each hook, and for the objects, of a release that goes, where it has few pods."""


class HelmPort(Protocol):
    """Helm; it never waits for workloads: the rollout stage watches and judges them."""

    @property
    def server_side(self) -> bool: ...
    def template(self, request: UpgradeRequest, against: Rendering = WITHOUT_CLUSTER) -> Sequence[Object]: ...
    def upgrade(self, request: UpgradeRequest) -> Upgraded: ...
    def rollback(
        self, release: str, namespace: str, revision: int, timeout: float, *, force_conflicts: bool = False
    ) -> None: ...
    def uninstall(self, release: str, namespace: str, timeout: float = UNINSTALL_SECONDS) -> bool: ...
