"""From a plan to applied releases: wave by wave, hooks watched while helm works, remembered in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from deployer import evidence, forwarding
from deployer.commands.connection import Opened
from deployer.commands.planning import Planned
from deployer.commands.rebuild import migrations_of
from deployer.composition import Connected
from deployer.config.spec import Spec, seconds
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Warned
from deployer.core.ports import KubePort
from deployer.core.process import user_and_host
from deployer.core.steps import Outcome, Steps, merge, stage, within
from deployer.helm import storage
from deployer.helm.storage import Applied
from deployer.plan import CorsPlan, ReleasePlan, UrlPlan
from deployer.rollout import hooks
from deployer.rollout import stage as rollout_stage
from deployer.rollout.hooks import HelmAtWork
from deployer.rollout.observe import surrounding_kinds
from deployer.rollout.stage import (
    Limits,
    Rollout,
    await_rollout,
    has_restarted,
    is_done,
    limits_from,
    take_snapshot,
    workloads_in,
    workloads_of,
)
from deployer.stages import releases as releases_stage
from deployer.stages import rollback as rollback_stage
from deployer.stages import urls as urls_stage
from deployer.stages.urls import ProvenUrl
from deployer.state import history, record
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.lock import LockLost
from deployer.state.record import Record, ReleaseRecord
from deployer.status import WorkloadStatus, current_pods, old_pods, workload_status
from deployer.status.objects import dig, epoch, find, is_ready

STABILITY = "stability"
"""The stage in which all stays Available for a while."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """The releases as they are now, and the record that knows them."""

    releases: tuple[Applied, ...]
    record: Record = field(repr=False)

    @property
    def is_new(self) -> bool:
        """Whether any of it has yet to be verified."""
        return any(not one.verified for one in self.releases)


@dataclass(frozen=True, slots=True)
class Serving:
    """What runs and answers."""

    workloads: tuple[WorkloadStatus, ...]
    urls: tuple[ProvenUrl, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a revision must answer besides being Available."""

    urls: Sequence[UrlPlan] = ()
    cors: Sequence[CorsPlan] = ()

    @property
    def needed(self) -> frozenset[tuple[str, str]]:
        """The Services and hosts that are asked, as `Known.needed` has them."""
        services = {(one.namespace, one.service) for one in self.urls if one.service}
        services |= {(one.namespace, one.service) for one in self.cors}
        return frozenset(services | {("", one.ingress_host) for one in self.urls if one.ingress_host})


class RolloutFailed(DeployError):
    """A failed verdict on releases that were applied."""


def rollout_of(run: Connected, deployed: Deployed, limits: Limits, since: float) -> Rollout:
    """What is to be watched of the releases; what was verified before is only looked at."""
    objects = [ref for one in deployed.releases for ref in one.objects]
    return Rollout(
        workloads_in(deployed.releases),
        run.kube, run.clock, limits, since,
        changed=deployed.is_new, look=run.look, kinds=surrounding_kinds(objects), releases=deployed.releases,
    )  # fmt: skip


def watch_rollout(rollout: Rollout) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """As `await_rollout`; the evidence of a failure is kept."""
    return evidence.recorded(await_rollout(rollout), rollout)


def verified(run: Connected, deployed: Deployed, limits: Limits, since: float, asked: Asked) -> Steps[Serving]:
    """All is Available, answers as asked and stayed so; the revisions are marked verified, or failed and raised."""
    rollout = replace(rollout_of(run, deployed, limits, since), needed=asked.needed)
    with verdict(run, deployed, since):
        workloads = yield from stage(rollout_stage.STAGE, watch_rollout(rollout.without_hold), run.clock)
        # A person may click as soon as all is Available; whether it stays so is seen while they do.
        proven = yield from stage(urls_stage.STAGE, check_urls(run, rollout, asked.urls), run.clock)
        seen = Serving(workloads.value, proven.value)
        stable = yield from stage(STABILITY, hold_steady(run, rollout, seen, asked), run.clock)
    return stable.value


