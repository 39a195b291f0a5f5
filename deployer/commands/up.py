"""The story of `up`, top to bottom: toolchain → cluster → images ∥ secrets → releases → rollout → urls."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from deployer import composition as world
from deployer import forwarding
from deployer.commands import deploy as deploying
from deployer.commands.connection import Opened
from deployer.commands.deploy import Connected, Planned
from deployer.commands.toolchain import ensure_tools, prepare_cluster_start, proxy_args, stand_ins_for, supply_bases
from deployer.composition import World
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.events import Warned
from deployer.core.ports import LABEL_PREFIX, ClusterFacts
from deployer.core.steps import Outcome, Steps, merge, stage
from deployer.diagnosis.causes import FailFast
from deployer.forwarding import NOTHING, Known
from deployer.helm import ownership
from deployer.helm.result import Applied
from deployer.kube.masking import learn_secrets
from deployer.kube.outage import never, why_away
from deployer.plan import Facts, ImageSource, Plan, make_plan
from deployer.plan.tags import Commit
from deployer.rollout import stage as rollout_stage
from deployer.rollout.lookups import looking
from deployer.rollout.stage import judging_by
from deployer.sources import git as repository
from deployer.sources import load as inputs
from deployer.stages import addons as addons_stage
from deployer.stages import cluster as cluster_stage
from deployer.stages import images as images_stage
from deployer.stages import releases as releases_stage
from deployer.stages import secrets as secrets_stage
from deployer.stages import urls as urls_stage
from deployer.stages.images import BuiltImage
from deployer.stages.scan import Wanted, scan_images
from deployer.stages.secrets import KeptSecret
from deployer.stages.urls import ProvenUrl, forwarded_origin
from deployer.state import build_cache as memory
from deployer.state import record
from deployer.status import WorkloadStatus
from deployer.toolchain import STAGE as TOOLCHAIN
from deployer.toolchain import Toolchain

STAGES = (
    TOOLCHAIN, cluster_stage.STAGE, images_stage.STAGE, secrets_stage.STAGE, releases_stage.STAGE,
    rollout_stage.STAGE, urls_stage.STAGE, deploying.STABILITY,
)  # fmt: skip


def stages_of(spec: Spec) -> tuple[str, ...]:
    """The stages of an `up`; that of addons only where the spec asks for some."""
    return (*STAGES[:2], addons_stage.STAGE, *STAGES[2:]) if spec.cluster.addons else STAGES


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line asks of this `up`."""

    run: str
    services: tuple[str, ...] = ()
    rebuild: bool = False
    build: bool = True
    adopt: bool = False
    recreate: bool = False
    hold: float | None = None
    timeout: float | None = None
    fail_fast: FailFast | None = None
    on_failure: Literal["rollback", "keep"] | None = None


@dataclass(frozen=True, slots=True)
class UpResult:
    """What runs now, and what this `up` changed."""

    changed: bool
    cluster: ClusterFacts
    images: tuple[BuiltImage, ...]
    secrets: tuple[KeptSecret, ...]
    releases: tuple[Applied, ...]
    workloads: tuple[WorkloadStatus, ...]
    urls: tuple[ProvenUrl, ...]


def reach(loaded: LoadedSpec, here: World, *, recreate: bool = False) -> Steps[Outcome[Connected]]:
    """Toolchain and cluster are there, and the doors to the cluster are open."""
    tools = yield from stage(TOOLCHAIN, ensure_tools(loaded.spec, here), here.clock)
    return (yield from stage(cluster_stage.STAGE, connect(loaded, tools.value, here, recreate=recreate), here.clock))


