"""The way to the cluster: started where it does not run, or only opened, for commands that look at what runs."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from deployer import composition, forwarding
from deployer.cluster import ownership
from deployer.commands.toolchain import prepare_cluster_start
from deployer.composition import Connected, Machine, Run, image_refs
from deployer.config.load import LoadedSpec
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode, machine_error, refused
from deployer.core.events import Warned
from deployer.core.ports import ClusterFacts, KubePort, LocalPorts
from deployer.core.steps import Outcome, Steps
from deployer.forwarding import NOTHING, Known
from deployer.helm.storage import made_by_hooks
from deployer.images.delivery import HOSTING, Way, decide, hosting_of
from deployer.kube.masking import learn_secrets
from deployer.kube.outage import unknown, watch_node
from deployer.kube.rights import lacking
from deployer.plan import in_registry
from deployer.rollout.observe import lookup_of
from deployer.sources.load import load_env
from deployer.stages.cluster import ensure_cluster
from deployer.state import record
from deployer.state.lock import locked
from deployer.state.record import Record
from deployer.status import ClusterPhase
from deployer.toolchain import Toolchain, locate_toolchain

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster as its files and the host's Docker show it, in whatever state it is."""

    loaded: LoadedSpec
    facts: ClusterFacts
    toolchain: Toolchain | None
    """None until a run has made or found the programs on this machine."""


@dataclass(frozen=True, slots=True)
class Opened(Seen):
    """A cluster that runs, the client of its API server, and the application's record in it."""

    kube: KubePort
    record: Record = field(repr=False)
    way: Way
    """How images reach it."""
    forward: Known = NOTHING
    """What this machine serves itself."""

    @property
    def is_deployed(self) -> bool:
        """Whether the application was ever deployed to this cluster."""
        return bool(self.record.version)

    @property
    def local(self) -> LocalPorts:
        """The ports of this machine that lead into the cluster."""
        return self.forward.local


def connect(run: Run, toolchain: Toolchain, *, recreate: bool = False) -> Steps[Outcome[Connected]]:
    """The cluster runs and answers, and its clients are open; it is deleted and made anew where that was asked for."""
    wanted, machine = run.spec.cluster, run.machine
    cluster = composition.open_cluster(machine, wanted, toolchain)
    # Only a node that is a container of ours can be asked for in a moment.
    ours = wanted.provider == "minikube" and wanted.driver == "docker"
    why_stopped = watch_node(cluster.facts, wanted.name, run.clock) if ours else unknown
    if recreate:
        refuse_shared(run.loaded, cluster.facts(), machine)
        yield from cluster.delete()
    running = yield from ensure_cluster(
        wanted,
        cluster,
        lambda: composition.open_kube(machine, wanted, patient=True, why_stopped=why_stopped),
        lambda: prepare_cluster_start(run.spec, machine),
        composition.host(),
        run.clock,
    )
    facts, kube = running.value
    skipped = lacking(kube, run.spec.namespaces) if wanted.provider == "context" else None
    if skipped is not None:
        yield Warned(skipped)
    way = way_to(run.spec, facts, kube)
    has_daemons = way.kind != "registry"
    forward = forwarding.wanted(run.spec, facts.node_ip, run.folder, machine.kubeconfig)
    if forward is None:
        forwarding.stop(run.folder)
    connected = Connected(
        run.id, run.loaded, run.values, machine, run.lock, toolchain, facts, kube,
        helm=composition.open_helm(machine, wanted, toolchain, facts, why_stopped),
        way=way,
        look=lookup_of(
            kube,
            partial(image_refs, *facts.daemons.values()) if has_daemons else None,
            partial(image_refs, machine.host_docker) if has_daemons else None,
            {name: in_registry(image.repository, way.pull) for name, image in run.spec.images.items()},
        ),
        forward=forward,
        why_stopped=why_stopped,
    )  # fmt: skip
    return Outcome(connected, running.changed, running.text)


def way_to(spec: Spec, facts: ClusterFacts, kube: KubePort | None) -> Way:
    """How images reach the cluster; it is asked for its registry only where that would be chosen."""
    way = decide(spec, facts, None)
    if way.kind in ("none", "load") and spec.delivery in ("auto", "registry") and kube is not None:
        with suppress(DeployError):  # a user who may not read it gets the error that there is no way
            return decide(spec, facts, hosting_of(kube.get("ConfigMap", *HOSTING)))
    return way


def one_at_a_time(command: Callable[Concatenate[Run, P], Steps[T]]) -> Callable[Concatenate[Run, P], Steps[T]]:
    """The command waits for any other run of the deployment on this machine, and keeps the cluster's lock it takes."""

    @functools.wraps(command)
    def locking(run: Run, /, *args: P.args, **kwargs: P.kwargs) -> Steps[T]:
        return locked(run.folder, run.clock, run.lock.during(command(run, *args, **kwargs)))

    return locking


def see_cluster(loaded: LoadedSpec, here: Machine) -> Seen:
    """The cluster's facts, in milliseconds and without its API server; no state of it is an error.

    Machine error where the host's Docker does not answer.
    """
    toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
    port = composition.open_cluster(here, loaded.spec.cluster, toolchain or _unresolved(here))
    try:
        return Seen(loaded, port.facts(), toolchain)
    except FileNotFoundError as error:  # drivers without a container of ours are asked through Minikube itself
        raise machine_error("TOOLCHAIN_MISSING", f"no {error.filename} on PATH", hints=("todo-deploy up",)) from None


