"""From a plan to a verdict: releases applied, watched and proven, and every step of it remembered in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from deployer import evidence, forwarding
from deployer.commands.interrupted import left_by
from deployer.commands.migrations import migrations_of
from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import ClusterFacts, HelmPort, KubePort, LocalPorts
from deployer.core.process_identity import whoami
from deployer.core.steps import Clock, Outcome, Steps, merge, outcome_only, stage, within
from deployer.forwarding import Forward
from deployer.helm.result import Applied
from deployer.kube.outage import Away, never
from deployer.plan import CorsPlan, Plan, ReleasePlan, UrlPlan
from deployer.plan.tags import Commit
from deployer.rollout import hooks
from deployer.rollout import stage as rollout_stage
from deployer.rollout.hooks import Place
from deployer.rollout.lookups import Look, nothing_more
from deployer.rollout.stage import Cause, Judging
from deployer.rollout.surroundings import kinds_around
from deployer.stages import cors as cors_stage
from deployer.stages import releases as releases_stage
from deployer.stages import secrets as secrets_stage
from deployer.stages import urls as urls_stage
from deployer.stages.urls import ProvenUrl
from deployer.state import history, record
from deployer.state.cluster_lock import LeaseLost
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record, ReleaseRecord
from deployer.status import WorkloadStatus
from deployer.toolchain import Toolchain

STABILITY = "stability"
"""The stage in which all stays Available for a while."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A cluster that runs, and the doors to it."""

    toolchain: Toolchain
    facts: ClusterFacts
    kube: KubePort
    helm: HelmPort
    look: Look = nothing_more
    forward: Forward | None = None
    """What this machine is to serve itself, where the node cannot be reached."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment of what is started beside the run."""
    away: Away = never
    """Why the cluster does not answer any more."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the record it was made with, and the commit of its sources."""

    plan: Plan
    record: Record = field(repr=False)
    commit: Commit | None
    partial: bool = False
    """Whether only some services were asked for: what the others run stays part of the revision."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The releases as they are now, and the record that knows them."""

    application: str
    namespace: str
    releases: tuple[Applied, ...]
    record: Record = field(repr=False)


class RolloutFailed(DeployError):
    """A failed verdict on releases that were applied."""


def remembered(planned: Planned, kube: KubePort) -> Steps[Planned]:
    """The cluster has a record of the application before anything is named by its salt."""
    if planned.record.version:
        return planned
    plan = planned.plan
    yield from secrets_stage.ensure_namespaces(plan.namespaces, kube)
    return replace(planned, record=record.save(kube, plan.namespace, plan.application, planned.record))


def deploy(
    planned: Planned, connected: Connected, run: str, clock: Clock, judging: Judging
) -> Steps[Outcome[Deployed]]:
    """Every release is at the plan's revision, wave by wave, and the cluster's record knows it.

    Where helm fails, what it has begun is a failed revision of which the evidence is kept; nothing begun, no revision.
    """
    applied: list[Applied] = []
    kept, plan, begun, since = planned.record, planned.plan, clock.monotonic(), clock.now()
    keep = evidence.keeper()

    def applying(one: ReleasePlan) -> Callable[[], Steps[Outcome[Applied]]]:
        place = Place(((one.name, one.namespace),), connected.kube, clock, judging, keep)
        known = kept.releases.get(one.name)
        return lambda: hooks.beside(
            releases_stage.ensure_release(one, known, connected.kube, connected.helm, clock, run), place
        )

    for wave in releases_stage.ordered(plan.releases):
        try:
            yield from _await_needed(wave, applied, connected, clock, replace(judging, hold=0.0))
            done = yield from merge({one.name: applying(one) for one in wave})
        except DeployError as error:
            if isinstance(error, LeaseLost) or error.exit_code is ExitCode.MACHINE:
                raise  # no verdict on what was applied: the next `up` goes on from there
            made = (*applied, *left_by(wave, kept, connected.kube))
            if not any(one.changed for one in made):
                raise
            deployed = _known(replace(planned, partial=True), made, connected.kube, run, clock)
            failure = yield from _with_evidence(error, deployed, connected.kube, clock, since)
            raise _failed(deployed, failure, connected.kube, clock.monotonic() - begun) from None
        applied += [done[release.name].value for release in wave]
    deployed = _known(planned, applied, connected.kube, run, clock)
    changed = [one for one in applied if one.changed]
    text = ", ".join(f"{one.name} revision {one.revision}" for one in changed) or f"{len(applied)} unchanged"
    return Outcome(deployed, bool(changed), text)


