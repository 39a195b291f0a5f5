"""The story of `down`: releases, Secrets, and on demand volumes and cluster, in that order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deployer import composition as world
from deployer import forwarding
from deployer.commands.connection import Opened, open_own, refuse_shared, see_cluster
from deployer.commands.toolchain import ensure_tools
from deployer.composition import World
from deployer.config.load import LoadedSpec
from deployer.core.events import Item, ItemState
from deployer.core.ports import ClusterPort, HelmPort
from deployer.core.steps import Outcome, Steps, outcome_only, stage
from deployer.helm.history import made_by_hooks
from deployer.stages import removal
from deployer.state import record
from deployer.state.build_cache import deployment_dir
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


def down_steps(loaded: LoadedSpec, options: DownOptions, here: World) -> Steps[Removed]:
    """What `up` made is gone, as far as it was asked for; a cluster that does not run is only told."""
    folder = deployment_dir(here.state_dir, loaded.spec.cluster.name, loaded.spec.application)
    tools = yield from stage(TOOLCHAIN, ensure_tools(loaded.spec, here), here.clock)
    seen = see_cluster(loaded, here)
    if options.cluster:
        refuse_shared(loaded, seen.facts, here)
        forwarding.stop(folder)
        port = world.open_cluster(here, loaded.spec.cluster, tools.value)

        def delete() -> Steps[Outcome[Removed]]:
            if seen.facts.phase is ClusterPhase.MISSING:
                return Outcome(Removed(), False, "there is no cluster")
            yield Item(removal.STAGE, loaded.spec.cluster.name, ItemState.RUNNING, "deleting the cluster")
            yield from port.delete()
            return Outcome(Removed(cluster=True), True, f"cluster {loaded.spec.cluster.name} deleted")

        return (yield from stage(removal.STAGE, delete(), here.clock)).value
    if seen.facts.phase is ClusterPhase.MISSING:
        forwarding.stop(folder)
        nothing = outcome_only(Outcome(Removed(), False, "there is no cluster"))
        return (yield from stage(removal.STAGE, nothing, here.clock)).value
    opened = open_own(loaded, here, removal=True)
    forwarding.stop(folder)
    helm = world.open_helm(here, loaded.spec.cluster, tools.value, opened.facts)
    cluster = world.open_cluster(here, loaded.spec.cluster, tools.value)
    return (yield from stage(removal.STAGE, _remove(opened, options, helm, cluster, here), here.clock)).value


def _remove(
    opened: Opened, options: DownOptions, helm: HelmPort, cluster: ClusterPort, here: World
) -> Steps[Outcome[Removed]]:
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
    releases = yield from removal.remove_releases(installed, needs, helm)
    yield from removal.remove_hooks(made, kube)
    namespaces = {spec.namespace} | {one.namespace for one in kept.releases.values()}
    namespaces |= {release.namespace or spec.namespace for release in spec.releases.values()}
    namespaces |= {secret.namespace or spec.namespace for secret in spec.secrets.values()}
    secrets = yield from removal.remove_secrets(spec.application, namespaces, kube)
    volumes = 0
    if options.volumes:
        names = removal.volumes_of(claims, kube)
        volumes = yield from removal.remove_claims(claims, kube, here.clock)
        yield from removal.remove_left_volumes(names, kube, cluster, here.clock)
        if kept.version:
            kube.delete("Secret", spec.namespace, record.record_name(spec.application))
        yield from removal.remove_namespaces(namespaces, kube, here.clock)
    elif kept.version and kept.releases:
        # Helm will count from one again: a revision of before would name another one of its by then.
        record.save(kube, spec.namespace, spec.application, replace(kept, releases={}, history=()))
    removed = Removed(releases.value, secrets, volumes)
    kept_text = "" if options.volumes or not claims else f"; {len(claims)} volumes kept (down --volumes removes them)"
    return Outcome(removed, removed.changed, f"{removed.releases} releases, {secrets} Secrets removed{kept_text}")
