"""What a rule is, what it finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from deployer.config.load import LoadedSpec
from deployer.core.errors import Problem
from deployer.core.ports import Object, ObjectRef
from deployer.core.yaml import Location
from deployer.env.leaks import Leak
from deployer.env.parser import EnvFile
from deployer.plan import Plan, ReleasePlan

Severity = Literal["error", "warning", "note"]

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_TEMPLATES = (*WORKLOADS, "ReplicaSet", "Job")


@dataclass(frozen=True, slots=True)
class Workload:
    """A rendered object that makes pods."""

    release: str
    kind: str
    namespace: str
    name: str
    body: Object
    template: Object

    @property
    def label(self) -> str:
        """`deployment/backend`."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def runs_on(self) -> bool:
        """Whether its pods are meant to run for ever."""
        return self.kind in WORKLOADS

    @property
    def pod(self) -> Object:
        """The pods' spec."""
        return dict(self.template.get("spec") or {})

    @property
    def labels(self) -> Mapping[str, str]:
        """The pods' labels."""
        return dict((self.template.get("metadata") or {}).get("labels") or {})

    def containers(self, *, init: bool = False) -> Iterator[Object]:
        """The pods' containers; with `init` those that run first as well."""
        pod = self.pod
        yield from pod.get("containers") or ()
        if init:
            yield from pod.get("initContainers") or ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """A release's rendered objects, hooks included, and its chart's own description."""

    release: ReleasePlan
    objects: tuple[Object, ...]
    chart: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[tuple[Location, str], ...] = ()
    """Where the spec maps a value that no template uses, and the value's path."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a running cluster has besides what is to be deployed."""

    name: str
    allocatable: Mapping[str, Fraction]
    architectures: frozenset[str]
    pods: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    ours: frozenset[ObjectRef] = frozenset()
    storage_classes: frozenset[str] | None = None
    keys: Mapping[ObjectRef, frozenset[str]] = field(default_factory=dict)
    """Keys of Secrets and ConfigMaps that exist and that nothing of the plan provides."""
    image_architectures: Mapping[str, str] = field(default_factory=dict)
    free_disk_mib: int | None = None
    """What is free where its nodes keep images, the least of them."""
    estimated: bool = False
    """Whether there is no such cluster yet, and this is what this machine would make."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was seen of the machine and the project's folder."""

    free_disk_mib: int | None = None
    env_problems: tuple[Problem, ...] = ()
    image_users: Mapping[str, str] = field(default_factory=dict)
    """Image of the spec → the user its Dockerfile ends with."""
    declared: Mapping[str, tuple[tuple[str, str, str], ...]] = field(default_factory=dict)
    """Image of the spec → the variables its Dockerfile declares: name, value while it is built, and where."""
    contexts: Mapping[str, tuple[int, tuple[tuple[str, int], ...]]] = field(default_factory=dict)
    """Image of the spec → the bytes of its build context, and its biggest entries with theirs."""
    env_leaks: Mapping[str, tuple[Leak, ...]] = field(default_factory=dict)
    """Image of the spec → the env files with secrets in its build context."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Everything that rules look at."""

    loaded: LoadedSpec
    plan: Plan
    releases: tuple[Rendered, ...]
    env: EnvFile = field(repr=False)
    cluster: Cluster | None = None
    machine: Machine = Machine()

    def objects(self, *kinds: str) -> Iterator[tuple[Rendered, Object]]:
        """Every rendered object of these kinds with its release."""
        for one in self.releases:
            for body in one.objects:
                if body.get("kind") in kinds:
                    yield one, body

    def workloads(self) -> Iterator[Workload]:
        """Every rendered object that makes pods."""
        for one in self.releases:
            for body in one.objects:
                found = workload_of(one.release, body)
                if found is not None:
                    yield found


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
class Breach:
    """One thing that breaks a rule; `severity` only where it differs from the rule's own."""

    title: str
    place: Place = Place()
    detail: str = ""
    hints: tuple[str, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A named check; `source` is the document that asks for it."""

    name: str
    source: str
    severity: Severity
    sentence: str
    check: Callable[[Subject], Iterable[Breach]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach as it is told: the problem's code is the rule's name."""

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
    return Workload(release.name, str(kind), namespace_of(release, body), name_of(body), body, template)


def without_nulls(value: Any) -> Any:
    """The value as the API server takes it: what is null is not there."""
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


def is_test(body: Object) -> bool:
    """Whether the object is made by `helm test` alone, which nothing here runs."""
    hooks = str(((body.get("metadata") or {}).get("annotations") or {}).get("helm.sh/hook") or "")
    return bool(hooks) and all(one.strip().startswith("test") for one in hooks.split(","))


def name_of(body: Object) -> str:
    """The object's name; empty where its template gave it none."""
    return str((body.get("metadata") or {}).get("name") or "")


def namespace_of(release: ReleasePlan, body: Object) -> str:
    """The object's namespace: its own or the release's."""
    return str((body.get("metadata") or {}).get("namespace") or release.namespace)


def label_of(body: Object) -> str:
    """`service/backend-service`."""
    return f"{str(body.get('kind')).lower()}/{name_of(body)}"


def place_of(release: str, body: Object, *path: str) -> Place:
    """The object, and the field's path in the component's values."""
    labels = (body.get("metadata") or {}).get("labels") or {}
    names = [labels.get("app.kubernetes.io/component"), labels.get("app"), labels.get("app.kubernetes.io/name"),
             name_of(body)]  # fmt: skip
    return Place(release, label_of(body), tuple(dict.fromkeys(str(one) for one in names if one)), path)


def lacks_addon(subject: Subject, name: str) -> bool:
    """Whether the cluster is Minikube's and not asked to have the addon."""
    cluster = subject.loaded.spec.cluster
    return cluster.provider == "minikube" and name not in cluster.addons


def unasked(subject: Subject, kind: str, addon: str, what: str) -> Iterator[Breach]:
    """The first object of the kind, which needs an addon that the spec does not ask for."""
    found = next(iter(subject.objects(kind)), None)
    if found is not None and lacks_addon(subject, addon):
        one, body = found
        place = Place(one.release.name, label_of(body), spec=("cluster", "addons"))
        yield Breach(f"{label_of(body)} needs {what}", place, hints=(f"cluster.addons: [{addon}]",))


def chart_folder(subject: Subject, release: str) -> Path:
    """The chart's own folder (the plan's is a staged copy)."""
    return subject.loaded.root / subject.loaded.spec.releases[release].chart
