"""`rollback`, from top to bottom, and the rollback that follows a failed `up`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deployer import evidence, forwarding
from deployer.cluster import ownership
from deployer.commands import rebuild
from deployer.commands.connection import connect, one_at_a_time
from deployer.commands.deploy import (
    STABILITY,
    Asked,
    Deployed,
    RolloutFailed,
    begun,
    exit_code,
    failed,
    remembered,
    rollout_of,
    verified,
    with_evidence,
)
from deployer.commands.toolchain import ensure_tools
from deployer.composition import Connected, Run
from deployer.config.spec import Spec, seconds
from deployer.core.errors import DeployError, ExitCode, Problem, refused
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import KubePort
from deployer.core.process import user_and_host
from deployer.core.steps import Outcome, Steps, stage
from deployer.helm.storage import Applied, latest_of
from deployer.plan import url_plans
from deployer.rollout import hooks
from deployer.rollout import stage as rollout_stage
from deployer.rollout.hooks import HelmAtWork
from deployer.rollout.stage import Limits, limits_from
from deployer.stages import cluster as cluster_stage
from deployer.stages import rollback as rollback_stage
from deployer.stages import urls as urls_stage
from deployer.stages.urls import ProvenUrl
from deployer.state import history, record
from deployer.state.history import Entry
from deployer.state.lock import LockLost
from deployer.state.record import Record
from deployer.status import WorkloadStatus
from deployer.toolchain import STAGE as TOOLCHAIN

if TYPE_CHECKING:
    from deployer.commands.up import UpOptions

STAGES = (
    TOOLCHAIN, cluster_stage.STAGE, rollback_stage.STAGE, rollout_stage.STAGE, urls_stage.STAGE, STABILITY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """What the command line asks of this rollback; `to` is a number of the history."""

    to: int | None = None
    hold: float | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The revision that runs again, and how it stands."""

    target: Entry
    releases: tuple[Applied, ...]
    workloads: tuple[WorkloadStatus, ...]
    urls: tuple[ProvenUrl, ...]


@one_at_a_time
def rollback(run: Run, options: RollbackOptions) -> Steps[RolledBack]:
    """The newest revision that was verified healthy, or the one asked for, runs again and is verified anew."""
    tools = yield from stage(TOOLCHAIN, ensure_tools(run.spec, run.machine), run.clock)
    cluster = yield from stage(cluster_stage.STAGE, connect(run, tools.value), run.clock)
    yield from run.lock.take(cluster.value.kube)
    return (yield from roll_back(cluster.value, options))


def roll_back(run: Connected, options: RollbackOptions) -> Steps[RolledBack]:
    """As `rollback`, on a cluster that is connected already."""
    spec, clock, since = run.spec, run.clock, run.clock.now()
    kept = record.load(run.kube, spec.namespace, spec.application)
    entry = target(kept, options.to, _begun_by_killed_run(kept, run.kube) if options.to is None else None)
    for one in ownership.refuse_foreign(ownership.touched_by_record(spec.application, kept), run.kube):
        yield Warned(one)
    limits = _limits_of(spec, entry, options)
    applied = yield from stage(rollback_stage.STAGE, _apply(run, entry, kept, limits, since), clock)
    asked = _asked(run, entry, applied.value)
    if run.forward is not None:
        run = replace(run, forward=forwarding.with_urls(run.forward, asked.urls))
    serving = yield from verified(run, applied.value, limits, since, asked)
    return RolledBack(entry, applied.value.releases, serving.workloads, serving.urls)


def _asked(run: Connected, entry: Entry, deployed: Deployed) -> Asked:
    """What was asked of the revision in its time; of one whose record does not say, what today's spec asks of it."""
    if entry.urls is not None:
        return Asked(entry.urls, entry.cors)
    there = {(ref.kind, ref.namespace, ref.name) for one in deployed.releases for ref in one.objects}
    urls = url_plans(run.spec, run.values)
    return Asked([one for one in urls if not one.service or ("Service", one.namespace, one.service) in there])


