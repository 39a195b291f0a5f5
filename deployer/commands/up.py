"""`up`, from top to bottom: toolchain → cluster → plan → images ∥ secrets → releases → rollout → urls → stability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from deployer import composition
from deployer.cluster import ownership
from deployer.commands.clones import refuse_other_values
from deployer.commands.connection import connect, one_at_a_time
from deployer.commands.deploy import STABILITY, Asked, Deployed, RolloutFailed, deploy, verified
from deployer.commands.planning import Planned, ensure_record, plan_up
from deployer.commands.toolchain import builder, ensure_images, ensure_tools
from deployer.composition import Connected, Run
from deployer.config.load import LoadedSpec
from deployer.config.spec import FailFast
from deployer.core.errors import Problem
from deployer.core.events import Warned
from deployer.core.ports import ClusterFacts
from deployer.core.steps import Outcome, Steps, merge, stage
from deployer.helm.storage import Applied
from deployer.images.scanner import find_scanner
from deployer.plan import Plan, with_digests
from deployer.rollout import stage as rollout_stage
from deployer.rollout.stage import limits_from, take_snapshot, workloads_in
from deployer.sources import load
from deployer.sources.charts import STAGE as CHARTS
from deployer.stages import addons as addons_stage
from deployer.stages import cluster as cluster_stage
from deployer.stages import images as images_stage
from deployer.stages import releases as releases_stage
from deployer.stages import restart
from deployer.stages import secrets as secrets_stage
from deployer.stages import urls as urls_stage
from deployer.stages.images import BuiltImage, SourcesChanged, scan_images
from deployer.stages.releases import Preparation
from deployer.stages.secrets import KeptSecret
from deployer.stages.sync import LABEL, pod_containers
from deployer.stages.urls import ProvenUrl
from deployer.state import build_cache
from deployer.status import WorkloadStatus, current_pods
from deployer.toolchain import STAGE as TOOLCHAIN

STAGES = (
    TOOLCHAIN, cluster_stage.STAGE, images_stage.STAGE, secrets_stage.STAGE, releases_stage.STAGE,
    rollout_stage.STAGE, urls_stage.STAGE, STABILITY,
)  # fmt: skip

Bodies = Mapping[str, Callable[[], Steps[Any]]]
"""What `merge` runs side by side."""

# A file that is written all the time may change between any two looks; mostly it does not within a second.
_PLANS = 10


def stages_of(loaded: LoadedSpec) -> tuple[str, ...]:
    """The stages of an `up`; those of charts and addons only where the spec fetches or asks for some."""
    fetches, adds = load.fetched_charts(loaded), loaded.spec.cluster.addons
    return (
        TOOLCHAIN, *([CHARTS] if fetches else []), STAGES[1], *([addons_stage.STAGE] if adds else []), *STAGES[2:]
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line asks of this `up`."""

    services: tuple[str, ...] = ()
    rebuild: bool = False
    build: bool = True
    adopt: bool = False
    force_conflicts: bool = False
    """Whether fields that others have set become what the charts say."""
    replace_secrets: bool = False
    replace: tuple[str, ...] = ()
    """Objects, such as `job/seed`, that may be deleted and made anew."""
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


