"""A topology deployed on the real cluster, asked object by object; and the phases that its workloads go through."""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.topologies.application import Application, Object, everything
from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.ports import KubePort
from deployer.core.yaml import parse_manifest
from deployer.rollout.stage import take_snapshot
from deployer.status import Phase, PodPhase, WorkloadRef, pod_phase, workload_status
from tests.cluster import PROFILE, ensure_addons
from tests.e2e.browser import Browser
from tests.e2e.project import Project
from tests.topologies.rendering import ENV, render

_SALTED = re.compile(r"-[0-9a-f]{8}$")
_SECONDS = 0.1


@dataclass
class Live:
    """A topology of the copy with its profile `small`, and what its first `up` reported."""

    app: Application
    deployments: Sequence[str]
    before: frozenset[tuple[str, str, str]]
    first: Object = field(default_factory=dict)
    seen: Mapping[str, Sequence[Phase]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.app.loaded.spec.namespace

    @property
    def project(self) -> Project:
        return self.app.project

    @property
    def url(self) -> str:
        """The first address that `up` reported, without its path."""
        return "/".join(str(self.first["urls"][0]["url"]).split("/")[:3])

    def kubectl(self, *words: str) -> str:
        """What kubectl prints in the topology's namespace."""
        return self.project.kubectl("--namespace", self.namespace, *words)

    def apply(self, manifest: str) -> None:
        """The objects of the manifest are in the topology's namespace."""
        for body in parse_manifest(manifest):
            body["metadata"]["namespace"] = self.namespace
            open_kube().apply(body)

    def get(self, kind: str, name: str) -> Object:
        """A live object."""
        found: Object = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def pods(self, app: str) -> list[Object]:
        """The component's pods that are not going."""
        found = json.loads(self.kubectl("get", "pods", "--selector", f"app={app}", "-o", "json"))["items"]
        return [one for one in found if not one["metadata"].get("deletionTimestamp")]

    def tags(self, data: Object) -> dict[str, str]:
        """Each image's tag, as an `up` reported them."""
        return {one["name"]: str(one["ref"]).rpartition(":")[2] for one in data["images"]}


def prepare(project: Project, name: str, deployments: Sequence[str]) -> Live:
    """The topology is not there, and what else is in the cluster is known."""
    app = Application(project, project.root / "topologies" / f"{name}.yaml", "small")
    app.data("down", "--volumes", "--yes")
    ensure_addons(app.loaded.spec.cluster.addons)
    return Live(app, deployments, everything(project))


def deploy(live: Live) -> None:
    """It was deployed from nothing, and every phase of its Deployments on the way was seen."""
    with Watch(live.namespace, live.deployments) as watch:
        _, live.first = live.app.data("up")
    live.seen = watch.seen


def first_task(url: str) -> Browser:
    """Somebody registered there and has a task."""
    ann = Browser(url)
    ann.register("ann@example.com", "correct horse battery")
    ann.add("water the plants")
    assert ann.tasks() == {"water the plants": False}
    return ann


def differences(live: Live, helm: str, cache: Path) -> list[str]:
    """Where a live object lacks something of what the unit tests compare with the document."""
    node = live.project.minikube("ip").strip()
    topology = render(live.app.spec.stem, helm, cache, "small", ENV, node=node)
    found: list[str] = []
    for (kind, name), body in topology.objects.items():
        found += _lacking(_comparable(body), _comparable(live.get(kind, name)), f"{kind}/{name}")
    return found


class Watch:
    """While inside, the phase of each Deployment is looked at; `seen` has each one's phases in their order."""

    def __init__(self, namespace: str, names: Sequence[str]) -> None:
        self.seen: dict[str, list[Phase]] = {name: [] for name in names}
        self._refs = [WorkloadRef(namespace, "Deployment", name) for name in names]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(10)

    def phase(self, name: str) -> Phase | None:
        """The last phase that was seen."""
        return self.seen[name][-1] if self.seen[name] else None

    def _look(self) -> None:
        kube, here = open_kube(), composition.this_machine()
        while not self._over.wait(_SECONDS):
            snapshot = take_snapshot(self._refs, kube, events=False)
            for ref in self._refs:
                known = self.seen[ref.name]
                status = workload_status(ref, snapshot, here.clock.now(), was_available=Phase.AVAILABLE in known)
                if status.reason != "NotFound" and status.phase is not self.phase(ref.name):
                    known.append(status.phase)


@contextmanager
def pod_phases(namespace: str, names: Sequence[str]) -> Iterator[dict[str, list[PodPhase]]]:
    """While inside, the phase of each pod is looked at: each one's phases in their order."""
    seen: dict[str, list[PodPhase]] = {name: [] for name in names}
    over = threading.Event()

    def look() -> None:
        kube = open_kube()
        while not over.wait(_SECONDS):
            for pod in kube.list("Pod", namespace):
                known, phase = seen.get(pod["metadata"]["name"]), pod_phase(pod)
                if known is not None and known[-1:] != [phase]:
                    known.append(phase)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(10)


def eventually(holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Returns when it holds; fails with `what` when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if holds():
                return
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def open_kube() -> KubePort:
    """The client of the API server of the tests' cluster."""
    return composition.open_kube(composition.this_machine(), Cluster(name=PROFILE))


def _comparable(body: Object) -> Object:
    """The object without what differs from plan to plan: checksums, salted names, tags."""
    made = copy.deepcopy(body)
    made["metadata"].get("labels", {}).pop("app.kubernetes.io/version", None)
    template = (made.get("spec") or {}).get("template") or {}
    annotations = (template.get("metadata") or {}).get("annotations") or {}
    for name in [one for one in annotations if one.startswith("checksum/")]:
        del annotations[name]
    for container in (template.get("spec") or {}).get("containers") or ():
        container["image"] = container["image"].rpartition(":")[0]
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                reference["name"] = _SALTED.sub("", reference["name"])
    return made


def _lacking(wanted: Any, found: Any, at: str) -> list[str]:
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{at}: {found!r} is no map"]
        return [one for key, value in wanted.items() if value not in ({}, None)
                for one in _lacking(value, found.get(key), f"{at}.{key}")]  # fmt: skip
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return [f"{at}: {found!r} instead of {wanted!r}"]
        return [one for index, value in enumerate(wanted) for one in _lacking(value, found[index], f"{at}[{index}]")]
    if not wanted and found is None:  # the API leaves out what is empty or zero
        return []
    return [] if wanted == found else [f"{at}: {found!r} instead of {wanted!r}"]