def check_urls(run: Connected, rollout: Rollout, urls: Sequence[UrlPlan]) -> Steps[Outcome[tuple[ProvenUrl, ...]]]:
    """Every URL answers as the spec expects, or the evidence of the rollout behind it is kept."""
    return evidence.recorded(_ask(run, urls), rollout, success=False)


def _ask(run: Connected, urls: Sequence[UrlPlan]) -> Steps[Outcome[tuple[ProvenUrl, ...]]]:
    """The URLs are asked, through this machine's own ports where the node cannot be reached."""
    if run.forward is not None:
        yield from forwarding.ensure(run.forward, run.machine.env, run.clock)
    return (yield from urls_stage.prove_urls(urls, run.facts.address, run.kube, run.clock, run.local))


def hold_steady(run: Connected, rollout: Rollout, seen: Serving, asked: Asked) -> Steps[Outcome[Serving]]:
    """What is new stayed Available for the hold, answers still, and lets browsers read it as the spec says."""
    if not rollout.changed:
        return Outcome(seen, False, "was verified before")
    text = "not held (--hold 0)"
    if rollout.limits.hold:
        workloads = yield from within(STABILITY, watch_rollout(rollout))
        proven = yield from within(STABILITY, check_urls(run, rollout, asked.urls))
        seen = Serving(workloads.value, proven.value)
        text = f"{workloads.text}; {proven.text}" if asked.urls else workloads.text
    origins = {one.name: one.url for one in seen.urls}
    proof = urls_stage.prove_cors(asked.cors, origins, run.kube, run.clock)
    yield from within(STABILITY, evidence.recorded(proof, rollout, success=False))
    return Outcome(seen, rollout.limits.hold > 0, text)


@contextmanager
def verdict(run: Connected, deployed: Deployed, since: float) -> Iterator[None]:
    """What is done inside decides: the revisions are marked verified after it, or failed with `RolloutFailed` raised.

    A failure that says nothing of the releases (a lost lock, a cluster that does not answer) is raised on: the
    revision stays unfinished, and the next `up` goes on from there.
    """
    evidence.note_verdict(deployed.releases, "unfinished")
    try:
        yield
    except DeployError as error:
        if isinstance(error, LockLost) or error.exit_code is not ExitCode.NOTHING_SERVES:
            raise
        if not deployed.is_new:
            evidence.note_verdict(deployed.releases, "failed")
            raise _of_what_was_verified(run, deployed, error) from None
        raise failed(run, deployed, error, since) from None
    _judge(run, deployed, None, since)


def failed(run: Connected, deployed: Deployed, error: DeployError, since: float) -> RolloutFailed:
    """The failure as a verdict, which Helm and the history know by then."""
    if deployed.releases:
        _judge(run, deployed, error.problems[0], since)
    return RolloutFailed(error.problems, exit_code(deployed.record, run))


def exit_code(kept: Record, cluster: Connected | Opened) -> ExitCode:
    """That of a failed rollout, by whether the newest revision that was verified still has ready pods and answers."""
    sound = next((one for one in reversed(kept.history) if one.sound), None)
    if sound is not None:
        with suppress(DeployError, OSError):
            served = all(
                name in kept.releases and _serves(name, number, kept, cluster.kube)
                for name, number in sound.releases.items()
            )
            if served and urls_stage.all_answer(sound.urls or (), cluster.facts.address, cluster.kube, cluster.local):
                return ExitCode.PREVIOUS_SERVES
    return ExitCode.NOTHING_SERVES