def _await_needed(
    wave: Sequence[ReleasePlan], applied: Sequence[Applied], connected: Connected, clock: Clock, judging: Judging
) -> Steps[None]:
    """What the wave's releases need is Available, judged as the rollout will be."""
    needed = {need for release in wave for need in release.needs}
    refs = [ref for one in applied if one.name in needed for ref in rollout_stage.workloads_of(one.objects)]
    if refs:
        steps = rollout_stage.await_rollout(
            refs, connected.kube, clock, judging, since=clock.now(), changed=False, look=connected.look
        )
        yield from within(releases_stage.STAGE, steps)


def _with_evidence(
    error: DeployError, deployed: Deployed, kube: KubePort, clock: Clock, since: float
) -> Steps[DeployError]:
    """The failure, which says where its evidence is kept."""
    refs = tuple(ref for one in deployed.releases for ref in rollout_stage.workloads_of(one.objects))

    def failing() -> Steps[None]:
        yield from ()
        raise error

    try:
        yield from evidence.witnessed(failing(), deployed.releases, refs, kube, clock, since)
    except DeployError as told:
        return told
    raise AssertionError("a failure is raised on")


def settle(
    deployed: Deployed,
    urls: Sequence[UrlPlan],
    connected: Connected,
    judging: Judging,
    since: float,
    clock: Clock,
    cors: Sequence[CorsPlan] = (),
) -> Steps[tuple[tuple[WorkloadStatus, ...], tuple[ProvenUrl, ...]]]:
    """All is stable, answers, and is marked verified; a failed verdict is remembered before it is raised on."""
    kube, begun = connected.kube, clock.monotonic()
    refs = tuple(ref for one in deployed.releases for ref in rollout_stage.workloads_of(one.objects))
    fresh = any(not one.verified for one in deployed.releases)
    node = connected.facts.node_ip or "127.0.0.1"
    local = connected.forward.local if connected.forward is not None else urls_stage.NOT_FORWARDED
    held = fresh and judging.hold > 0
    kinds = kinds_around(ref for one in deployed.releases for ref in one.objects)
    named: set[Cause] = set()

    def watched(hold: float) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
        steps = rollout_stage.await_rollout(
            refs,
            kube,
            clock,
            replace(judging, hold=hold),
            since=since,
            changed=fresh,
            look=connected.look,
            kinds=kinds,
            named=named,
        )
        return evidence.witnessed(steps, deployed.releases, refs, kube, clock, since)

    def answering(*, last: bool) -> Steps[Outcome[tuple[ProvenUrl, ...]]]:
        if connected.forward is not None:
            yield from forwarding.ensure(connected.forward, connected.env, clock)
        proven = yield from urls_stage.prove_urls(urls, node, kube, clock, local)
        if last and fresh:
            yield from cors_stage.prove_cors(cors, _served(urls, proven.value, local), kube, clock)
        return proven

    def holding() -> Steps[Outcome[tuple[tuple[WorkloadStatus, ...], tuple[ProvenUrl, ...]]]]:
        steady = yield from watched(judging.hold)
        proven = yield from answering(last=True)
        text = f"{steady.text}; {proven.text}" if urls else steady.text
        return Outcome((steady.value, proven.value), steady.changed, text)

    try:
        rollout = yield from stage(rollout_stage.STAGE, watched(0.0), clock)
        # A person may click as soon as all is Available; whether it stays so is seen while they do.
        proven = yield from stage(urls_stage.STAGE, answering(last=not held), clock)
        seen = rollout.value, proven.value
        if held:
            seen = (yield from stage(STABILITY, within(STABILITY, holding()), clock)).value
        else:
            why = "not held (--hold 0)" if fresh else "was verified before"
            yield from stage(STABILITY, outcome_only(Outcome((), False, why)), clock)
    except DeployError as error:
        if isinstance(error, LeaseLost) or error.exit_code is not ExitCode.NOTHING_SERVES:
            raise  # no verdict: the revision stays unfinished, and the next `up` goes on from there
        if not fresh:
            raise _unchanged(error) from None
        raise _failed(deployed, error, kube, clock.monotonic() - begun) from None
    give_verdict(deployed, "verified", "", kube)
    _judged(deployed, "verified", "", kube, clock.monotonic() - begun)
    return seen


