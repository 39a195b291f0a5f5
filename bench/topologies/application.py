"""One application of any kind as these tests see it: its spec, what the tool says of it, and what the cluster has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_message, stop_after_attempt, wait_fixed

from deployer.cluster.addons.images import ADDON_LABEL
from deployer.config.load import LoadedSpec, load_spec
from deployer.sources.build_context import context_files
from tests.cluster import CompletedCli
from tests.e2e.browser import request
from tests.e2e.project import Project, one_document

Object = dict[str, Any]
_SOURCES = (".py", ".js", ".mjs", ".ts", ".tsx", ".css", ".html", ".sh", ".txt")
_COLUMNS = "custom-columns=K:.kind,S:.metadata.namespace,N:.metadata.name"
# The API server registers the groups of their CRDs by itself.
_NOT_ADDONS = f"!{ADDON_LABEL},!kube-aggregator.kubernetes.io/automanaged"
# What the cluster writes about itself, at any time.
_OWN_WORK = ("events", "events.events.k8s.io", "componentstatuses", "nodes.metrics.k8s.io", "pods.metrics.k8s.io")
_OWN_PLACES = ("kube-node-lease", "kube-system")
_OTHER_TESTS = re.compile(r"((contract|certain|helms|probe)-[0-9a-f]{8}|parity\d+-\d+)")
"""Names that tests/contract and tests/parity give to their namespaces, and with them to what has none. They run beside
the others on the same cluster."""


class Broken(AssertionError):
    """Something is not as it must be; the message says what."""


@dataclass(frozen=True, slots=True)
class Application:
    """A spec in a copy of the repository, and the profile of it that is deployed."""

    project: Project
    spec: Path
    profile: str | None = None
    hold: str | None = None
    """How long it must stay Available; default: what the spec says."""

    @property
    def name(self) -> str:
        """What the table calls it: its spec, or the folder of a spec that has the usual name; and the profile."""
        plain = self.spec.stem if self.spec.stem != "todo-deploy" else self.spec.parent.name
        return plain if self.profile is None else f"{plain} ({self.profile})"

    @property
    def loaded(self) -> LoadedSpec:
        """The spec as the tool reads it."""
        return load_spec(self.spec, self.profile)

    def run(self, *words: str, timeout: float = 900) -> CompletedCli:
        """`todo-deploy` ran to its end for this spec."""
        chosen = ("--profile", self.profile) if self.profile else ()
        return self.project.run(*words, "-f", self.spec, *chosen, cwd=self.spec.parent, timeout=timeout)

    def run_json(self, *words: str) -> tuple[CompletedCli, Object]:
        """How it ended, and its JSON document."""
        done = self.run(*words, "-o", "json", "--progress", "plain")
        try:
            return done, one_document(done.stdout)
        except (AssertionError, ValueError):
            ended = f"exit code {done.returncode}: {done.stderr[-2000:]}"
            raise Broken(f"{' '.join(words)}: no document, {ended}") from None

    def data(self, *words: str) -> tuple[float, Object]:
        """The seconds it took and its data; Broken where it did not end well."""
        held = ("--hold", self.hold) if self.hold is not None and words[0] in ("up", "rollback") else ()
        done, document = self.run_json(*words, *held)
        if done.returncode != 0:
            errors = "; ".join(f"{one['code']}: {one['title']} {one['detail']}" for one in document["errors"])
            raise Broken(f"{' '.join(words)} ended with {done.returncode}: {errors or done.stderr[-2000:]}")
        return done.seconds, document["data"]

    def workloads(self, data: Mapping[str, Any]) -> Iterator[Object]:
        """The live objects of the workloads that an `up` reported."""
        for one in data["workloads"]:
            words = ("get", one["kind"], one["name"], "--namespace", one["namespace"], "-o", "json")
            yield json.loads(self.project.kubectl(*words))

    def images(self, data: Mapping[str, Any]) -> set[str]:
        """The images that the workloads' pods are made from."""
        return {
            container["image"]
            for workload in self.workloads(data)
            for container in workload["spec"]["template"]["spec"]["containers"]
        }

    def source(self, image: str) -> Path:
        """A text file of the image's build context, the same one every time; Broken where there is none."""
        loaded = self.loaded
        wanted = loaded.spec.images[image]
        folder = loaded.root / wanted.context
        dockerfile = loaded.root / wanted.dockerfile if wanted.dockerfile else None
        for file in context_files(folder, dockerfile):
            if file.kind == "file" and file.size and Path(file.path).suffix in _SOURCES:
                return folder / file.path
        raise Broken(f"no source file in the context of {image}")

    def check_urls(self, data: Mapping[str, Any]) -> int:
        """Every reported address answers with the reported status; their number."""
        for one in data["urls"]:
            host = self.loaded.spec.urls[one["name"]].ingress_host
            answer = request("GET", one["address"], headers={"Host": host} if host else None)
            followed = answer.status in (301, 302, 303, 307, 308)
            if answer.status != one["status"] and not followed:
                raise Broken(f"{one['name']} at {one['url']} answers {answer.status}, and {one['status']} was reported")
        return len(data["urls"])


@retry(retry=retry_if_exception_message(match=r"(?s).*(could not find the requested resource|have a resource type)"),
       stop=stop_after_attempt(5), wait=wait_fixed(1), reraise=True)  # fmt: skip
def _listed(project: Project) -> str:
    """What kubectl lists of every kind; again where one is gone by then, as those of tests that run beside."""
    listed = project.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = ",".join(sorted(set(listed) - set(_OWN_WORK)))
    return project.kubectl("get", kinds, "--all-namespaces", "--no-headers", "-o", _COLUMNS, "--selector", _NOT_ADDONS)


def everything(project: Project) -> frozenset[tuple[str, str, str]]:
    """Kind, namespace and name of all in the cluster, but for addons, its own records and tests that run beside."""
    rows = _listed(project).splitlines()
    theirs = project.kubectl("get", "namespaces", "--no-headers", "-o", "custom-columns=N:.metadata.name", "--selector",
                             ADDON_LABEL).split()  # fmt: skip
    found = (tuple(row.split(None, 2)) for row in rows)
    return frozenset(
        (kind, namespace, name)
        for kind, namespace, name in found
        if not (kind in ("Lease", "Pod", "ControllerRevision") and namespace in _OWN_PLACES)
        and namespace not in theirs
        and not _OTHER_TESTS.search(f"{namespace}/{name}")
    )


def volume_folders(project: Project) -> set[str]:
    """The folders in the node that Minikube's provisioner keeps volumes in."""
    script = "cd /tmp/hostpath-provisioner 2>/dev/null && find . -mindepth 2 -maxdepth 2 || true"
    return set(project.in_node("sh", "-c", script).split())
