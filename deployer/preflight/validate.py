"""What can be known to be wrong before anything is built: the charts rendered with the plan's own values, and rules.

The rules are pure (`rules`); what they look at is gathered here, renders and questions to the cluster side by side.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployer import composition as world
from deployer.commands import connection as opening
from deployer.commands import doctor
from deployer.commands.deploy import Connected, Planned
from deployer.commands.toolchain import stand_ins_for
from deployer.composition import World
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Warned
from deployer.core.ports import KINDS, ClusterFacts, HelmPort, KubePort, Object, ObjectRef, UpgradeRequest
from deployer.core.steps import Steps
from deployer.core.yaml import load_documents
from deployer.env import files as envfile
from deployer.plan import Facts, Plan, ReleasePlan, make_plan
from deployer.preflight import guards
from deployer.preflight import immutable_fields as immutable
from deployer.preflight.rules import capacity, passed, probing
from deployer.preflight.rules.judging import errors, judge, warnings
from deployer.preflight.rules.model import Cluster, Finding, Machine, Rendered, Subject, is_test, without_nulls
from deployer.preflight.rules.planning import Share, capacity_plan
from deployer.preflight.rules.references import unprovided
from deployer.sources import build_context as context
from deployer.sources import git as repository
from deployer.sources import load as inputs
from deployer.sources.dockerfile import declared_values
from deployer.stages.cluster import start_request
from deployer.state import record
from deployer.state.build_cache import deployment_dir
from deployer.state.record import Record
from deployer.status import ClusterPhase
from deployer.toolchain import locate_toolchain

_USER = re.compile(r"^\s*(FROM|USER)\s+(\S+)", re.IGNORECASE | re.MULTILINE)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class Running:
    """A cluster that runs, as far as rules ask it."""

    facts: ClusterFacts
    kube: KubePort
    ours: frozenset[ObjectRef]
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class Examined:
    """What the rules found, and the capacity plan."""

    findings: tuple[Finding, ...]
    capacity: tuple[Share, ...] = ()


def validate(loaded: LoadedSpec, here: World) -> tuple[Finding, ...]:
    """What the rules find for an `up` at this moment; errors as of `examine`."""
    return examine(loaded, here).findings


def examine(loaded: LoadedSpec, here: World) -> Examined:
    """What an `up` would find and take at this moment; a cluster that does not run is taken for a new one.

    Input error, all problems together, where the sources cannot be read or a chart does not render.
    """
    env = inputs.load_env(loaded)
    values = inputs.values_of(env)
    try:
        seen = opening.see_cluster(loaded, here)
    except DeployError:  # no Docker: what does not need it is checked all the same
        toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
        seen = opening.Seen(loaded, ClusterFacts(ClusterPhase.MISSING), toolchain)
    stand_ins = stand_ins_for(seen.toolchain, inputs.wanted_bases(loaded, values)) if seen.toolchain else {}
    running = _running(loaded, seen.facts, here)
    kept = running.record if running is not None else record.new_record()
    plan = offline_plan(loaded, values, stand_ins, here, seen.facts.node_ip or "node", kept.salt)
    version = seen.facts.kubernetes_version or loaded.spec.cluster.kubernetes_version
    asked = replace(seen.facts, kubernetes_version=version)
    tools = seen.toolchain or opening.known_tools(here)
    helm = world.open_helm(here, loaded.spec.cluster, tools, asked) if tools else None
    subject = gather(loaded, plan, helm, running, here, thorough=True)
    found = judge(subject, partly=helm is None)
    found += guards.findings(subject, kept, running.kube) if running is not None else ()
    found += _outside(loaded)
    return Examined(found, capacity_plan(subject)) if helm is not None else Examined((*found, _unrendered()))


def _outside(loaded: LoadedSpec) -> tuple[Finding, ...]:
    """A note for each path of the spec that leaves the repository, as the spec allows or the command line says."""
    return tuple(
        Finding("PATH_OUTSIDE", "note", Problem("PATH_OUTSIDE", one.title(), where=str(loaded.origin(*one.location))))
        for one in loaded.outside
    )


def _unrendered() -> Finding:
    title = "the charts were not rendered: there is no helm yet, and the first `up` makes one"
    return Finding("CHARTS_UNRENDERED", "note", Problem("CHARTS_UNRENDERED", title))


def refuse_broken(findings: tuple[Finding, ...]) -> None:
    """No rule is broken; input error with every one that is."""
    problems = errors(findings)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)


def before_build(
    loaded: LoadedSpec, planned: Planned, connected: Connected, here: World, *, whole: bool
) -> Steps[None]:
    """The rules hold for what is about to change; input error otherwise, with nothing built yet.

    What passed before in the same shape is neither rendered nor told again. `whole`: no release was left out.
    """
    plan, kept = planned.plan, planned.record
    env = inputs.load_env(loaded)
    path = deployment_dir(here.state_dir, loaded.spec.cluster.name, loaded.spec.application) / "rules.json"
    before, shape = passed.recall(path), passed.shape_of(loaded, plan, env)
    known = {one.name for one in plan.releases} <= kept.releases.keys()
    if known and whole and before.shape == shape:
        return
    ours = frozenset(
        ref for one in plan.releases if one.name in kept.releases for ref in kept.releases[one.name].objects
    )
    running = Running(connected.facts, connected.kube, ours, kept)
    subject = gather(loaded, plan, connected.helm, running, here, thorough=False)
    findings = judge(subject if whole else _narrowed(subject), partly=not whole)
    refuse_broken(findings)
    rendered = [(one.release.namespace, body) for one in subject.releases for body in one.objects]
    immutable.refuse(rendered, ours, connected.kube)
    told = warnings(findings)
    for problem in passed.untold(told, before):
        yield Warned(problem)
    if whole:
        passed.remember(path, passed.passing(shape, told))


def _narrowed(subject: Subject) -> Subject:
    """The subject without the URLs of releases that were left out."""
    services = {body["metadata"]["name"] for _, body in subject.objects("Service")}
    urls = tuple(url for url in subject.plan.urls if url.service in services)
    cors = tuple(one for one in subject.plan.cors if one.service in services)
    return replace(subject, plan=replace(subject.plan, urls=urls, cors=cors))


def gather(
    loaded: LoadedSpec, plan: Plan, helm: HelmPort | None, running: Running | None, here: World, *, thorough: bool
) -> Subject:
    """Everything that rules look at. Input error where a chart does not render.

    `thorough`: every mapped value is tried with another one, not only those that seem to be unused.
    """
    env = inputs.load_env(loaded)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = pool.submit(_cluster, loaded, plan, running)
        machine = pool.submit(_machine, loaded, here)
        renders = [
            pool.submit(_rendered, loaded, one, helm, pool, thorough=thorough)
            for one in (plan.releases if helm is not None else ())
        ]
        problems: list[Problem] = []
        rendered: list[Rendered] = []
        for render in renders:
            try:
                rendered.append(render.result())
            except DeployError as error:
                problems += error.problems
                code = error.exit_code
        if problems:
            raise DeployError(problems, code)
        subject = Subject(loaded, plan, tuple(rendered), env, asked.result(), machine.result())
    return _with_keys(subject, running.kube) if running is not None else subject


def offline_plan(
    loaded: LoadedSpec, env: Mapping[str, str], stand_ins: Mapping[str, str], here: World,
    node: str = "node", salt: str = "",
) -> Plan:  # fmt: skip
    """The plan as it would be for a cluster where the application was never deployed."""
    sources = inputs.read_sources(loaded, env, stand_ins, here.cache_dir)
    addresses = {name: f"http://{node}:{url.node_port}" for name, url in loaded.spec.urls.items() if url.node_port}
    facts = Facts(
        env=env,
        salt=salt or record.new_record().salt,
        images=sources.images,
        charts=sources.charts,
        stand_ins=stand_ins,
        used_tags={},
        addresses=addresses,
        commit=repository.read_commit(loaded.root),
    )
    return make_plan(loaded.spec, loaded.root, facts)


def upgrade_request(
    release: ReleasePlan, description: str = "", labels: Mapping[str, str] | None = None
) -> UpgradeRequest:
    """What helm is asked for a release of the plan."""
    return UpgradeRequest(
        release.name, release.namespace, release.chart, release.values, labels or {}, description, release.timeout
    )


def _running(loaded: LoadedSpec, facts: ClusterFacts, here: World) -> Running | None:
    """The cluster if it runs and answers; what we have there is known by its record."""
    if facts.phase is not ClusterPhase.RUNNING:
        return None
    try:
        kube = world.open_kube(here, loaded.spec.cluster)
        kept = record.load(kube, loaded.spec.namespace, loaded.spec.application)
    except DeployError:
        return None
    return Running(facts, kube, frozenset(ref for one in kept.releases.values() for ref in one.objects), kept)


def _rendered(
    loaded: LoadedSpec, release: ReleasePlan, helm: HelmPort | None, pool: ThreadPoolExecutor, *, thorough: bool
) -> Rendered:
    assert helm is not None
    mapped = probing.mapped_values(release.name, loaded.spec.releases[release.name], release)
    first = [one for one in mapped if isinstance(one.value, str)] if thorough else []
    # Texts are tried all at once; what is handed over as a map (checksums) is tried by itself.
    trial = pool.submit(_tried, release, helm, tuple(first)) if first else None
    apart = [(one, pool.submit(_tried, release, helm, (one,))) for one in mapped if thorough and one not in first]
    everything = tuple(helm.template(upgrade_request(release)))
    objects = tuple(without_nulls(one) for one in everything if not is_test(one))
    chart = next(iter(load_documents((release.chart / "Chart.yaml").read_text(encoding="utf-8"))), {})
    if thorough:
        changed = trial.result() if trial is not None else None
        doubted = [one for one in first if changed is not None and not probing.verbatim(one.other, changed)]
    else:
        doubted = [one for one in mapped if one.is_image and not probing.verbatim(one.value, everything)]
    results = [(one, work.result()) for one, work in apart]
    results += [(one, _tried(release, helm, (one,))) for one in doubted]
    unused = tuple((one.location, one.path) for one, other in results if other == everything)
    return Rendered(release, objects, chart, unused)


def _tried(release: ReleasePlan, helm: HelmPort, tried: tuple[probing.Mapped, ...]) -> tuple[Object, ...] | None:
    """What the chart renders to with other values there; None where it does not."""
    changed = replace(release, values=probing.with_others(release.values, tried))
    try:
        return tuple(helm.template(upgrade_request(changed)))
    except DeployError:
        return None


def _cluster(loaded: LoadedSpec, plan: Plan, running: Running | None) -> Cluster | None:
    wanted = loaded.spec.cluster
    if running is None:
        if wanted.provider != "minikube":
            return None
        request, _ = start_request(wanted, world.host())
        machine = platform.machine()
        architecture = _ARCHITECTURES.get(machine, machine)
        return capacity.machine_cluster(wanted.name, request.cpus, request.memory_mib, architecture)
    kube = running.kube
    nodes = kube.list("Node")
    free = [disk // 2**20 for node in nodes if (disk := kube.free_disk(node["metadata"]["name"])) is not None]
    classes = kube.list("StorageClass") if "StorageClass" in KINDS else None
    return Cluster(
        name=wanted.context or wanted.name,
        allocatable=capacity.node_amounts(nodes),
        architectures=frozenset(str(one["status"]["nodeInfo"]["architecture"]) for one in nodes),
        pods=tuple(kube.list("Pod")),
        services=tuple(kube.list("Service")),
        ours=running.ours,
        storage_classes=frozenset(one["metadata"]["name"] for one in classes) if classes is not None else None,
        image_architectures=_architectures(plan, running.facts),
        free_disk_mib=min(free, default=None),
    )


def _architectures(plan: Plan, facts: ClusterFacts) -> dict[str, str]:
    """What processors the images and base images that are there already are made for."""
    if facts.docker is None or not plan.images:
        return {}
    daemon = world.open_images(facts.docker)
    refs = {ref for image in plan.images for ref in (image.ref, *image.bases)}
    return {ref: found.architecture for ref in sorted(refs) if (found := daemon.image(ref)) is not None}


def _with_keys(subject: Subject, kube: KubePort) -> Subject:
    """The subject that also knows the cluster's own Secrets and ConfigMaps that pods refer to."""
    keys: dict[ObjectRef, frozenset[str]] = {}
    for ref in unprovided(subject):
        found = kube.get(ref.kind, ref.namespace, ref.name)
        if found is not None:
            keys[ref] = frozenset(key for field in ("data", "binaryData") for key in found.get(field) or ())
    assert subject.cluster is not None
    return replace(subject, cluster=replace(subject.cluster, keys=keys)) if keys else subject