def apply(
    loaded: LoadedSpec, env: Mapping[str, str], cluster: Outcome[Connected], options: UpOptions, here: World
) -> Steps[UpResult]:
    """Everything the spec says is true: images, Secrets, releases, stable workloads, answering URLs."""
    clock, connected = here.clock, cluster.value
    planned = plan_now(loaded, env, connected, here, options.services)
    plan = planned.plan
    news = options.rebuild or _is_news(planned)
    if news:
        # A run that changes nothing does not pay for their import.
        from deployer.preflight.gather import Running, Target
        from deployer.preflight.validate import before_build

        ownership.refuse_foreign_releases(
            plan.application, plan.releases, planned.record, connected.kube, adopt=options.adopt
        )
        yield from secrets_stage.await_leaving(plan.namespaces, connected.kube, clock)
        secrets_stage.refuse_foreign(plan.application, plan.secrets, connected.kube, adopt=options.adopt)
        docker = connected.facts.docker
        running = Running(connected.kube, planned.record, (lambda: world.open_images(docker)) if docker else None)
        target = Target(world.host(), here.cache_dir, connected.helm, running)
        state = _memory(loaded, here).parent
        yield from before_build(loaded, plan, target, state, whole=not options.services)
    planned = yield from deploying.remembered(planned, connected.kube)

    def secrets(*, copies_only: bool) -> Steps[Outcome[tuple[KeptSecret, ...]]]:
        return secrets_stage.ensure_secrets(
            plan.application, plan.namespaces, plan.secrets, connected.kube, adopt=options.adopt,
            copies_only=copies_only,
        )  # fmt: skip

    bodies: dict[str, Callable[[], Steps[Outcome[Any]]]] = {
        "images": lambda: stage(images_stage.STAGE, build(loaded, env, planned, connected, options, here), clock),
        "secrets": lambda: stage(secrets_stage.STAGE, secrets(copies_only=news), clock),
    }
    if loaded.spec.cluster.addons:
        from deployer.cluster.addons import install as addons  # only for those who ask for some

        ensured = addons.ensure(loaded.spec.cluster, connected.toolchain, connected.facts, connected.kube, here)
        bodies["addons"] = lambda: stage(addons_stage.STAGE, ensured, clock)
    done = yield from merge(bodies)
    if news:
        # Not before: where a build fails, what runs restarts with the values that it ran with.
        done["served"] = yield from secrets(copies_only=False)
    kept = done["served"] if news else done["secrets"]
    since = clock.now()
    judging = judging_by(
        loaded.spec.rollout,
        max((one.timeout for one in plan.releases), default=0.0),
        own_timeout=options.timeout,
        hold=options.hold,
        profile=options.fail_fast,
    )
    deploy = deploying.deploy(planned, connected, options.run, clock, judging)
    releases = yield from stage(releases_stage.STAGE, deploy, clock)
    deployed = releases.value
    rollout, urls = yield from deploying.settle(deployed, plan.urls, connected, judging, since, clock, plan.cors)
    changed = any(one.changed for one in (cluster, *done.values(), releases))
    return UpResult(changed, connected.facts, done["images"].value, kept.value, deployed.releases, rollout, urls)


def _is_news(planned: Planned) -> bool:
    """Whether a release of the plan was never applied, or not with these inputs."""
    known = planned.record.releases
    return any(one.name not in known or known[one.name].inputs != one.inputs for one in planned.plan.releases)


def connect(
    loaded: LoadedSpec, toolchain: Toolchain, here: World, *, recreate: bool = False
) -> Steps[Outcome[Connected]]:
    """The cluster runs and answers; made anew where that was asked for."""
    wanted = loaded.spec.cluster
    port = world.open_cluster(here, wanted, toolchain)
    # A node of any other driver is none that could be asked in a moment.
    ours = wanted.provider == "minikube" and wanted.driver == "docker"
    away = why_away(port.facts, wanted.name, here.clock) if ours else never
    if recreate:
        yield from port.delete()
    outcome = yield from cluster_stage.ensure_cluster(
        wanted,
        port,
        lambda: world.open_kube(here, wanted, patient=True, away=away),
        lambda: prepare_cluster_start(loaded.spec, here),
        world.host(),
        here.clock,
    )
    facts, kube = outcome.value
    helm = world.open_helm(here, wanted, toolchain, facts, away)
    look = looking(kube, lambda: world.image_refs(facts.docker), lambda: world.image_refs(here.host_docker))
    folder = memory.deployment_dir(here.state_dir, wanted.name, loaded.spec.application)
    forward = forwarding.wanted(loaded.spec, facts.node_ip, folder, here.kubeconfig)
    if forward is None:
        forwarding.stop(folder)
    connected = Connected(toolchain, facts, kube, helm, look, forward, here.env, away)
    return Outcome(connected, outcome.changed, outcome.text)


def plan_now(
    loaded: LoadedSpec, env: Mapping[str, str], connected: Connected, here: World, services: Sequence[str] = ()
) -> Planned:
    """The plan against what the cluster remembers, narrowed to the services that were asked for."""
    spec = loaded.spec
    kept = record.load(connected.kube, spec.namespace, spec.application)
    learn_secrets(connected.kube, spec.application)  # pods of earlier revisions may print earlier values
    forward = Known(connected.forward.doors) if connected.forward is not None else NOTHING
    opened = Opened(loaded, connected.facts, connected.toolchain, connected.kube, kept, forward)
    commit = repository.read_commit(loaded.root)
    plan = narrowed(plan_for(opened, env, commit, here, services), services)
    return Planned(plan, kept, commit, partial=bool(services))


