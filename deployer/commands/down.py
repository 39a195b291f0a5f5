"""`down`, from top to bottom: releases, Secrets, and on demand volumes, record and namespaces, or the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from deployer import composition, evidence, forwarding
from deployer.commands.connection import Opened, Seen, one_at_a_time, open_locked, refuse_shared, see_cluster
from deployer.commands.toolchain import ensure_tools
from deployer.composition import Run
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Item, ItemState
from deployer.core.ports import ClusterPort, HelmPort
from deployer.core.steps import Clock, Outcome, Steps, outcome_only, stage
from deployer.helm.recovery import is_unfinished
from deployer.helm.storage import made_by_hooks, revisions_of
from deployer.rollout import hooks
from deployer.rollout.hooks import HelmAtWork
from deployer.rollout.stage import limits_from
from deployer.stages import removal
from deployer.state import record
from deployer.status import ClusterPhase
from deployer.toolchain import STAGE as TOOLCHAIN

STAGES = (TOOLCHAIN, removal.STAGE)


@dataclass(frozen=True, slots=True)
class DownOptions:
    """What is removed beside the releases."""

    volumes: bool
    cluster: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """How many things of each kind were removed."""

    releases: int = 0
    secrets: int = 0
    volumes: int = 0
    cluster: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was."""
        return bool(self.releases or self.secrets or self.volumes or self.cluster)


@one_at_a_time
def down(run: Run, options: DownOptions) -> Steps[Removed]:
    """What `up` made is gone, as far as it was asked for; a cluster that does not run is only reported."""
    tools = yield from stage(TOOLCHAIN, ensure_tools(run.spec, run.machine), run.clock)
    cluster = composition.open_cluster(run.machine, run.spec.cluster, tools.value)
    seen = see_cluster(run.loaded, run.machine)
    if options.cluster:
        kube = refuse_shared(run.loaded, seen.facts, run.machine)
        if kube is not None:  # no other run is at work; the lock itself goes with the cluster
            yield from run.lock.take(kube)
            run.lock.release()
        removing = delete_cluster(seen, cluster)
    elif seen.facts.phase is ClusterPhase.MISSING:
        removing = outcome_only(Outcome(Removed(), False, "there is no cluster"))
    else:
        opened = yield from open_locked(run, removal=True)
        helm = composition.open_helm(run.machine, run.spec.cluster, tools.value, opened.facts)
        removing = remove_application(opened, options, helm, cluster, run.clock)
    forwarding.stop(run.folder)
    return (yield from stage(removal.STAGE, removing, run.clock)).value


def delete_cluster(seen: Seen, cluster: ClusterPort) -> Steps[Outcome[Removed]]:
    """The Minikube profile is gone with everything in it."""
    name = seen.loaded.spec.cluster.name
    if seen.facts.phase is ClusterPhase.MISSING:
        return Outcome(Removed(), False, "there is no cluster")
    yield Item(removal.STAGE, name, ItemState.RUNNING, "deleting the cluster")
    yield from cluster.delete()
    return Outcome(Removed(cluster=True), True, f"cluster {name} deleted")


def remove_application(
    opened: Opened, options: DownOptions, helm: HelmPort, cluster: ClusterPort, clock: Clock
) -> Steps[Outcome[Removed]]:
    """Releases, what their hooks made and Secrets are gone, and on demand volumes, record and namespaces."""
    spec, kube, kept = opened.loaded.spec, opened.kube, opened.record
    objects = [ref for one in kept.releases.values() for ref in one.objects]
    claims = tuple(dict.fromkeys([*kept.claims, *removal.volume_claims(objects, kube)]))
    if kept.version and claims != kept.claims:
        # Known before the workloads that would tell are gone, so that a later `down --volumes` finds them.
        kept = record.save(kube, spec.namespace, spec.application, replace(kept, claims=claims))
    named = [(name, record.ReleaseRecord(spec.releases[name].namespace or spec.namespace, 0, "", ()))
             for name in spec.releases if name not in kept.releases]  # fmt: skip
    installed = [*kept.releases.items(), *named]
    made = [ref for name, one in installed for ref in made_by_hooks(name, one.namespace, kube)]
    needs = {name: release.needs for name, release in spec.releases.items()}
    namespaces = {spec.namespace} | {one.namespace for one in kept.releases.values()}
    namespaces |= {release.namespace or spec.namespace for release in spec.releases.values()}
    namespaces |= {secret.namespace or spec.namespace for secret in spec.secrets.values()}
    removal.keep_namespaces(installed, namespaces, kube)
    seconds = removal.seconds_to_end(namespaces, kube)
    removing = removal.remove_releases(installed, needs, helm, kube, seconds)
    releases = yield from _without_releases(opened, installed, removing, seconds, clock)
    yield from removal.remove_hooks(made, kube)
    by_hooks = {one.name for one in made if one.kind == "Namespace"} | {claim.namespace for claim in claims}
    secrets = yield from removal.remove_secrets(spec.application, namespaces, kube)
    volumes = 0
    if options.volumes:
        names = removal.volumes_of(claims, kube)
        volumes = yield from removal.remove_claims(claims, kube, clock)
        yield from removal.remove_left_volumes(names, kube, cluster, clock)
        if kept.version:
            kube.delete("Secret", spec.namespace, record.record_name(spec.application))
        yield from removal.remove_namespaces(namespaces | by_hooks, kube, clock)
    else:
        yield from removal.remove_namespaces(by_hooks - namespaces, kube, clock)
        if kept.version and kept.releases:
            # Helm will count from one again: a revision of before would name another one of its by then.
            record.save(kube, spec.namespace, spec.application, replace(kept, releases={}, history=()))
    removed = Removed(releases.value, secrets, volumes)
    kept_text = "" if options.volumes or not claims else f"; {len(claims)} volumes kept (down --volumes removes them)"
    return Outcome(removed, removed.changed, f"{removed.releases} releases, {secrets} Secrets removed{kept_text}")


def _without_releases(
    opened: Opened,
    installed: Sequence[tuple[str, record.ReleaseRecord]],
    removing: Steps[Outcome[int]],
    seconds: float,
    clock: Clock,
) -> Steps[Outcome[int]]:
    """No release is left; one whose hook does not let it go is reported in the hook's words, with the way round it."""
    kube, rules = opened.kube, opened.loaded.spec.rollout
    places = tuple((name, one.namespace) for name, one in installed)
    limits = limits_from(rules, seconds)
    at_work = HelmAtWork(removal.STAGE, places, kube, clock, limits, seconds, evidence.text_writer())
    try:
        return (yield from hooks.watched(removing, at_work))
    except DeployError as error:
        first, *rest = error.problems
        left = [place for place in places for one in revisions_of(*place, kube)[-1:] if is_unfinished(one.status)]
        if error.exit_code is ExitCode.MACHINE or not left:
            raise
        ways = tuple(f"helm uninstall {name} --namespace {place} --no-hooks, if what the hook does is not needed"
                     for name, place in left)  # fmt: skip
        hints = ("todo-deploy down, once the hook can succeed", *first.hints, *ways)
        raise DeployError((replace(first, hints=hints), *rest), ExitCode.MACHINE) from None