def _machine(loaded: LoadedSpec, here: World) -> Machine:
    problems: list[Problem] = []
    for name in loaded.spec.env.files:
        path = loaded.root / name
        problems += envfile.file_problems(path, loaded.root)
        problems += [replace(one, where=name) for one in doctor.tracked(path)] if path.exists() else []
    places = (Path("/var/lib/docker"), here.cache_dir, *here.cache_dir.parents)
    free = _attempt(lambda: shutil.disk_usage(next(path for path in places if path.exists())).free // 2**20)
    users, contexts, declared = {}, {}, {}
    for name, image in loaded.spec.images.items():
        dockerfile = loaded.root / (image.dockerfile or f"{image.context}/Dockerfile")
        with suppress(DeployError):  # what cannot be read is told by who reads it
            files = context.context_files(loaded.root / image.context, dockerfile)
            contexts[name] = (context.total_size(files), context.biggest(files, 3))
        text = dockerfile.read_text(encoding="utf-8", errors="replace") if dockerfile.is_file() else ""
        shown = dockerfile.relative_to(loaded.root) if dockerfile.is_relative_to(loaded.root) else dockerfile
        declared[name] = tuple((key, value, f"{shown}:{line}")
                               for key, value, line in declared_values(text, image.args))  # fmt: skip
        words = _USER.findall(text)
        last = words[-1] if words and image.target is None else ("", "")
        if last[0].upper() == "USER" and "$" not in last[1]:
            users[name] = last[1]
    return Machine(free, tuple(problems), users, declared, contexts)


def _attempt(look: Callable[[], int]) -> int | None:
    with suppress(OSError):
        return look()
    return None