def _apply(run: Connected, entry: Entry, kept: Record, limits: Limits, since: float) -> Steps[Outcome[Deployed]]:
    """All that the revision needs is there, its releases are applied again, and the cluster's record knows it.

    Where helm fails, what it has begun is a failed revision of which the evidence is kept; nothing begun, no revision.
    """
    spec, kube, clock = run.spec, run.kube, run.clock
    yield Item(rollback_stage.STAGE, "target", ItemState.DONE, _why(entry, kept))
    for problem in _cautions(entry, kept, spec):
        yield Warned(problem)
    yield from rebuild.ensure_revision(run, entry, kept)
    releases = tuple((name, kept.releases[name].namespace) for name in entry.releases)
    at_work = HelmAtWork(rollback_stage.STAGE, releases, kube, clock, limits, limits.timeout, evidence.text_writer())
    helm = rollback_stage.apply_revision(entry, kept, kube, run.helm, limits.timeout, clock)
    try:
        done = yield from hooks.watched(helm, at_work)
    except KeyboardInterrupt:
        with suppress(DeployError):
            _remember(run, kept, entry, begun(releases, kept, kube))
        raise
    except DeployError as error:
        if isinstance(error, LockLost) or error.exit_code is ExitCode.MACHINE:
            raise
        made = begun(releases, kept, kube)
        if not made and error.exit_code is ExitCode.REFUSED:
            raise
        deployed = _remember(run, kept, entry, made)
        failure = yield from with_evidence(error, rollout_of(run, deployed, limits, since))
        raise failed(run, deployed, failure, since) from None
    deployed = _remember(run, kept, entry, done.value)
    yield from rollback_stage.free_blocked(done.value, kube, clock)
    return Outcome(deployed, done.changed, done.text)


def _remember(run: Connected, kept: Record, entry: Entry, applied: tuple[Applied, ...]) -> Deployed:
    """The cluster's record knows the revision that is that one again, without a verdict yet, where it was begun."""
    if not applied:
        return Deployed((), kept)
    # What helm did not come to is as it was.
    releases = {name: one.revision for name, one in kept.releases.items() if name in entry.releases}
    inputs = {name: kept.releases[name].inputs for name in releases}
    again = replace(
        entry,
        run=run.id,
        at=run.clock.now(),
        who=user_and_host(),
        why=f"rollback to revision {entry.number}",
        releases=releases | {one.name: one.revision for one in applied},
        inputs=inputs | {one.name: one.inputs for one in applied},
        verdict="unfinished",
        cause="",
        back_to=entry.number,
    )
    return remembered(run, kept, replace(kept, history=history.begun(kept.history, again)), applied)


def automatic_rollback(run: Connected, first: RolloutFailed, options: UpOptions) -> Steps[DeployError]:
    """The failure to raise, once the newest verified revision runs again; what failed stays where that is not wanted.

    A first install that failed is kept for inspection.
    """
    kept = record.load(run.kube, run.spec.namespace, run.spec.application).history
    entry = history.target(kept)
    why = _kept_why(kept, wanted=(options.on_failure or run.spec.rollout.on_failure) != "keep")
    if why is not None or entry is None:
        yield Warned(why or _NOTHING_SOUND)
        return first
    yield Warned(Problem("ROLLING_BACK", f"rolling back to revision {entry.number}", first.problems[0].title))
    try:
        yield from roll_back(run, RollbackOptions(entry.number, options.hold, options.timeout))
    except DeployError as second:
        now = record.load(run.kube, run.spec.namespace, run.spec.application)
        return DeployError((*first.problems, *second.problems), exit_code(now, run))
    done = Problem("ROLLED_BACK", f"rolled back to revision {entry.number}", hints=("todo-deploy history",))
    return DeployError((*first.problems, done), ExitCode.PREVIOUS_SERVES)