def plan_for(
    opened: Opened, env: Mapping[str, str], commit: Commit | None, here: World, services: Sequence[str] = ()
) -> Plan:
    """The plan against what an opened cluster remembers; images that were not asked for stay as last built here."""
    loaded, spec = opened.loaded, opened.loaded.spec
    bases = inputs.wanted_bases(loaded, env)
    stand_ins = stand_ins_for(opened.toolchain, bases) if opened.toolchain is not None else {}
    sources = inputs.read_sources(loaded, env, stand_ins, here.cache_dir)
    facts = Facts(
        env=env,
        salt=opened.record.salt,
        images={**sources.images, **_kept_sources(opened, services, sources.images, here)},
        charts=sources.charts,
        stand_ins=stand_ins,
        used_tags=_used_tags(opened),
        addresses={
            name: forwarded_origin(url.namespace or spec.namespace, url.service or "", url.port, opened.local)
            or f"http://{opened.node_ip}:{url.node_port}"
            for name, url in spec.urls.items()
            if url.node_port is not None
        },
        commit=commit,
    )
    return make_plan(spec, loaded.root, facts)


def _used_tags(opened: Opened) -> dict[str, dict[str, str]]:
    """The tags that name a content (repository → tag → digest): those remembered, and those the daemon has.

    The record goes with `down --volumes`, the images stay: a version that one of them has is no other content's.
    """
    used = {repository: dict(known) for repository, known in opened.record.tags.items()}
    by_version = {one.repository for one in opened.loaded.spec.images.values() if one.tag_policy != "digest"}
    if not by_version or opened.facts.docker is None:
        return used
    daemon = world.open_images(opened.facts.docker)
    for ref in daemon.refs():
        repository, _, tag = ref.rpartition(":")
        image = daemon.image(ref) if repository in by_version else None
        if image is not None:
            used.setdefault(repository, {})[tag] = image.labels.get(f"{LABEL_PREFIX}/digest", image.id)
    return used


def _kept_sources(
    opened: Opened, services: Sequence[str], known: Mapping[str, ImageSource], here: World
) -> dict[str, ImageSource]:
    before = memory.recall(_memory(opened.loaded, here)) if services else {}
    return {name: before[name].source for name in known if name not in services and name in before}


def narrowed(plan: Plan, services: Sequence[str]) -> Plan:
    """The plan with only the releases that were asked for or use an image that was; whole where none was named.

    Input error for an unknown name.
    """
    if not services:
        return plan
    known = {image.name for image in plan.images} | {release.name for release in plan.releases}
    for name in services:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise input_error(
                "SERVICE_UNKNOWN", f"no service `{name}` in the spec", detail="it has: " + ", ".join(sorted(known)),
                hints=(f"did you mean `{close[0]}`?",) if close else (),
            )  # fmt: skip
    releases = tuple(one for one in plan.releases if one.name in services or set(one.images) & set(services))
    needed = {image for release in releases for image in release.images} | set(services)
    return replace(plan, releases=releases, images=tuple(one for one in plan.images if one.name in needed))


def build(
    loaded: LoadedSpec, env: Mapping[str, str], planned: Planned, connected: Connected, options: UpOptions, here: World
) -> Steps[Outcome[tuple[BuiltImage, ...]]]:
    """Every image of the plan is in the cluster's daemon, and this machine remembers what it was built from."""
    plan = planned.plan
    if not plan.images:
        return Outcome((), False, "none")
    daemon = connected.facts.docker
    if daemon is None:
        raise DeployError(images_stage.no_daemon(loaded.spec.cluster.context or ""), ExitCode.MACHINE)
    path = _memory(loaded, here)
    before = memory.recall(path)
    outcome = yield from images_stage.ensure_images(
        plan.images,
        world.open_images(daemon, connected.away),
        lambda lacking: supply_bases(lacking, inputs.wanted_bases(loaded, env), connected.toolchain, daemon, here),
        before,
        images_stage.Building(proxy_args(here.env), options.rebuild, options.build, inputs.build_prelude(loaded)),
        here.clock,
    )
    memory.remember(path, before, plan.images)
    mode = loaded.spec.rules.scan
    if mode == "off":
        return outcome
    scans = yield from scan_images(
        tuple(Wanted(one.name, one.ref, one.built) for one in outcome.value),
        world.open_images(daemon),
        world.open_scanner(here, daemon),
        mode,
        path.with_name("scans.json"),
        here.clock,
    )
    scanned = (replace(one, scan=scan.verdict) for one, scan in zip(outcome.value, scans, strict=True))
    return replace(outcome, value=tuple(scanned))


def _memory(loaded: LoadedSpec, here: World) -> Path:
    return memory.memory_path(here.state_dir, loaded.spec.cluster.name, loaded.spec.application)


def notices(sentences: Sequence[str]) -> Steps[None]:
    """Each sentence is told as a warning that needs no action."""
    for sentence in sentences:
        yield Warned(Problem("NOTICE", sentence))
