"""The story of `rollback`: choose a revision, see that all of it is still there, go back to it, watch it serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from deployer import evidence
from deployer.commands import deploy as deploying
from deployer.commands import migrations
from deployer.commands import rebuild as restoring
from deployer.commands import up as pipeline
from deployer.commands.deploy import Connected, Deployed, RolloutFailed, needed_revisions
from deployer.commands.interrupted import cut_short
from deployer.commands.up import UpOptions, UpResult
from deployer.composition import World
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec, seconds
from deployer.core.errors import DeployError, ExitCode, Problem, refused
from deployer.core.events import Item, ItemState, Warned
from deployer.core.process_identity import whoami
from deployer.core.steps import Outcome, Steps, stage
from deployer.helm.result import Applied
from deployer.plan import url_plans
from deployer.rollout import hooks
from deployer.rollout import stage as rollout_stage
from deployer.rollout.hooks import Place
from deployer.rollout.stage import judging_by
from deployer.stages import cluster as cluster_stage
from deployer.stages import releases as releases_stage
from deployer.stages import reverting
from deployer.stages import urls as urls_stage
from deployer.stages.urls import ProvenUrl
from deployer.state import history, record
from deployer.state.cluster_lock import leased
from deployer.state.history import Entry
from deployer.state.record import Record, ReleaseRecord
from deployer.status import WorkloadStatus
from deployer.toolchain import STAGE as TOOLCHAIN

T = TypeVar("T")

STAGES = (
    TOOLCHAIN, cluster_stage.STAGE, reverting.STAGE, rollout_stage.STAGE, urls_stage.STAGE, deploying.STABILITY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RollbackOptions:
    """What the command line asks of this rollback."""

    run: str
    to: int | None = None
    hold: float | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The revision that serves again, and how it stands."""

    target: Entry
    releases: tuple[Applied, ...]
    workloads: tuple[WorkloadStatus, ...]
    urls: tuple[ProvenUrl, ...]


def rollback(loaded: LoadedSpec, env: Mapping[str, str], options: RollbackOptions, here: World) -> Steps[RolledBack]:
    """The newest revision that was verified healthy, or the one asked for, serves again and is verified anew."""
    cluster = yield from pipeline.reach(loaded, here)
    return (
        yield from alone(loaded, cluster.value, options.run, here, go_back(loaded, env, cluster.value, options, here))
    )


def go_back(
    loaded: LoadedSpec, env: Mapping[str, str], connected: Connected, options: RollbackOptions, here: World
) -> Steps[RolledBack]:
    """As `rollback`, on a cluster that is connected already."""
    spec, clock = loaded.spec, here.clock
    kept = record.load(connected.kube, spec.namespace, spec.application)
    entry = chosen(kept, options.to, cut_short(kept, connected.kube) if options.to is None else None)
    own = [one.timeout or spec.rollout.timeout for name, one in spec.releases.items() if name in entry.releases]
    timeout = options.timeout or max(map(seconds, own or [spec.rollout.timeout]))
    judging = judging_by(spec.rollout, timeout, own_timeout=options.timeout, hold=options.hold)
    since = clock.now()

    def body() -> Steps[Outcome[Deployed]]:
        yield Item(reverting.STAGE, "target", ItemState.DONE, _why(entry, kept))
        for problem in _cautions(entry, kept, spec):
            yield Warned(problem)
        yield from restoring.restore(entry, kept, loaded, env, connected, here)
        releases = tuple((name, kept.releases[name].namespace) for name in entry.releases)
        place = Place(releases, connected.kube, clock, judging, evidence.keeper())
        reverting_steps = reverting.revert(entry, kept, connected.kube, connected.helm, timeout, clock)
        try:
            done = yield from hooks.beside(reverting_steps, place)
        except DeployError as error:
            # To helm's adapter a helm that fails is what somebody wrote; here it was deployed before.
            if error.exit_code is ExitCode.INPUT:
                error.exit_code = ExitCode.NOTHING_SERVES
            raise
        fresh = _remembered(kept, entry, done.value, options.run, clock.now())
        saved = record.save(connected.kube, spec.namespace, spec.application, fresh)
        for one in done.value:
            releases_stage.trim(one.name, one.namespace, needed_revisions(saved, one.name), connected.kube)
        return Outcome(Deployed(spec.application, spec.namespace, done.value, saved), True, done.text)

    deployed = (yield from stage(reverting.STAGE, body(), clock)).value
    workloads, urls = yield from deploying.settle(
        deployed, url_plans(spec, env), connected, judging, since, clock
    )  # fmt: skip
    return RolledBack(entry, deployed.releases, workloads, urls)


def up_or_back(loaded: LoadedSpec, env: Mapping[str, str], options: UpOptions, here: World) -> Steps[UpResult]:
    """As `up`; after a failed verdict the newest verified revision serves again, unless that was not wanted.

    A first install that failed is kept for inspection. The failure is raised either way, with its own exit code.
    """
    cluster = yield from pipeline.reach(loaded, here, recreate=options.recreate)
    work = _apply_or_back(loaded, env, cluster, options, here)
    return (yield from alone(loaded, cluster.value, options.run, here, work))