def _serves(release: str, number: int, kept: Record, kube: KubePort) -> bool:
    """Whether each workload of the release's revision has a ready pod from before the next one."""
    namespace = kept.releases[release].namespace
    stored = storage.stored_revision(release, namespace, number, kube)
    later = [one for one in storage.revisions_of(release, namespace, kube) if one.revision > number]
    if stored is None:
        return False
    until = (epoch(later[0].created) if later else None) or float("inf")
    every = workloads_of(storage.stored_objects(stored, namespace))
    refs = [ref for ref in every if ref.kind not in ("Job", "CronJob") and "." not in ref.kind]
    snapshot = take_snapshot(refs, kube, events=False)
    return all(
        dig(find(ref, snapshot), "spec", "replicas") == 0
        or any(
            is_ready(pod) and (epoch(dig(pod, "metadata", "creationTimestamp")) or until) < until
            for pod in (*current_pods(ref, snapshot), *old_pods(ref, snapshot))
        )
        for ref in refs
    )


def _judge(run: Connected, deployed: Deployed, cause: Problem | None, since: float) -> None:
    """Helm's revisions without a verdict are failed by the cause, or verified without one; so is the last revision."""
    given: Literal["verified", "failed"] = "verified" if cause is None else "failed"
    for one in deployed.releases:
        if not one.verified:
            releases_stage.mark(one, given, f"{cause.code}: {cause.title}" if cause is not None else "", run.kube)
    evidence.note_verdict(deployed.releases, given)
    kept = deployed.record
    if kept.history and kept.history[-1].verdict == "unfinished":
        code, took = cause.code if cause is not None else "", run.clock.now() - since
        judged = replace(kept, history=history.judged(kept.history, given, code, took))
        record.save(run.kube, run.spec.namespace, run.spec.application, judged)


def _of_what_was_verified(run: Connected, deployed: Deployed, error: DeployError) -> DeployError:
    """The failure of what was verified before: another version was not asked for and need not be better.

    A cause of its own takes the verdict back.
    """
    from deployer.diagnosis.causes import is_its_own

    first, *rest = error.problems
    kept, why = deployed.record, "this very revision was verified before: the cause lies around it"
    if is_its_own(first.code):
        kept = take_back(kept, first, run.spec, run.kube)
        why = "this revision was verified before, and is so no longer"
    hints = (*first.hints, "todo-deploy restart", "todo-deploy rollback, if an earlier version may serve instead")
    detail = "\n".join(filter(None, (first.detail, why)))
    return DeployError((replace(first, detail=detail, hints=hints), *rest), exit_code(kept, run))


def take_back(kept: Record, cause: Problem, spec: Spec, kube: KubePort) -> Record:
    """Helm and the history say of the last revision, which was verified, that it failed by this cause since."""
    if not kept.history or kept.history[-1].verdict != "verified":
        return kept
    for name, one in kept.releases.items():
        workloads = {str(ref) for ref in workloads_of(one.objects)}
        if "/".join(cause.where.split("/")[:2]) in workloads:
            was = Applied(name, one.namespace, one.revision, False, "", one.inputs, one.objects, True)
            releases_stage.mark(was, "failed", f"{cause.code}: {cause.title}", kube)
            evidence.note_verdict((replace(was, verified=False),), "failed")
    past = history.judged(kept.history, "failed", cause.code, kept.history[-1].seconds)
    return record.save(kube, spec.namespace, spec.application, replace(kept, history=past))


def _reconsidered(run: Connected, planned: Planned) -> Steps[Planned]:
    """The plan, with the verdict on what runs taken back where that fails by now: no rollback is to return to it."""
    kept = planned.record
    refs = workloads_in(kept.releases.values())
    if not kept.history or kept.history[-1].verdict != "verified" or not refs:
        return planned
    snapshot, now = take_snapshot(refs, run.kube), run.clock.now()
    limits = limits_from(run.spec.rollout, seconds(run.spec.rollout.timeout))
    done = all(is_done(workload_status(ref, snapshot, now), limits, now) for ref in refs)
    if done and not has_restarted(refs, snapshot, now):
        return planned
    from deployer.diagnosis import problem
    from deployer.rollout.hold import relapse

    found = relapse(snapshot, refs, run.kube, now)
    if found is None:
        return planned
    title = f"revision {kept.history[-1].number} is no longer verified: {found.title}"
    yield Warned(Problem("VERDICT_TAKEN_BACK", title, hints=("todo-deploy history",)))
    return replace(planned, record=take_back(kept, problem(found), run.spec, run.kube))


