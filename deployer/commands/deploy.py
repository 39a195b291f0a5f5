"""From a plan to applied releases: wave by wave, hooks watched while helm works, remembered in the cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deployer import evidence
from deployer.commands.migrations import migrations_of
from deployer.commands.planning import Planned
from deployer.commands.verdict import Deployed, failed, rollout_of
from deployer.composition import Connected
from deployer.core.errors import DeployError, ExitCode
from deployer.core.ports import KubePort
from deployer.core.process_identity import user_and_host
from deployer.core.steps import Outcome, Steps, merge, within
from deployer.helm import storage as helmstorage
from deployer.helm.storage import Applied, objects_of
from deployer.plan import ReleasePlan
from deployer.rollout import hooks
from deployer.rollout.hooks import HelmAtWork
from deployer.rollout.stage import Limits, Rollout, await_rollout, workloads_of
from deployer.stages import releases as releases_stage
from deployer.state import history, record
from deployer.state.cluster_lock import LockLost
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record, ReleaseRecord

NOT_FINISHED = "helm did not come to its end"


def deploy(run: Connected, planned: Planned, limits: Limits) -> Steps[Outcome[Deployed]]:
    """Every release is at the plan's revision, wave by wave, and the cluster's record knows it.

    Where helm fails, what it has begun is a failed revision of which the evidence is kept; nothing begun, no revision.
    """
    applied: list[Applied] = []
    kept, since = planned.record, run.clock.now()

    def apply(one: ReleasePlan) -> Callable[[], Steps[Outcome[Applied]]]:
        known = kept.releases.get(one.name)
        at_work = HelmAtWork(
            releases_stage.STAGE, ((one.name, one.namespace),), run.kube, run.clock, limits, evidence.text_writer()
        )
        helm = releases_stage.ensure_release(one, known, run.kube, run.helm, run.clock, run.id)
        return lambda: hooks.watched(helm, at_work)

    for wave in releases_stage.ordered(planned.plan.releases):
        try:
            yield from _await_needed(run, wave, applied, limits)
            done = yield from merge({one.name: apply(one) for one in wave})
        except DeployError as error:
            if isinstance(error, LockLost) or error.exit_code is ExitCode.MACHINE:
                raise  # no verdict on what was applied: the next `up` goes on from there
            made = (*applied, *_begun(wave, kept, run.kube))
            if not any(one.changed for one in made):
                raise
            deployed = _remember(run, replace(planned, partial=True), made)
            failure = yield from _with_evidence(error, rollout_of(run, deployed, limits, since))
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
    refs = tuple(ref for one in applied if one.name in needed for ref in workloads_of(one.objects))
    if refs:
        rollout = Rollout(refs, run.kube, run.clock, limits, run.clock.now(), changed=False, look=run.look)
        yield from within(releases_stage.STAGE, await_rollout(rollout.without_hold))


def _with_evidence(error: DeployError, rollout: Rollout) -> Steps[DeployError]:
    """The failure, which says where its evidence is kept."""
    try:
        yield from evidence.recorded(_raising(error), rollout)
    except DeployError as kept:
        return kept
    return error


def _raising(error: DeployError) -> Steps[None]:
    yield from ()
    raise error


def _begun(wanted: Sequence[ReleasePlan], kept: Record, kube: KubePort) -> tuple[Applied, ...]:
    """The revisions that this run made of the releases, finished or not; none of those that it did not reach.

    Helm stores a revision before it touches an object: without one nothing was changed.
    """
    found = []
    for one in wanted:
        secret = releases_stage.made_here(one.name, one.namespace, kube)
        before = kept.releases[one.name].revision if one.name in kept.releases else 0
        if secret is None:
            continue
        (made,) = helmstorage.revisions([secret], one.name)
        if made.revision <= before:
            continue
        objects = tuple(objects_of(helmstorage.manifest_of(secret), one.namespace))
        found.append(
            Applied(one.name, one.namespace, made.revision, True, NOT_FINISHED, made.inputs, objects, verified=False)
        )
    return tuple(found)


def _remember(run: Connected, planned: Planned, applied: Sequence[Applied]) -> Deployed:
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
        entry = _entry(run, planned, past[-1] if planned.partial and past else None, applied)
        fresh = replace(fresh, history=history.begun(past, entry))
    if fresh != kept:
        fresh = record.save(run.kube, plan.namespace, plan.application, fresh)
    for one in changed:
        releases_stage.trim(one.name, one.namespace, needed_revisions(fresh, one.name), run.kube)
    return Deployed(plan.application, plan.namespace, tuple(applied), fresh)


def needed_revisions(kept: Record, release: str) -> set[int]:
    """The release's revisions that a revision of the kept history needs for a rollback."""
    return {one.releases[release] for one in kept.history if release in one.releases}


def _entry(run: Connected, planned: Planned, before: Entry | None, applied: Sequence[Applied]) -> Entry:
    """The revision; of a part, with what the application's other parts are at since `before`."""
    plan, commit = planned.plan, planned.commit
    own = {one.name for one in applied}
    others = {name: revision for name, revision in (before.releases if before else {}).items() if name not in own}
    return Entry(
        number=0,
        run=run.id,
        at=run.clock.now(),
        who=user_and_host(),
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