def alone(loaded: LoadedSpec, connected: Connected, run: str, here: World, work: Steps[T]) -> Steps[T]:
    """The work, while no other run from whichever machine works on the application."""
    return (yield from leased(connected.kube, loaded.spec.application, run, here.clock, work))


def _apply_or_back(
    loaded: LoadedSpec, env: Mapping[str, str], cluster: Outcome[Connected], options: UpOptions, here: World
) -> Steps[UpResult]:
    try:
        return (yield from pipeline.apply(loaded, env, cluster, options, here))
    except RolloutFailed as failed:
        spec, kube = loaded.spec, cluster.value.kube
        kept = record.load(kube, spec.namespace, spec.application).history
        entry = history.target(kept)
        why = _kept_why(kept, wanted=(options.on_failure or spec.rollout.on_failure) != "keep")
        if why is not None or entry is None:
            yield Warned(why or _NOTHING_SOUND)
            raise
        yield Warned(Problem("ROLLING_BACK", f"going back to revision {entry.number}", failed.problems[0].title))
        back = RollbackOptions(options.run, entry.number, options.hold, options.timeout)
        try:
            yield from go_back(loaded, env, cluster.value, back, here)
        except DeployError as second:
            raise DeployError((*failed.problems, *second.problems), ExitCode.NOTHING_SERVES) from None
        told = Problem("ROLLED_BACK", f"revision {entry.number} serves again", hints=("todo-deploy history",))
        raise DeployError((*failed.problems, told), ExitCode.PREVIOUS_SERVES) from None


_NOTHING_SOUND = Problem(
    "FAILED_KEPT",
    "no revision was verified before: what failed is kept, to be looked at",
    hints=("todo-deploy status", "todo-deploy logs", "todo-deploy down, to clean up (volumes stay)"),
)


def _kept_why(kept: Sequence[Entry], *, wanted: bool) -> Problem | None:
    """Why a failed revision stays although the history has others; None where one of them is to serve again."""
    newest = next((one for one in reversed(kept[:-1]) if one.sound), None)
    if newest is None:
        return _NOTHING_SOUND
    if not wanted:
        title = f"what failed is kept, as asked; revision {newest.number} was verified"
        return Problem("FAILED_KEPT", title, hints=("todo-deploy rollback",))
    if history.same(newest, kept[-1]):
        # An older version was not asked for, and need not be better.
        title = f"nothing had changed since revision {newest.number} was verified: no older version is brought back"
        return Problem("FAILED_KEPT", title, hints=("todo-deploy history", "todo-deploy rollback --to REV"))
    return None


def chosen(kept: Record, wanted: int | None, cut_short: Mapping[str, str] | None = None) -> Entry:
    """The revision to go back to; refused, with what there is, where there is none."""
    entry = history.target(kept.history, wanted, cut_short)
    if entry is None:
        asked = f"no revision {wanted}" if wanted is not None else "no earlier revision was verified healthy"
        raise refused(
            "ROLLBACK_NO_TARGET",
            asked,
            detail=f"revisions: {reverting.names(kept.history)}",
            hints=("todo-deploy history",),
        )
    return entry


def _why(entry: Entry, kept: Record) -> str:
    """The choice and its reason."""
    last = kept.history[-1]
    passed = [str(one.number) for one in kept.history if entry.number < one.number < last.number]
    skipped = f"; not {', '.join(passed)}: failed, not verified as a whole, or the same as now" if passed else ""
    made = f", commit {entry.commit[:7]}" if entry.commit else ""
    return f"revision {entry.number} ({entry.told}), run {entry.run}{made}{skipped}"


def _cautions(entry: Entry, kept: Record, spec: Spec) -> tuple[Problem, ...]:
    """What a person should know of the way back: data that moved on, and releases that are left as they are."""
    later = [name for name in kept.releases if name not in entry.releases]
    title = f"revision {entry.number} did not have release `{{}}`, which stays as it is"
    extra = tuple(
        Problem("ROLLBACK_EXTRA", title.format(name),
                hints=(f"helm uninstall {name} --namespace {kept.releases[name].namespace}",))
        for name in later
    )  # fmt: skip
    return (*migrations.warnings(migrations.moved_since(kept.history, entry), spec, entry.number), *extra)


def _remembered(kept: Record, entry: Entry, applied: tuple[Applied, ...], run: str, now: float) -> Record:
    for one in applied:
        kept = record.with_release(kept, one.name, ReleaseRecord(one.namespace, one.revision, one.inputs, one.objects))
    again = replace(
        entry,
        run=run,
        at=now,
        who=whoami(),
        why=f"rollback to revision {entry.number}",
        releases={one.name: one.revision for one in applied},
        verdict="unfinished",
        cause="",
        back_to=entry.number,
    )
    return replace(kept, history=history.begun(kept.history, again))