NOT_FINISHED = "helm did not come to its end"


def deploy(run: Connected, planned: Planned, limits: Limits) -> Steps[Outcome[Deployed]]:
    """Every release is at the plan's revision, wave by wave, and the cluster's record knows it.

    Where helm fails, what it has begun is a failed revision of which the evidence is kept; nothing begun, no revision.
    """
    applied: list[Applied] = []
    if planned.has_changes:
        planned = yield from _reconsidered(run, planned)
    kept, since = planned.record, run.clock.now()

    def apply(one: ReleasePlan) -> Callable[[], Steps[Outcome[Applied]]]:
        known = kept.releases.get(one.name)
        at_work = HelmAtWork(
            releases_stage.STAGE,
            ((one.name, one.namespace),),
            run.kube,
            run.clock,
            limits,
            one.timeout,
            evidence.text_writer(),
        )
        prepared = planned.prepared.get(one.name, releases_stage.NOTHING)

        def steps() -> Steps[Outcome[Applied]]:
            yield from releases_stage.prepare(one.name, one.namespace, prepared, run.kube, run.clock)
            wanted = replace(one, force_conflicts=prepared.force_conflicts, buildable=prepared.buildable,
                             accepted=prepared.accepted)  # fmt: skip
            return (yield from releases_stage.ensure_release(wanted, known, run.kube, run.helm, run.clock, run.id))

        return lambda: hooks.watched(steps(), at_work)

    for wave in releases_stage.ordered(planned.plan.releases):
        places = [(one.name, one.namespace) for one in wave]
        try:
            yield from _await_needed(run, wave, applied, limits)
            done = yield from merge({one.name: apply(one) for one in wave})
            if kept.history and kept.history[-1].verdict != "verified":
                yield from rollback_stage.free_blocked([one.value for one in done.values()], run.kube, run.clock)
        except KeyboardInterrupt:
            with suppress(DeployError):
                made = (*applied, *begun(places, kept, run.kube))
                _remember(run, replace(planned, partial=True), made)
            raise
        except DeployError as error:
            if isinstance(error, LockLost) or error.exit_code is ExitCode.MACHINE:
                raise  # no verdict on what was applied: the next `up` goes on from there
            made = (*applied, *begun(places, kept, run.kube))
            if not any(one.changed for one in made):
                raise
            deployed = _remember(run, replace(planned, partial=True), made)
            failure = yield from with_evidence(error, rollout_of(run, deployed, limits, since))
            raise failed(run, deployed, failure, since) from None
        applied += [done[release.name].value for release in wave]
    changed = [one for one in applied if one.changed]
    text = ", ".join(f"{one.name} revision {one.revision}" for one in changed) or f"{len(applied)} unchanged"
    return Outcome(_remember(run, planned, applied), bool(changed), text)


def _await_needed(
    run: Connected, wave: Sequence[ReleasePlan], applied: Sequence[Applied], limits: Limits
) -> Steps[None]:
    """What the wave's releases need is Available, judged as the rollout will be."""
    needed = {need for release in wave for need in release.needs}
    those = tuple(one for one in applied if one.name in needed)
    if refs := workloads_in(those):
        since, look = run.clock.now(), run.look
        rollout = Rollout(refs, run.kube, run.clock, limits, since, changed=False, look=look, releases=those)
        yield from within(releases_stage.STAGE, await_rollout(rollout.without_hold))


def with_evidence(error: DeployError, rollout: Rollout) -> Steps[DeployError]:
    """The failure, which says where its evidence is kept."""
    try:
        yield from evidence.recorded(_raising(error), rollout)
    except DeployError as kept:
        return kept
    return error


