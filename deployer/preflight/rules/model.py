"""What a rule is, what it finds, and what it looks at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from deployer.config.load import LoadedSpec
from deployer.core.errors import Problem
from deployer.core.image_ref import parse_ref
from deployer.core.ports import Object, ObjectRef
from deployer.core.yaml import Location
from deployer.plan import Plan, ReleasePlan
from deployer.sources.dotenv import EnvFile
from deployer.sources.env_files import Leak
from deployer.status.objects import annotations_of, dig, labels_of, name_of

Tier = Literal["certain", "policy", "advice"]
"""Refused by Kubernetes or Helm, or can never work; what `rules.policy: strict` forbids; what may be better."""
Severity = Literal["error", "warning", "note"]
"""Forbids an `up`; advice; a fact."""

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_COMPONENT_LABELS = ("app.kubernetes.io/component", "app", "app.kubernetes.io/name")
_TEMPLATES = (*WORKLOADS, "ReplicaSet", "Job")
_AT_UP = ("pre-install", "post-install", "pre-upgrade", "post-upgrade")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A rendered object of a release."""

    release: ReleasePlan
    body: Object

    @property
    def kind(self) -> str:
        """Such as `Deployment`."""
        return str(self.body.get("kind"))

    @property
    def name(self) -> str:
        """The object's name; empty where its template gave it none."""
        return name_of(self.body)

    @property
    def namespace(self) -> str:
        """The object's namespace: its own or the release's."""
        return str(self._metadata.get("namespace") or self.release.namespace)

    @property
    def label(self) -> str:
        """`deployment/backend`."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def ref(self) -> ObjectRef:
        """The object in the cluster."""
        return ObjectRef(self.kind, self.namespace, self.name)

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's own labels."""
        return dict(labels_of(self.body))

    @property
    def spec(self) -> Object:
        """The object's spec; empty where it has none."""
        return dict(self.body.get("spec") or {})

    @property
    def data(self) -> Object:
        """The data of a ConfigMap or Secret."""
        return dict(self.body.get("data") or {})

    def place(self, *path: str) -> Place:
        """The object, and the field's path in the component's values."""
        names = [self.labels.get(label) for label in _COMPONENT_LABELS]
        known = tuple(dict.fromkeys(str(one) for one in (*names, self.name) if one))
        return Place(self.release.name, self.label, known, path)

    @property
    def _metadata(self) -> Object:
        return dict(self.body.get("metadata") or {})


