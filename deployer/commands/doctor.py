"""What a run needs of machine, Docker, toolchain, cluster, spec, `.env` and charts, each with what mends it."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from deployer import __version__, composition, forwarding
from deployer.commands import addons, charts
from deployer.commands.connection import way_to
from deployer.composition import Machine
from deployer.config.load import LoadedSpec
from deployer.config.spec import Cluster, mebibytes
from deployer.core.errors import DeployError, Problem, disk_explained
from deployer.core.ports import ClusterFacts, KubePort
from deployer.core.redact import KNOWN
from deployer.images.delivery import Way, no_way
from deployer.images.registry import host_of
from deployer.kube.rights import lacking
from deployer.plan import in_registry
from deployer.preflight.gather import tracked
from deployer.sources import env_files
from deployer.sources import load as inputs
from deployer.stages.cluster import decide, differences, start_request
from deployer.state.runs import runs_dir
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain, docker_mending, locate_toolchain
from deployer.toolchain.pins import KUBERNETES, ended

State = Literal["pass", "warn", "fail", "skip"]

# What the cluster, its images and the toolchain take the first time, measured with the sample application.
_FIRST_RUN_GIB = 12
_REPORTED_RUNS = 3
_NEWER_HELM = "remove this helm from PATH, or replace it by a current one: helm.sh/docs/intro/install"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `hint` is the command that mends it."""

    name: str
    state: State
    detail: str = ""
    hint: str = ""


def examine(load: Callable[[], LoadedSpec], here: Machine) -> Iterator[Check]:
    """Every check, in the order in which a run would trip over them; none changes anything."""
    try:
        loaded = load()
    except DeployError as error:
        yield from _failed("spec", error)
        return
    yield Check("spec", "pass", f"{loaded.path.name}: application {loaded.spec.application}")
    folders = _folders(here)
    yield folders
    if folders.state == "fail":
        yield Check("others", "skip", "nothing can be found out without these folders")
        return
    yield from _machine(loaded, here)
    docker = _docker(here)
    yield docker
    try:
        toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
    except DeployError as error:  # a helm that was chosen and cannot be used
        yield from _failed("toolchain", error)
        return
    yield _toolchain(toolchain)
    yield from _past_fixes("Helm", "" if toolchain is None else toolchain.versions.get("helm", ""), _NEWER_HELM)
    yield from _env(loaded)
    yield from _ca_certificates(loaded)
    yield from _sources(loaded, here)
    if toolchain is None or docker.state == "fail":
        yield Check("cluster", "skip", "needs Docker and the toolchain")
        return
    yield from _cluster(loaded, toolchain, here)


def report(checks: Iterable[Check], document: Mapping[str, Any], here: Machine) -> bytes:
    """A ZIP archive for an issue: versions, checks, the merged spec and the newest runs, without secret values.

    The user's home folder is written as `~`; env files are not in it.
    """
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(name, KNOWN(text).replace(str(Path.home()), "~"))

        versions = {"todo-deploy": __version__, "python": platform.python_version(), "system": platform.platform()}
        add("versions.json", json.dumps(versions, indent=1))
        add("checks.json", json.dumps([asdict(one) for one in checks], indent=1))
        add("spec.json", json.dumps(document, indent=1, default=str))
        folders = sorted(runs_dir(here.state_dir).glob("*"))[-_REPORTED_RUNS:]
        for file in (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()):
            add(str(file.relative_to(here.state_dir)), file.read_text(encoding="utf-8", errors="replace"))
    return packed.getvalue()


def _folders(here: Machine) -> Check:
    """Whether this user can write where the tool keeps what it makes."""
    for folder in (here.cache_dir, here.state_dir):
        try:
            place = next(path for path in (folder, *folder.parents) if path.exists())
        except PermissionError as error:
            place = Path(error.filename or folder)
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            return Check("folders", "fail", f"this user cannot write in {place}", f'sudo chown -R "$USER" {place}')
    return Check("folders", "pass", f"{here.cache_dir}, {here.state_dir}")