def _limits_of(spec: Spec, entry: Entry, options: RollbackOptions) -> Limits:
    """How the rollout is judged: as the command line says, then as it was, else the spec for the longest release."""
    rules = entry.rules(spec.rollout)
    own = [one.timeout or rules.timeout for name, one in spec.releases.items() if name in entry.releases]
    timeout = seconds(rules.timeout) if entry.rollout else max(map(seconds, own or [rules.timeout]))
    return limits_from(rules, timeout, own_timeout=options.timeout, hold=options.hold)


def _begun_by_killed_run(kept: Record, kube: KubePort) -> Mapping[str, str] | None:
    """The inputs of every release as Helm has it, where a killed run has made a revision that the record does not know.

    None where the record knows the newest of each.
    """
    inputs, unknown = {}, False
    for name, known in kept.releases.items():
        latest = latest_of(name, known.namespace, kube)
        inputs[name] = latest.inputs if latest is not None else known.inputs
        unknown |= latest is not None and latest.revision > known.revision
    return inputs if unknown else None


_NOTHING_SOUND = Problem(
    "FAILED_KEPT",
    "no revision was verified before: the failed one is kept for inspection",
    hints=("todo-deploy status", "todo-deploy logs", "todo-deploy down, to clean up (volumes stay)"),
)


def _kept_why(kept: Sequence[Entry], *, wanted: bool) -> Problem | None:
    """Why a failed revision stays although the history has others; None where one of them is to run again."""
    newest = next((one for one in reversed(kept[:-1]) if one.sound), None)
    if newest is None:
        return _NOTHING_SOUND
    if not wanted:
        title = f"the failed revision is kept, as requested; revision {newest.number} was verified"
        return Problem("FAILED_KEPT", title, hints=("todo-deploy rollback",))
    if history.same(newest, kept[-1]):
        # An older version was not asked for, and need not be better.
        title = f"nothing had changed since revision {newest.number} was verified: no rollback to an older version"
        return Problem("FAILED_KEPT", title, hints=("todo-deploy history", "todo-deploy rollback --to REV"))
    return None


def target(kept: Record, wanted: int | None, begun: Mapping[str, str] | None = None) -> Entry:
    """The revision to roll back to; refused, with what there is, where there is none."""
    entry = history.target(kept.history, wanted, begun)
    if entry is None:
        title = f"no revision {wanted}" if wanted is not None else "no earlier revision was verified healthy"
        there = ", ".join(f"{one.number} ({one.verdict_text})" for one in kept.history) or "none"
        raise refused("ROLLBACK_NO_TARGET", title, detail=f"revisions: {there}", hints=("todo-deploy history",))
    return entry


def _why(entry: Entry, kept: Record) -> str:
    """The choice and its reason."""
    last = kept.history[-1]
    passed = [str(one.number) for one in kept.history if entry.number < one.number < last.number]
    skipped = f"; not {', '.join(passed)}: failed, not verified as a whole, or the same as now" if passed else ""
    made = f", commit {entry.commit[:7]}" if entry.commit else ""
    return f"revision {entry.number} ({entry.verdict_text}), run {entry.run}{made}{skipped}"


def _cautions(entry: Entry, kept: Record, spec: Spec) -> tuple[Problem, ...]:
    """What a person should know before the rollback: data that moved on, and releases that are left as they are."""
    later = [name for name in kept.releases if name not in entry.releases]
    title = f"revision {entry.number} did not have release `{{}}`, which stays as it is"
    extra = tuple(
        Problem("ROLLBACK_EXTRA", title.format(name),
                hints=(f"helm uninstall {name} --namespace {kept.releases[name].namespace}",))
        for name in later
    )  # fmt: skip
    moved = rebuild.moved_since(kept.history, entry)
    return (*(rebuild.warning(one, spec, entry.number) for one in moved), *extra)
