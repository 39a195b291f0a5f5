"""From a plan to a verdict: releases applied, watched and proven, and every step of it remembered in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from deployer import evidence, forwarding, history, record
from deployer.applied import Applied
from deployer.around import kinds_around
from deployer.causes import FailFast
from deployer.errors import DeployError
from deployer.forwarding import Forward
from deployer.history import Entry, KeptSecretRef
from deployer.holder import whoami
from deployer.lookups import Look, nothing_more
from deployer.plan import CorsPlan, Plan, ReleasePlan, UrlPlan
from deployer.ports import ClusterFacts, HelmPort, KubePort, LocalPorts
from deployer.record import Record, ReleaseRecord
from deployer.stages import cors as cors_stage
from deployer.stages import releases as releases_stage
from deployer.stages import rollout as rollout_stage
from deployer.stages import secrets as secrets_stage
from deployer.stages import urls as urls_stage
from deployer.stages.rollout import Cause, Judging
from deployer.stages.urls import ProvenUrl
from deployer.status import WorkloadStatus
from deployer.steps import Clock, Outcome, Steps, merge, outcome_only, stage, within
from deployer.tags import Commit
from deployer.toolchain import Toolchain

_JUDGING = Judging(0.0, 0.0, FailFast.BALANCED)


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
    planned: Planned, connected: Connected, run: str, clock: Clock, judging: Judging = _JUDGING
) -> Steps[Outcome[Deployed]]:
    """Every release is at the plan's revision, wave by wave, and the cluster's record knows it."""
    applied: list[Applied] = []
    kept, plan, begun = planned.record, planned.plan, clock.monotonic()
    for wave in releases_stage.ordered(plan.releases):
        needed = {need for release in wave for need in release.needs}
        refs = [ref for one in applied if one.name in needed for ref in rollout_stage.workloads_of(one.objects)]
        if refs:
            needed_by = replace(judging, timeout=max(one.timeout for one in wave), hold=0.0)
            try:
                yield from rollout_stage.await_rollout(
                    refs, connected.kube, clock, needed_by, since=clock.now(), changed=False, look=connected.look
                )
            except DeployError as error:
                deployed = _known(replace(planned, partial=True), applied, connected.kube, run, clock)
                raise _failed(deployed, error, connected.kube, clock.monotonic() - begun) from None
        done = yield from merge({one.name: _applying(one, kept, connected, clock, run) for one in wave})
        applied += [done[release.name].value for release in wave]
    deployed = _known(planned, applied, connected.kube, run, clock)
    changed = [one for one in applied if one.changed]
    text = ", ".join(f"{one.name} revision {one.revision}" for one in changed) or f"{len(applied)} unchanged"
    return Outcome(deployed, bool(changed), text)


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

    try:
        rollout = yield from stage("rollout", watched(0.0), clock)
        # A person may click as soon as all is Available; whether it stays so is seen while they do.
        proven = yield from stage("urls", answering(last=not held), clock)
        if held:
            rollout = yield from stage("stability", within("stability", watched(judging.hold)), clock)
            proven = yield from stage("urls", answering(last=True), clock)
        else:
            why = "not held (--hold 0)" if fresh else "was verified before"
            yield from stage("stability", outcome_only(Outcome((), False, why)), clock)
    except DeployError as error:
        raise _failed(deployed, error, kube, clock.monotonic() - begun) from None
    give_verdict(deployed, "verified", "", kube)
    _judged(deployed, "verified", "", kube, clock.monotonic() - begun)
    return rollout.value, proven.value


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


def _failed(deployed: Deployed, error: DeployError, kube: KubePort, seconds: float) -> RolloutFailed:
    """The failure as a verdict, which Helm and the history know by then."""
    first = error.problems[0]
    give_verdict(deployed, "failed", f"{first.code}: {first.title}", kube)
    _judged(deployed, "failed", first.code, kube, seconds)
    return RolloutFailed(error.problems, error.exit_code)


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
    for one in applied:
        known = ReleaseRecord(one.namespace, one.revision, one.inputs, one.objects)
        fresh = record.with_release(fresh, one.name, known)
    if any(one.changed for one in applied):
        fresh = replace(fresh, history=history.begun(fresh.history, _entry(planned, applied, run, clock)))
    if fresh != kept:
        fresh = record.save(kube, plan.namespace, plan.application, fresh)
    return Deployed(plan.application, plan.namespace, tuple(applied), fresh)


def _entry(planned: Planned, applied: Sequence[Applied], run: str, clock: Clock) -> Entry:
    plan, commit = planned.plan, planned.commit
    before = planned.record.history[-1:] if planned.partial else ()
    return Entry(
        number=0,
        run=run,
        at=clock.now(),
        who=whoami(),
        why="; ".join(f"{one.name}: {one.reason}" for one in applied if one.changed),
        commit=commit.sha if commit is not None else "",
        dirty=commit is not None and not commit.clean,
        images={name: ref for one in before for name, ref in one.images.items()}
        | {image.name: image.ref for image in plan.images},
        secrets=tuple(KeptSecretRef(one.namespace, one.served, one.copy) for one in plan.secrets),
        releases={name: revision for one in before for name, revision in one.releases.items()}
        | {one.name: one.revision for one in applied},
    )


def _applying(
    release: ReleasePlan, kept: Record, connected: Connected, clock: Clock, run: str
) -> Callable[[], Steps[Outcome[Applied]]]:
    return lambda: releases_stage.ensure_release(
        release, kept.releases.get(release.name), connected.kube, connected.helm, clock, run
    )