def _machine(loaded: LoadedSpec, here: Machine) -> Iterator[Check]:
    host = composition.host()
    wanted = loaded.spec.cluster
    _, warnings = start_request(wanted, host) if wanted.provider == "minikube" else (None, ())
    shown = f"{host.cpus} CPUs, {host.memory_mib / 1024:.0f} GiB memory"
    yield Check("machine", "warn" if warnings else "pass", "; ".join([shown, *(one.title for one in warnings)]))
    place = next(path for path in (here.cache_dir, *here.cache_dir.parents) if path.exists())
    free = shutil.disk_usage(place).free / 2**30
    least = mebibytes(loaded.spec.rules.min_free_disk) / 1024
    state: State = "fail" if free < least else "warn" if free < _FIRST_RUN_GIB else "pass"
    yield Check("disk", state, f"{free:.0f} GiB free at {place}", "" if state == "pass" else "docker system prune")


def _docker(here: Machine) -> Check:
    try:
        composition.open_images(here.host_docker)
    except DeployError as error:
        problem = error.problems[0]
        kept_out = problem.code == "DOCKER_PERMISSION"
        return Check("docker", "fail", problem.title, problem.hints[0] if kept_out else docker_mending(here.env))
    return Check("docker", "pass", here.host_docker.host)


def _toolchain(toolchain: Toolchain | None) -> Check:
    if toolchain is None:
        return Check("toolchain", "warn", "not made yet (about 12 minutes from source)", "todo-deploy doctor --fix")
    versions = ", ".join(f"{name} {version}" for name, version in sorted(toolchain.versions.items()))
    return Check("toolchain", "pass", f"{toolchain.way}: {toolchain.why}; {versions}")


def _past_fixes(name: str, version: str, hint: str) -> Iterator[Check]:
    """A warning where the version gets no fixes any more."""
    since = ended(name, version, datetime.now(UTC).date())
    if since is not None:
        yield Check(f"{name.lower()} version", "warn", f"{name} {version} gets no fixes since {since}", hint)


def _env(loaded: LoadedSpec) -> Iterator[Check]:
    for name in loaded.spec.env.files:
        path = loaded.root / name
        problems = env_files.file_problems(path, loaded.root)
        if problems and problems[0].code == "ENV_FILE_MISSING":
            yield Check(name, "warn", "not there yet; `up` makes it", "todo-deploy secrets init")
            continue
        problems += tracked(path)
        yield from (Check(name, "warn", one.title, next(iter(one.hints), "")) for one in problems)
    try:
        problems = inputs.env_problems(loaded, inputs.load_env(loaded))
    except DeployError as error:
        problems = list(error.problems)
    yield from (Check("env", "fail", _summary(one), next(iter(one.hints), "")) for one in problems)
    if not problems:
        yield Check("env", "pass", "every required key has a value")


def _ca_certificates(loaded: LoadedSpec) -> Iterator[Check]:
    """Whether the company's CA certificates can be handed to builds, where the spec names a file of them."""
    name = loaded.spec.build.ca
    if name is None:
        return
    try:
        count = inputs.ca_certificates(loaded).count("BEGIN CERTIFICATE")
    except DeployError as error:
        yield from _failed("certificates", error)
        return
    yield Check("certificates", "pass", f"builds trust {count} of {name}")


def _sources(loaded: LoadedSpec, here: Machine) -> Iterator[Check]:
    try:
        with disk_explained():
            loaded = charts.ready(loaded, here)
            sources = inputs.read_sources(loaded, inputs.values_of(inputs.load_env(loaded)), {}, here.cache_dir)
    except DeployError as error:
        yield from _failed("sources", error)
        return
    yield Check("sources", "pass", f"{len(sources.images)} build contexts, {len(sources.charts)} charts")


def _cluster(loaded: LoadedSpec, toolchain: Toolchain, here: Machine) -> Iterator[Check]:
    wanted = loaded.spec.cluster
    try:
        facts = composition.open_cluster(here, wanted, toolchain).facts()
        kube = composition.open_kube(here, wanted) if facts.phase is ClusterPhase.RUNNING else None
        answers = kube is not None and kube.ready()
    except DeployError as error:
        yield from _failed("cluster", error)
        return
    decision = decide(facts, answers)
    if decision.start:
        yield Check("cluster", "warn", f"{wanted.name}: {facts.phase.value} ({decision.reason})", "todo-deploy up")
        return
    yield Check("cluster", "pass", f"{wanted.context_name} runs Kubernetes {facts.kubernetes_version}")
    if wanted.provider == "context" and kube is not None and (problem := lacking(kube)) is not None:
        yield Check("rights", "warn", f"{problem.title}; {problem.detail}")
    yield from _past_fixes("Kubernetes", facts.kubernetes_version, _newer_kubernetes(loaded))
    if len(facts.nodes) > 1:
        yield _nodes(facts)
    yield _forward(loaded, facts, here)
    if loaded.spec.images:
        yield from _delivery(way_to(loaded.spec, facts, kube), loaded, facts, here)
    for problem in differences(wanted, facts, composition.host()):
        yield Check("cluster", "warn", problem.detail.replace("\n", "; "), next(iter(problem.hints), ""))
    if wanted.addons and kube is not None:
        yield from _addons(wanted, toolchain, facts, kube, here)