def _served(urls: Sequence[UrlPlan], proven: Sequence[ProvenUrl], local: LocalPorts) -> dict[str, str]:
    """Where a browser goes for each URL."""
    port = f":{local[urls_stage.INGRESS]}" if urls_stage.INGRESS in local else ""
    hosts = {url.name: url.ingress_host + port if url.ingress_host else None for url in urls}
    return {one.name: f"http://{hosts[one.name]}" if hosts[one.name] else one.url for one in proven}


def give_verdict(deployed: Deployed, verdict: Literal["verified", "failed"], cause: str, kube: KubePort) -> None:
    """Helm's revisions carry the verdict: those that this run made, and those that an earlier one left without it."""
    for one in deployed.releases:
        if not one.verified:
            releases_stage.mark(one, verdict, cause, kube)


def _unchanged(error: DeployError) -> DeployError:
    """The failure of what was verified before: another version was not asked for and need not be better."""
    first, *rest = error.problems
    told = "\n".join(filter(None, (first.detail, "this very revision was verified before: the cause lies around it")))
    hints = (*first.hints, "todo-deploy restart", "todo-deploy rollback, if an earlier version may serve instead")
    return DeployError((replace(first, detail=told, hints=hints), *rest), error.exit_code)


def _failed(deployed: Deployed, error: DeployError, kube: KubePort, seconds: float) -> RolloutFailed:
    """The failure as a verdict, which Helm and the history know by then."""
    first = error.problems[0]
    give_verdict(deployed, "failed", f"{first.code}: {first.title}", kube)
    _judged(deployed, "failed", first.code, kube, seconds)
    return RolloutFailed(error.problems, ExitCode.NOTHING_SERVES)


def _judged(deployed: Deployed, verdict: history.Verdict, cause: str, kube: KubePort, seconds: float) -> None:
    """The last revision has its verdict, unless it was given before."""
    kept = deployed.record
    if kept.history and kept.history[-1].verdict == "unfinished":
        judged = replace(kept, history=history.judged(kept.history, verdict, cause, seconds))
        record.save(kube, deployed.namespace, deployed.application, judged)


def _known(planned: Planned, applied: Sequence[Applied], kube: KubePort, run: str, clock: Clock) -> Deployed:
    """The cluster's record knows what was applied; it is written only where that is news."""
    kept, plan = planned.record, planned.plan
    fresh = record.with_tags(kept, {image.repository: {image.tag: image.source.digest} for image in plan.images})
    changed = [one for one in applied if one.changed]
    past = kept.history
    for one in changed:
        past = history.without_gone(past, one.name, one.revision)
    for one in applied:
        known = ReleaseRecord(one.namespace, one.revision, one.inputs, one.objects)
        fresh = record.with_release(fresh, one.name, known)
    if changed:
        entry = _entry(planned, past[-1] if planned.partial and past else None, applied, run, clock)
        fresh = replace(fresh, history=history.begun(past, entry))
    if fresh != kept:
        fresh = record.save(kube, plan.namespace, plan.application, fresh)
    for one in changed:
        releases_stage.trim(one.name, one.namespace, needed_revisions(fresh, one.name), kube)
    return Deployed(plan.application, plan.namespace, tuple(applied), fresh)


def needed_revisions(kept: Record, release: str) -> set[int]:
    """The release's revisions that the kept history can go back to."""
    return {one.releases[release] for one in kept.history if release in one.releases}


def _entry(planned: Planned, before: Entry | None, applied: Sequence[Applied], run: str, clock: Clock) -> Entry:
    """The revision; of a part, with what the application's other parts are at since `before`."""
    plan, commit = planned.plan, planned.commit
    own = {one.name for one in applied}
    others = {name: revision for name, revision in (before.releases if before else {}).items() if name not in own}
    return Entry(
        number=0,
        run=run,
        at=clock.now(),
        who=whoami(),
        why="; ".join(f"{one.name}: {one.reason}" for one in applied if one.changed),
        commit=commit.sha if commit is not None else "",
        dirty=commit is not None and not commit.clean,
        images={**(before.images if before else {}), **{image.name: image.ref for image in plan.images}},
        secrets=tuple(KeptSecretRef(one.namespace, one.served, one.copy) for one in plan.secrets),
        releases={**others, **{one.name: one.revision for one in applied}},
        inputs={**{name: before.inputs.get(name, "") for name in others if before},
                **{one.name: one.inputs for one in applied}},
        schema={**(before.schema if before else {}),
                **{image.name: found for image in plan.images if (found := migrations_of(image))}},
        unproven=tuple(name for name in others if before and not _was_proven(before, name)),
    )  # fmt: skip


def _was_proven(before: Entry, release: str) -> bool:
    return before.verdict == "verified" and release not in before.unproven