def _raising(error: DeployError) -> Steps[None]:
    yield from ()
    raise error


def begun(places: Sequence[tuple[str, str]], kept: Record, kube: KubePort) -> tuple[Applied, ...]:
    """The revisions that this run made of the releases (name, namespace), finished or not; none where it made none.

    Helm stores a revision before it touches an object: without one nothing was changed.
    """
    found = []
    for name, namespace in places:
        secret = releases_stage.made_here(name, namespace, kube)
        before = kept.releases[name].revision if name in kept.releases else 0
        if secret is None:
            continue
        (made,) = storage.revisions([secret], name)
        if made.revision <= before:
            continue
        objects = storage.stored_objects(secret, namespace)
        found.append(Applied(name, namespace, made.revision, True, NOT_FINISHED, made.inputs, objects, verified=False))
    return tuple(found)


def _remember(run: Connected, planned: Planned, applied: Sequence[Applied]) -> Deployed:
    """The cluster's record knows what was applied, and a new revision where that changed something."""
    kept, images = planned.record, planned.plan.images
    fresh = record.with_tags(kept, {image.repository: {image.tag: image.content} for image in images})
    changed = [one for one in applied if one.changed]
    past = kept.history
    for one in changed:
        past = history.without_gone(past, one.name, one.revision)
    if changed:
        entry = _entry(run, planned, past[-1] if planned.partial and past else None, applied)
        fresh = replace(fresh, history=history.begun(past, entry))
    return remembered(run, kept, fresh, applied)


def remembered(run: Connected, kept: Record, fresh: Record, applied: Sequence[Applied]) -> Deployed:
    """The cluster's record is the fresh one, with the releases as they were applied; written only where that is news.

    Helm keeps the revisions of them that a rollback within the history needs.
    """
    for one in applied:
        fresh = record.with_release(
            fresh, one.name, ReleaseRecord(one.namespace, one.revision, one.inputs, one.objects)
        )
    if fresh != kept:
        fresh = record.save(run.kube, run.spec.namespace, run.spec.application, fresh)
    for one in applied:
        if one.changed:
            needed = {entry.releases[one.name] for entry in fresh.history if one.name in entry.releases}
            releases_stage.trim(one.name, one.namespace, needed, run.kube)
    return Deployed(tuple(applied), fresh)


def _entry(run: Connected, planned: Planned, before: Entry | None, applied: Sequence[Applied]) -> Entry:
    """The revision; of a part, with what the application's other parts are at since `before`."""
    plan, commit = planned.plan, planned.commit
    own = {one.name for one in applied}
    others = {name: revision for name, revision in (before.releases if before else {}).items() if name not in own}
    proven = {name for name in others if before and before.verdict == "verified" and name not in before.unproven}
    # How the rollout is judged, the deadline being that of the longest release.
    longest = max((one.timeout for one in plan.releases), default=seconds(run.spec.rollout.timeout))
    return Entry(
        number=0,
        run=run.id,
        at=run.clock.now(),
        who=user_and_host(),
        why="; ".join(f"{one.name}: {one.reason}" for one in applied if one.changed),
        commit=commit.sha if commit is not None else "",
        dirty=commit is not None and not commit.clean,
        images={**(before.images if before else {}), **{image.name: image.ref for image in plan.images}},
        secrets=tuple(
            KeptSecretRef(one.namespace, one.served, one.copy) for one in plan.secrets if not one.of_registry
        ),
        releases={**others, **{one.name: one.revision for one in applied}},
        inputs={**{name: before.inputs.get(name, "") for name in others if before},
                **{one.name: one.inputs for one in applied}},
        schema={**(before.schema if before else {}),
                **{image.name: found for image in plan.images if (found := migrations_of(image))}},
        unproven=tuple(name for name in others if name not in proven),
        urls=plan.urls,
        cors=plan.cors,
        rollout={**run.spec.rollout.model_dump(mode="json"), "timeout": f"{longest}s"},
    )  # fmt: skip