def open_running(loaded: LoadedSpec, here: Machine) -> Opened:
    """The running cluster with its record, and the application's secret values known to be masked.

    Machine error with the way to get there where it does not run.
    """
    seen = see_cluster(loaded, here)
    if seen.facts.phase is not ClusterPhase.RUNNING:
        raise not_running(seen)
    ownership.refuse_foreign_cluster(loaded.spec.cluster, seen.facts, here.kubeconfig)
    kube = composition.open_kube(here, loaded.spec.cluster)
    with suppress(DeployError):  # it is for `up` and `validate` to say what is wrong with them
        load_env(loaded)
    learn_secrets(kube, loaded.spec.application, loaded.spec.namespaces)
    kept = record.load(kube, loaded.spec.namespace, loaded.spec.application)
    folder = here.folder(loaded.spec)
    way = way_to(loaded.spec, seen.facts, kube)
    return Opened(loaded, seen.facts, seen.toolchain, kube, kept, way, forwarding.known(folder))


def opened_with(kept: Record, run: Connected) -> Opened:
    """The cluster of the run with this record, for those who only look."""
    forward = Known(run.forward.mappings) if run.forward is not None else NOTHING
    return Opened(run.loaded, run.facts, run.toolchain, run.kube, kept, run.way, forward)


def open_own(loaded: LoadedSpec, here: Machine, *, removal: bool = False) -> Opened:
    """As `open_running`, for a command that changes something: refused where anything that it may touch is not ours.

    `removal`: what the spec names counts beside what was deployed.
    """
    opened = open_running(loaded, here)
    spec, kept = loaded.spec, opened.record
    by_record = ownership.touched_by_record(spec.application, kept)
    ownership.refuse_foreign(ownership.touched_by_removal(spec, kept) if removal else by_record, opened.kube)
    return opened


def open_locked(run: Run, *, removal: bool = False) -> Steps[Opened]:
    """As `open_own`, once no other run works on the application: what the cluster remembers of it stays so."""
    open_own(run.loaded, run.machine, removal=removal)
    yield from run.lock.take(composition.open_kube(run.machine, run.spec.cluster))
    return open_own(run.loaded, run.machine, removal=removal)


def refuse_shared(loaded: LoadedSpec, facts: ClusterFacts, here: Machine) -> KubePort | None:
    """Returns when the Minikube cluster may be deleted: it is this user's, and nothing in it is anybody else's.

    The value is the client that was asked; None where the cluster does not answer.

    A cluster that does not answer cannot be asked what it holds: deleting it is what a person has confirmed.
    """
    spec, wanted = loaded.spec, loaded.spec.cluster
    ownership.refuse_foreign_cluster(wanted, facts, here.kubeconfig)
    if wanted.provider != "minikube":
        raise refused(
            "CLUSTER_FOREIGN",
            f"the cluster of context `{wanted.context}` is not deleted: todo-deploy did not make it",
            hints=("todo-deploy down, which leaves the cluster",),
        )
    if facts.phase is not ClusterPhase.RUNNING:
        return None
    try:
        kube = composition.open_kube(here, wanted)
        kept = record.load(kube, spec.namespace, spec.application)
    except DeployError as error:
        if error.exit_code is ExitCode.REFUSED:
            raise
        return None
    ownership.refuse_foreign(ownership.touched_by_removal(spec, kept), kube)
    hooks = [ref for name, one in kept.releases.items() for ref in made_by_hooks(name, one.namespace, kube)]
    ownership.refuse_shared(wanted, spec.application, kept, kube, hooks)
    return kube


def not_running(seen: Seen) -> DeployError:
    """Why the cluster cannot be opened."""
    cluster, phase = seen.loaded.spec.cluster, seen.facts.phase
    name = cluster.context_name
    words = {
        ClusterPhase.MISSING: f"there is no cluster `{name}` yet",
        ClusterPhase.STOPPED: f"the cluster `{name}` is stopped",
        ClusterPhase.PAUSED: f"the cluster `{name}` is paused",
        ClusterPhase.BROKEN: f"the cluster `{name}` is broken",
    }
    hint = "todo-deploy up" if cluster.provider == "minikube" else f"kubectl --context {name} get nodes"
    title = words[phase] if cluster.provider == "minikube" else f"the cluster of context `{name}` does not answer"
    where = str(seen.loaded.origin("cluster"))
    return machine_error(f"CLUSTER_{phase.name}", title, detail=seen.facts.detail, where=where, hints=(hint,))


def not_deployed(opened: Opened) -> DeployError:
    """Why there is nothing to look at in a cluster that runs."""
    spec = opened.loaded.spec
    return machine_error(
        "NOT_DEPLOYED",
        f"application `{spec.application}` is not deployed to `{spec.cluster.context_name}`",
        detail="it was taken down; its volumes were kept" if opened.record.claims else "",
        hints=("todo-deploy up",),
    )


def known_tools(here: Machine) -> Toolchain | None:
    """The toolchain of an earlier run, or the programs of PATH where helm is among them; starts nothing."""
    found = locate_toolchain("auto", here.cache_dir)
    return found or (_unresolved(here) if shutil.which("helm", path=here.env.get("PATH")) else None)


def _unresolved(here: Machine) -> Toolchain:
    """The programs of PATH, only to ask with; a cluster whose node is a container of ours needs none of them."""
    search = here.env.get("PATH")
    found = {name: Path(shutil.which(name, path=search) or name) for name in ("minikube", "helm", "kubectl", "docker")}
    return Toolchain(
        "path", "not resolved yet", found["minikube"], found["helm"], found["kubectl"], found["docker"],
        found["minikube"].parent, {}, "", None, None, False,
    )  # fmt: skip