def _nodes(facts: ClusterFacts) -> Check:
    """Whether all nodes of the cluster run."""
    stopped = [one.name for one in facts.nodes if not one.running]
    if stopped:
        return Check("nodes", "warn", f"stopped: {', '.join(stopped)}", "todo-deploy up")
    return Check("nodes", "pass", f"{len(facts.nodes)} run: {', '.join(one.name for one in facts.nodes)}")


def _delivery(way: Way, loaded: LoadedSpec, facts: ClusterFacts, here: Machine) -> Iterator[Check]:
    """How images reach the cluster's nodes, why that way, and what the registry answers to this machine's Docker."""
    if way.kind == "none":
        yield Check("delivery", "fail", way.text, no_way(way).hints[0])
        return
    yield Check("delivery", "pass", way.text)
    if way.kind != "registry":
        return
    refs = {f"{in_registry(one.repository, way.pull)}:{one.version}" for one in loaded.spec.images.values()}
    hosts = {host_of(ref): ref for ref in sorted(refs)}
    try:
        delivery = composition.open_delivery(here, loaded.spec.cluster, None, (way, facts))
        for ref in hosts.values():
            delivery.found(ref)
    except DeployError as error:
        yield from _failed("registry", error)
        return
    yield Check("registry", "pass", f"it answers: {', '.join(hosts)}")


def _newer_kubernetes(loaded: LoadedSpec) -> str:
    """How to move to a supported version: Minikube upgrades a profile in place by one minor version at a time."""
    wanted = loaded.spec.cluster
    if wanted.provider == "context":
        return f"upgrade the cluster of the context {wanted.context} to Kubernetes {KUBERNETES}"
    first = "" if wanted.kubernetes_version == KUBERNETES else f"set cluster.kubernetesVersion: {KUBERNETES}, then "
    return f"{first}todo-deploy up --recreate-cluster (removes the cluster's data)"


def _addons(
    wanted: Cluster, toolchain: Toolchain, facts: ClusterFacts, kube: KubePort, here: Machine
) -> Iterator[Check]:
    for one in addons.look(addons.Target(wanted, toolchain, facts, kube, here)):
        yield Check(
            f"addon {one.name}", "pass" if one.ready else "warn", one.text, "" if one.ready else "todo-deploy up"
        )


def _forward(loaded: LoadedSpec, facts: ClusterFacts, here: Machine) -> Check:
    """Whether the URLs are reached at the node itself, or through this machine's own ports."""
    spec = loaded.spec
    address = facts.address
    folder = here.folder(spec)
    found = forwarding.known(folder)
    if found.pid is not None:
        ports = ", ".join(f"{one.local} to {one.target}" for one in found.mappings)
        return Check("forward", "pass", f"this machine serves the URLs itself: {ports} (pid {found.pid})")
    if spec.forward == "always" or found.mappings:
        return Check("forward", "warn", "the background process that serves the URLs does not run", "todo-deploy up")
    if forwarding.reachable(address):
        return Check("forward", "pass", f"not needed: the node answers at {address}")
    if spec.forward == "never":
        return Check("forward", "warn", f"the node does not answer at {address}, and the spec says `forward: never`",
                     "todo-deploy up --forward auto")  # fmt: skip
    return Check("forward", "pass", f"the node does not answer at {address}: `up` will serve the URLs itself")


def _failed(name: str, error: DeployError) -> Iterator[Check]:
    for problem in error.problems:
        yield Check(name, "fail", _summary(problem), next(iter(problem.hints), ""))


def _summary(problem: Problem) -> str:
    return f"{problem.where}: {problem.title}" if problem.where else problem.title