@dataclass(frozen=True, slots=True)
class Workload(Manifest):
    """A rendered object that makes pods."""

    template: Object

    @property
    def runs_on(self) -> bool:
        """Whether its pods are meant to run for ever."""
        return self.kind in WORKLOADS

    @property
    def starts(self) -> bool:
        """Whether an `up` starts pods of it on any node: it is not scaled to zero, held back, or for another time."""
        spec = self.spec
        if self.kind == "CronJob" or spec.get("suspend") or spec.get("paused") or spec.get("parallelism") == 0:
            return False
        if is_for_later(self.body):
            return False
        if self.kind == "DaemonSet":
            asked = (self.pod.get("nodeSelector") or {}).items() - {("kubernetes.io/os", "linux")}
            return not asked and not self.pod.get("affinity")
        return spec.get("replicas") != 0

    @property
    def pod(self) -> Object:
        """The pods' spec."""
        return dict(self.template.get("spec") or {})

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The pods' labels."""
        return dict(labels_of(self.template))

    @property
    def volumes(self) -> list[Object]:
        """The pods' volumes."""
        return list(self.pod.get("volumes") or ())

    @property
    def sources(self) -> Iterator[Object]:
        """Where the volumes that a container mounts come from, each source of a projected one by itself.

        The kubelet passes over the others (kubernetes pkg/kubelet/volumemanager/populator).
        """
        mounts = {one.get("name") for box in self.containers(init=True) for one in box.get("volumeMounts") or ()}
        for volume in self.volumes:
            if volume.get("name") in mounts:
                yield volume
                yield from (volume.get("projected") or {}).get("sources") or ()

    @property
    def ports(self) -> list[Object]:
        """The ports that the pods' containers declare."""
        return [port for container in self.containers(init=True) for port in container.get("ports") or ()]

    def containers(self, *, init: bool = False) -> Iterator[Object]:
        """The pods' containers; with `init` those that run first as well."""
        yield from self.pod.get("containers") or ()
        if init:
            yield from self.pod.get("initContainers") or ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a workload's pods."""

    workload: Workload
    body: Object

    @property
    def image(self) -> str:
        """The image as the pod refers to it; empty where it does not."""
        return str(self.body.get("image") or "")

    @property
    def security(self) -> Object:
        """The security context that holds for it: its own settings over its pod's."""
        return {**(self.workload.pod.get("securityContext") or {}), **(self.body.get("securityContext") or {})}

    @property
    def is_pulled_always(self) -> bool:
        """Whether the kubelet asks the registry at each start, also where the node has the image."""
        ref, policy = parse_ref(self.image), self.body.get("imagePullPolicy")
        return policy == "Always" or (not policy and not ref.digest and ref.tag in ("", "latest"))

    def resources(self, field: str) -> Object:
        """Its `requests` or `limits`."""
        return dict((self.body.get("resources") or {}).get(field) or {})

    def violation(self, text: str, *path: str, hint: str = "", severity: Severity | None = None) -> Violation:
        """Something wrong with the container, decided at the path in the component's values."""
        name = str(self.body.get("name") or "")
        who = self.workload.label if name == self.workload.name else f"{self.workload.label}, container `{name}`"
        return Violation(f"{who}: {text}", self.workload.place(*path), "", (hint,) if hint else (), severity)


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """A mapped value of the spec that leads a workload to an image that is not the one that is built."""

    location: Location
    workload: str
    image: str
    built: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A release's rendered objects, hooks included, and its chart's own description."""

    release: ReleasePlan
    objects: tuple[Object, ...]
    chart: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[tuple[Location, str], ...] = ()
    """Where the spec maps a value that no template uses, and the value's path."""
    not_built: tuple[NotBuilt, ...] = ()
    without_effect: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Paths of values that the chart neither knows nor uses, each with the nearest that it knows."""
    brings: frozenset[tuple[str, str]] = frozenset()
    """apiVersion and kind of what the definitions in the chart's `crds` define, which Helm applies first."""
    withheld: frozenset[tuple[str, str]] = frozenset()
    """The same of a release that is there: Helm does not apply `crds` again."""
    size: int = 0
    """The bytes that Helm will store of it, where they may be too many."""
    renewed: tuple[tuple[ObjectRef, str], ...] = ()
    """Fields that the chart makes anew each time: random passwords, certificates, times."""
    random: tuple[str, ...] = ()
    """The templates that may make them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a running cluster has besides what is to be deployed."""

    name: str
    allocatable: Mapping[str, Fraction]
    """What its nodes have for pods; where a node is a container, no more than the container has."""
    architectures: frozenset[str]
    pods: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    ours: frozenset[ObjectRef] = frozenset()
    namespaces: frozenset[str] | None = frozenset()
    """None where that is not known."""
    storage_classes: frozenset[str] | None = None
    """Names of classes and of the classes of volumes; "" where a claim that names none gets a volume; None where that
    is not known."""
    ingress_classes: frozenset[str] | None = None
    """Names of IngressClasses; "" where one is the default; None where that is not known."""
    counted: Mapping[str, Fraction] = field(default_factory=dict)
    """What its kubelets count, which the scheduler goes by."""
    nodes: tuple[Mapping[str, Fraction], ...] = ()
    """What each node's kubelet counts, of those that take pods; empty where it is not known."""
    node_classes: frozenset[str] = frozenset()
    """Storage classes whose volumes are folders of one node and bound to none; "" where the default class is one."""
    kinds: frozenset[tuple[str, str]] | None = None
    """apiVersion and kind of everything that it serves."""
    unspaced: frozenset[tuple[str, str]] = frozenset()
    """The same of what belongs to no namespace, whatever namespace an object of it names."""
    keys: Mapping[ObjectRef, frozenset[str]] = field(default_factory=dict)
    """Keys of Secrets and ConfigMaps that exist and that nothing of the plan provides."""
    image_architectures: Mapping[str, str] = field(default_factory=dict)
    free_disk_mib: int | None = None
    """What is free where its nodes keep images, the least of them."""
    quotas: tuple[Object, ...] = ()
    """The ResourceQuotas of the plan's namespaces, of those that this user may list."""
    limit_ranges: tuple[Object, ...] = ()
    estimated: bool = False
    """Whether it does not run, and this is what this machine would make."""
    unseen: bool = False
    """Whether it exists and does not run: nobody knows what is in it."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was seen of the machine and the project's folder."""

    free_disk_mib: int | None = None
    problems: Mapping[str, tuple[Problem, ...]] = field(default_factory=dict)
    """What was found in files where they were read → by the name of the rule that reports it."""
    image_users: Mapping[str, str] = field(default_factory=dict)
    """Image of the spec → the user its Dockerfile ends with."""
    declared: Mapping[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)
    """Image of the spec → the variables its Dockerfile declares: name, value while it is built, and where."""
    contexts: Mapping[str, tuple[int, tuple[tuple[str, int], ...]]] = field(default_factory=dict)
    """Image of the spec → the bytes of its build context, and its biggest entries with theirs."""
    env_leaks: Mapping[str, tuple[Leak, ...]] = field(default_factory=dict)
    """Image of the spec → the env files with secrets in its build context."""
    undeliverable: Mapping[str, str] = field(default_factory=dict)
    """Image that the cluster does not have → its registry, which does not answer."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that rules look at."""

    loaded: LoadedSpec
    plan: Plan
    releases: tuple[Rendered, ...]
    env: EnvFile = field(repr=False)
    cluster: Cluster | None = None
    machine: Machine = Machine()
    unrendered: tuple[Problem, ...] = ()
    """Releases that ask the cluster for what is not there yet, and are no part of the plan here."""

    def objects(self, *kinds: str) -> Iterator[Manifest]:
        """Every rendered object of these kinds of Kubernetes; of any kind, also of others, where none is given."""
        for one in self.releases:
            for body in one.objects:
                if not kinds or (body.get("kind") in kinds and not is_custom(body)):
                    yield Manifest(one.release, body)

    def workloads(self) -> Iterator[Workload]:
        """Every rendered object that makes pods."""
        for one in self.objects():
            found = workload_of(one.release, one.body)
            if found is not None:
                yield found

    def containers(self, *, init: bool = False, steady: bool = False) -> Iterator[Container]:
        """Every container; with `init` those that run first as well, with `steady` only those that run for ever."""
        for workload in self.workloads():
            if workload.runs_on or not steady:
                yield from (Container(workload, body) for body in workload.containers(init=init))

    @property
    def sees_cluster(self) -> bool:
        """Whether it is known what the cluster has: it runs, or nothing is in it yet."""
        return self.cluster is not None and not self.cluster.unseen


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule found something: an object and the path of a field, in the terms of a chart's values."""

    release: str = ""
    object: str = ""
    names: tuple[str, ...] = ()
    """The component's possible names among the chart's values."""
    path: tuple[str, ...] = ()
    spec: Location = ()
    """Where in the spec it is decided, if it is there."""
    where: str = ""
    """`file:line`, where it is known already."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that breaks a rule; `severity` only where it differs from that of the rule's tier."""

    title: str
    place: Place = Place()
    detail: str = ""
    hints: tuple[str, ...] = ()
    severity: Severity | None = None