@one_at_a_time
def up(run: Run, options: UpOptions) -> Steps[UpResult]:
    """Everything that the spec says runs, answers and is marked verified.

    A failed rollout is raised, with its own exit code, after the rollback that follows it unless that is not wanted.
    """
    clock = run.clock
    bases = partial(load.wanted_bases, run.loaded, run.values)
    tools = yield from stage(TOOLCHAIN, ensure_tools(run.spec, run.machine, bases), clock)
    if load.fetched_charts(run.loaded):
        from deployer.commands.charts import ensure_charts  # only for those who fetch some

        run = (yield from stage(CHARTS, ensure_charts(run, tools.value), clock)).value
    cluster = yield from stage(cluster_stage.STAGE, connect(run, tools.value, recreate=options.recreate), clock)
    connected = cluster.value
    yield from run.lock.take(connected.kube)

    # All tags, Secret names and Helm values are final before anything is touched.
    planned = plan_up(connected, options.services, options.timeout)
    plan, has_changes = planned.plan, options.rebuild or planned.has_changes
    yield from refuse_what_is_not_ours(connected, planned, options, has_changes=has_changes)

    # What rules or the API server would refuse is not built. Where only sources have changed since the rules held, the
    # API server is asked while they are built: it rarely refuses another tag alone.
    build_all: Bodies = {"images": lambda: stage(images_stage.STAGE, build_anew(connected, plan, options), clock)}
    ahead: dict[str, Any] = {}
    if has_changes:
        only_sources, checks = checks_of(connected, planned, options)
        bodies: Bodies = {"checks": checks, **(build_all if only_sources else {})}
        ahead = yield from merge(bodies)
        planned = replace(planned, prepared=ahead.pop("checks"))
    planned = yield from ensure_record(planned, connected.kube)

    # Side by side, for none needs the others. A documented Secret gets its new values only when all are built: where
    # a build fails, pods that restart meanwhile still find the values that they ran with.
    others = secrets_and_addons(connected, planned, options, copies_only=has_changes)
    done = ahead | (yield from merge(others if ahead else {**build_all, **others}))
    plan, images = done["images"].value
    plan = with_digests(plan, {one.name: one.digest for one in images})
    planned = replace(planned, plan=plan)
    if has_changes:
        done["served"] = yield from secrets_stage.ensure_secrets(plan, connected.kube, adopt=options.adopt)

    since, longest = clock.now(), max((one.timeout for one in plan.releases), default=0.0)
    limits = limits_from(connected.spec.rollout, longest, own_timeout=options.timeout, hold=options.hold,
                         profile=options.fail_fast)  # fmt: skip
    try:
        releases = yield from stage(releases_stage.STAGE, deploy(connected, planned, limits), clock)
        yield from replace_synced(connected, releases.value, planned, options)
        serving = yield from verified(connected, releases.value, limits, since, Asked(plan.urls, plan.cors))
    except RolloutFailed as failed:
        from deployer.commands.rollback import automatic_rollback

        raise (yield from automatic_rollback(connected, failed, options)) from None

    return UpResult(
        changed=any(one.changed for one in (cluster, *done.values(), releases)),
        cluster=connected.facts,
        images=images,
        secrets=done.get("served", done["secrets"]).value,
        releases=releases.value.releases,
        workloads=serving.workloads,
        urls=serving.urls,
    )


def replace_synced(run: Connected, deployed: Deployed, planned: Planned, options: UpOptions) -> Steps[None]:
    """Pods that `dev` copied files into are being replaced: what runs is what was built, of the services asked for."""
    refs = tuple(ref for ref in workloads_in(deployed.releases) if "." not in ref.kind)
    spaces = {ref.namespace for ref in refs}
    if not any(run.kube.list("Pod", space, labels=LABEL, metadata_only=True) for space in spaces):
        return
    asked = {one.ref for one in planned.plan.images if not options.services or one.name in options.services}
    snapshot = take_snapshot(refs, run.kube, events=False)
    synced = [
        ref for ref in refs
        if any(one.label and one.image in asked for one in pod_containers(current_pods(ref, snapshot)))
    ]  # fmt: skip
    if synced:
        yield from stage(restart.STAGE, restart.restart_workloads(synced, run.kube, run.clock), run.clock)


def refuse_what_is_not_ours(run: Connected, planned: Planned, options: UpOptions, *, has_changes: bool) -> Steps[None]:
    """What the plan names is ours, and the Secrets that run have the values of this clone; refused otherwise."""
    plan, kube = planned.plan, run.kube
    if has_changes:
        yield from secrets_stage.await_leaving(plan.namespaces, kube, run.clock)
    for one in ownership.refuse_foreign(ownership.touched_by_plan(plan), kube, adopt=options.adopt):
        yield Warned(one)
    refuse_other_values(run, planned, replace_secrets=options.replace_secrets)


def checks_of(
    run: Connected, planned: Planned, options: UpOptions
) -> tuple[bool, Callable[[], Steps[Mapping[str, Preparation]]]]:
    """Whether only sources have changed since the rules held; and the steps in which the rules and the API server
    accept what is new, or it is refused. They return what is to be done before each release is upgraded."""
    # A run that changes nothing does not pay for their import.
    from deployer.commands.validate import running_with
    from deployer.preflight.changes import Choice
    from deployer.preflight.gather import Target
    from deployer.preflight.validate import before_build, recall

    running = running_with(run.kube, planned.record, run.facts)
    offline = run.toolchain.offline_images
    target = Target(composition.host(), run.machine.cache_dir, run.helm, running, offline=offline)
    choice = Choice(frozenset(one.lower() for one in options.replace), options.adopt, options.force_conflicts)
    known = recall(run.loaded, planned.plan, run.folder, planned.record)
    whole = not options.services
    return known.passed, lambda: before_build(run.loaded, planned.plan, target, known, choice, whole=whole)


def secrets_and_addons(run: Connected, planned: Planned, options: UpOptions, *, copies_only: bool) -> Bodies:
    """The stages of Secrets and addons."""
    secrets = secrets_stage.ensure_secrets(planned.plan, run.kube, adopt=options.adopt, copies_only=copies_only)
    bodies: dict[str, Callable[[], Steps[Outcome[Any]]]] = {
        "secrets": lambda: stage(secrets_stage.STAGE, secrets, run.clock)
    }
    if run.spec.cluster.addons:
        from deployer.commands import addons  # only for those who ask for some

        ensured = addons.ensure(addons.Target(run.spec.cluster, run.toolchain, run.facts, run.kube, run.machine))
        bodies["addons"] = lambda: stage(addons_stage.STAGE, ensured, run.clock)
    return bodies


def build_anew(run: Connected, plan: Plan, options: UpOptions) -> Steps[Outcome[tuple[Plan, tuple[BuiltImage, ...]]]]:
    """As `build`, and the plan: made again where a file changed after its image's tag was made, for a tag names what
    was built."""
    for _ in range(_PLANS - 1):
        try:
            built = yield from build(run, plan, options)
        except SourcesChanged:
            plan = plan_up(run, options.services, options.timeout).plan
        else:
            break
    else:
        built = yield from build(run, plan, options)
    return Outcome((plan, built.value), built.changed, built.text)


def build(run: Connected, plan: Plan, options: UpOptions) -> Steps[Outcome[tuple[BuiltImage, ...]]]:
    """Every image of the plan is in the cluster's daemon, and this machine remembers what it was built from."""
    if not plan.images:
        return Outcome((), False, "none")
    machine, daemon = run.machine, builder(run)
    brought = frozenset[str]()
    if (machine.cache_dir / "bundles").is_dir():
        from deployer.commands.bundle import bring_images  # only for those who loaded one

        found = yield from bring_images(plan, machine.cache_dir, daemon, rebuild=options.rebuild)
        brought = frozenset() if options.rebuild else found
    path = build_cache.memory_path(run.folder)
    before = build_cache.recall(path)
    how = images_stage.Building(rebuild=options.rebuild, build=options.build, brought=brought)
    outcome = yield from ensure_images(run, run.loaded, plan.images, before, how)
    build_cache.remember(path, before, plan.images)
    mode = run.spec.rules.scan
    if mode == "off":
        return outcome
    scanned = yield from scan_images(
        outcome.value,
        composition.open_images(daemon),
        find_scanner(machine.env, daemon),
        mode,
        path.with_name("scans.json"),
        run.clock,
    )
    return replace(outcome, value=scanned)


def notices(sentences: Sequence[str]) -> Steps[None]:
    """Each sentence is shown as a warning that needs no action."""
    for sentence in sentences:
        yield Warned(Problem("NOTICE", sentence))