Check = Callable[[Subject], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check; `source` is the document that asks for it, `sentence` what holds where nothing breaks it.

    `hint` says what to do about a violation that has no hint of its own.
    """

    name: str
    source: str
    tier: Tier
    sentence: str
    hint: str
    check: Check


def rule(name: str, tier: Tier, source: str, hint: str = "") -> Callable[[Check], Rule]:
    """The decorated check as a rule; the first line of its docstring is the rule's sentence."""

    def made(check: Check) -> Rule:
        return Rule(name, source, tier, (inspect.getdoc(check) or "").partition("\n")[0], hint, check)

    return made


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation as it is reported: the problem's code is the rule's name."""

    rule: str
    severity: Severity
    problem: Problem
    object: str = ""


def workload_of(release: ReleasePlan, body: Object) -> Workload | None:
    """The object as a workload; None for what makes no pods. A CronJob makes Jobs, a Pod is its own template."""
    kind, spec = body.get("kind"), body.get("spec") or {}
    if kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = body if kind == "Pod" else spec.get("template") if kind in (*_TEMPLATES, "CronJob") else None
    if not isinstance(template, dict):
        return None
    return Workload(release, body, template)


def as_taken(body: Object) -> Object:
    """The object as the API server takes it: what is null is not there; under a key of data it is an empty text."""
    fields = ("data", "stringData", "binaryData") if body.get("kind") in ("ConfigMap", "Secret") else ()
    texts = {name: {key: "" if one is None else one for key, one in body[name].items()}
             for name in fields if isinstance(body.get(name), dict)}  # fmt: skip
    return dict(without_nulls({**body, **texts}))


def without_nulls(value: Any) -> Any:
    """The value without what is null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None]
    return value


def texts_of(value: Any) -> Iterator[str]:
    """Every text in the value, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, str):
        yield value


def hooks_of(body: Object) -> list[str]:
    """The hooks of Helm at which the object is made; none for an object of the release itself."""
    hooks = str(annotations_of(body).get("helm.sh/hook") or "")
    return [one.strip() for one in hooks.split(",") if one.strip()]


# API groups that every API server has (Kubernetes API reference); those of addons such as gateway.networking.k8s.io
# are not among them.
_BUILT_IN = frozenset({
    "", "apps", "autoscaling", "batch", "policy", "extensions", "admissionregistration.k8s.io", "apiextensions.k8s.io",
    "apiregistration.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
    "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io",
    "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io",
})  # fmt: skip


def is_custom(body: Object) -> bool:
    """Whether a controller of an API that is no part of Kubernetes acts on the object, and may make others of it."""
    return str(body.get("apiVersion") or "").rpartition("/")[0] not in _BUILT_IN


def definitions(objects: Iterable[Object]) -> frozenset[tuple[str, str]]:
    """apiVersion and kind of what the CustomResourceDefinitions among the objects define."""
    found = (one.get("spec") for one in objects if one.get("kind") == "CustomResourceDefinition")
    return frozenset(
        (f"{spec.get('group')}/{name}", str(dig(spec, "names", "kind")))
        for spec in found
        if isinstance(spec, dict) and isinstance(spec.get("versions"), list)
        for name in (version.get("name") for version in spec["versions"] if isinstance(version, dict))
    )


def is_test(body: Object) -> bool:
    """Whether the object is made by `helm test` alone, which nothing here runs."""
    hooks = hooks_of(body)
    return bool(hooks) and all(one.startswith("test") for one in hooks)


def is_for_later(body: Object) -> bool:
    """Whether it is a hook of another time than an install or upgrade: Helm does not look at it before."""
    hooks = hooks_of(body)
    return bool(hooks) and not any(one in _AT_UP for one in hooks)


def lacks_addon(subject: Subject, name: str) -> bool:
    """Whether the cluster is Minikube's and not asked to have the addon."""
    cluster = subject.loaded.spec.cluster
    return cluster.provider == "minikube" and name not in cluster.addons


def without_addon(subject: Subject, kind: str, addon: str, what: str) -> Iterator[Violation]:
    """The first object of the kind, which needs an addon that the spec does not ask for."""
    one = next(subject.objects(kind), None)
    if one is not None and lacks_addon(subject, addon):
        place = Place(one.release.name, one.label, spec=("cluster", "addons"))
        hint = f"add it to cluster.addons in the spec: [{addon}]"
        yield Violation(f"{one.label} needs {what}, and cluster.addons has no `{addon}`", place, hints=(hint,))
