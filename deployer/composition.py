"""The composition root: the only module that knows which adapter stands behind which port.

Adapters are imported when they are first needed: `docker` and `kubernetes` take tenths of a second to import, and
`--help` needs neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from deployer.config.load import LoadedSpec
from deployer.config.spec import Cluster, Spec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.files import cache_folder, path_component, state_folder
from deployer.core.ports import (
    ClusterFacts,
    ClusterPort,
    DeliveryPort,
    DockerEndpoint,
    HelmPort,
    ImagePort,
    KubePort,
    LocalPorts,
)
from deployer.core.shell import unexported
from deployer.core.steps import Clock, SystemClock
from deployer.images.delivery import ContainerNode, DockerNode, IntoNodes, Node, ThroughRegistry, Way, no_way
from deployer.kube.masking import masked
from deployer.kube.outage import WhyStopped, unknown
from deployer.rollout.observe import Lookup, no_lookup
from deployer.stages.cluster import Host
from deployer.state.deployment import deployment_folder
from deployer.state.lock import NAMESPACE as LEASES
from deployer.state.lock import ClusterLock
from deployer.toolchain import Toolchain
from deployer.toolchain.dockerhost import context_endpoint

if TYPE_CHECKING:
    from deployer.forwarding import Forward
    from deployer.images.docker import DockerEngine

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """The machine as this run sees it: environment, folders and clock."""

    env: Mapping[str, str] = field(repr=False)
    cache_dir: Path
    state_dir: Path
    clock: Clock

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that Minikube writes to: the first of KUBECONFIG, or the user's own."""
        first = self.env.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(first) if first else Path(self.env.get("HOME") or Path.home()) / ".kube" / "config"

    def folder(self, spec: Spec) -> Path:
        """Where this machine keeps what concerns the spec's application on its cluster."""
        return deployment_folder(self.state_dir, spec.cluster, spec.application, self.kubeconfig)

    @cached_property
    def host_docker(self) -> DockerEndpoint:
        """The host's Docker daemon, as `docker` finds it: by DOCKER_HOST, by its context, or at its usual socket."""
        found = context_endpoint(self.env)
        if found is not None:
            return found
        certificates = self.env.get("DOCKER_CERT_PATH") if self.env.get("DOCKER_TLS_VERIFY") else None
        host = self.env.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        return DockerEndpoint(host, Path(certificates) if certificates else None)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command that changes the deployment: what the user wrote, this machine, and the cluster's lock."""

    id: str
    loaded: LoadedSpec
    values: Mapping[str, str] = field(repr=False)
    """Those of the env files, by key."""
    machine: Machine
    lock: ClusterLock

    @property
    def spec(self) -> Spec:
        """The spec with its profile and overrides."""
        return self.loaded.spec

    @property
    def clock(self) -> Clock:
        """The machine's clock."""
        return self.machine.clock

    @property
    def folder(self) -> Path:
        """Where this machine keeps what concerns the deployment."""
        return self.machine.folder(self.spec)


@dataclass(frozen=True, slots=True)
class Connected(Run):
    """A run on a cluster that answers, with the clients for it."""

    toolchain: Toolchain
    facts: ClusterFacts
    kube: KubePort
    helm: HelmPort
    way: Way
    """How images reach the cluster."""
    look: Lookup = no_lookup
    forward: Forward | None = None
    """What this machine is to serve itself, where the node cannot be reached."""
    why_stopped: WhyStopped = unknown
    """Why the cluster does not answer any more."""

    @property
    def local(self) -> LocalPorts:
        """The ports of this machine that lead into the cluster."""
        return self.forward.local if self.forward is not None else {}


def begin_run(run: str, loaded: LoadedSpec, values: Mapping[str, str], machine: Machine) -> Run:
    """The run of that id, before anything was opened."""
    lock = ClusterLock(loaded.spec.application, run, machine.clock, lease_namespace(loaded.spec))
    return Run(run, loaded, values, machine, lock)


def lease_namespace(spec: Spec) -> str:
    """Where the application's Lease is: who works in one namespace of a team's cluster has rights there alone."""
    return spec.namespace if spec.cluster.provider == "context" else LEASES


def this_machine() -> Machine:
    """The machine of this process, seen as from a shell that did not take the exports of `todo-deploy env`."""
    return Machine(unexported(os.environ), cache_folder(), state_folder(), SystemClock())


def host() -> Host:
    """What this machine can give: processors this process may use, and memory."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (ValueError, OSError, AttributeError):
        memory = 8192
    return Host(cpus, memory)


def open_images(endpoint: DockerEndpoint, why_stopped: WhyStopped = unknown) -> ImagePort:
    """The daemon at the endpoint; `why_stopped` says why it does not answer."""
    from deployer.images.docker import DockerEngine

    return DockerEngine(endpoint, why_stopped)


def open_builder(
    machine: Machine, wanted: Cluster, docker: Path, endpoint: DockerEndpoint, why_stopped: WhyStopped = unknown
) -> ImagePort:
    """As `open_images`, for builds: through BuildKit where this machine or the cluster's node has buildx."""
    from deployer.images.docker import DockerEngine
    from deployer.toolchain.buildx import NODE_PLUGINS, find_buildx

    def node_plugin() -> bytes | None:
        with suppress(DeployError), closing(DockerEngine(machine.host_docker)) as engine:
            return next((found for path in NODE_PLUGINS if (found := engine.read_file(wanted.name, path))), None)
        return None

    find = partial(find_buildx, docker, machine.env, machine.cache_dir, node_plugin)
    return DockerEngine(endpoint, why_stopped, find)


def builder_of(machine: Machine, way: Way, facts: ClusterFacts) -> DockerEndpoint | None:
    """The Docker daemon that images are built in; None where they cannot reach the cluster from any."""
    return {"daemon": facts.docker, "none": None}.get(way.kind, machine.host_docker)


def open_delivery(
    machine: Machine, wanted: Cluster, toolchain: Toolchain | None, seen: tuple[Way, ClusterFacts],
    why_stopped: WhyStopped = unknown,
) -> DeliveryPort:  # fmt: skip
    """How images come from the daemon that builds them to the nodes; for looking only where `toolchain` is None."""
    way, facts = seen
    endpoint = builder_of(machine, way, facts)
    if endpoint is None:
        raise DeployError(no_way(way), ExitCode.MACHINE)
    if toolchain is None:
        builder = open_images(endpoint, why_stopped)
    else:
        builder = open_builder(machine, wanted, toolchain.docker, endpoint, why_stopped)
    if way.kind == "registry":
        return ThroughRegistry(builder, way)
    others = [(name, one) for name, one in facts.daemons.items() if one != endpoint]
    nodes: list[Node] = [DockerNode(name, builder, one, open_images) for name, one in others]
    if way.kind == "load":
        docker = toolchain.docker if toolchain is not None else Path("docker")
        apart = [one for one in facts.nodes if one.running and one.docker is None]
        nodes += [ContainerNode(one.name, one.runtime, docker, machine.env) for one in apart]

    def runs(name: str) -> bool:
        from deployer.images.docker import DockerEngine

        state = (_by_host(machine, DockerEngine.container)(name) or {}).get("State") or {}
        return bool(state.get("Running"))

    return IntoNodes(builder, nodes, runs)


def _by_host(machine: Machine, act: Callable[Concatenate[DockerEngine, P], T]) -> Callable[P, T]:
    """The act of a Docker client, done by one of this machine's daemon that is opened for it."""
    from deployer.images.docker import DockerEngine

    def acted(*args: P.args, **named: P.kwargs) -> T:
        with closing(DockerEngine(machine.host_docker)) as engine:
            return act(engine, *args, **named)

    return acted


def pull_credentials(*hosts: str) -> dict[str, str]:
    """Name and password for the first of these registries that Docker's configuration has any for."""
    from deployer.images.docker import pull_credentials as found

    return found(hosts)


def image_refs(*endpoints: DockerEndpoint) -> Sequence[str]:
    """Every name and tag that each of the daemons has an image for; none where there is no daemon."""
    found = [set(open_images(one).refs()) for one in endpoints]
    return sorted(set.intersection(*found)) if found else ()


def open_cluster(machine: Machine, wanted: Cluster, toolchain: Toolchain) -> ClusterPort:
    """The cluster that the spec names."""
    from deployer.images.docker import DockerEngine

    inspect = _by_host(machine, DockerEngine.container)
    if wanted.provider == "context":
        from deployer.cluster.existing import ContextCluster

        assert wanted.context is not None
        return ContextCluster(wanted.context, lambda: open_kube(machine, wanted), inspect)
    from deployer.cluster.minikube import Minikube, NodeContainers

    def read_file(engine: DockerEngine, name: str, path: str) -> str | None:
        content = engine.read_file(name, path)
        return content.decode("utf-8", "replace") if content is not None else None

    def new_volume(engine: DockerEngine, name: str, labels: Mapping[str, str]) -> None:
        engine.remove_volume(name)
        engine.make_volume(name, labels)

    containers = NodeContainers(
        inspect,
        _by_host(machine, read_file),
        _by_host(machine, DockerEngine.copy_lacking),
        _by_host(machine, new_volume),
        _by_host(machine, DockerEngine.remove_volume),
        _by_host(machine, DockerEngine.empty_file),
    )
    note = machine.state_dir / "contexts" / f"{path_component(wanted.name, 'a cluster')}.json"
    return Minikube(toolchain, wanted.name, machine.env, containers, machine.kubeconfig, note)


def open_kube(
    machine: Machine, wanted: Cluster, *, patient: bool = False, why_stopped: WhyStopped = unknown
) -> KubePort:
    """The API server of the spec's cluster; refused where its context is somebody else's cluster.

    `patient`: calls to a server that is being restarted are retried, unless `why_stopped` says that it will not come.
    """
    from deployer.kube.client import ATTEMPTS, PATIENT_ATTEMPTS, KubeApi
    from deployer.kube.kubeconfig import refuse_foreign

    context = wanted.context_name
    if wanted.provider == "minikube":
        refuse_foreign(machine.kubeconfig, context)
    return masked(KubeApi(machine.kubeconfig, context, PATIENT_ATTEMPTS if patient else ATTEMPTS, why_stopped))


def open_helm(
    machine: Machine, wanted: Cluster, toolchain: Toolchain, facts: ClusterFacts, why_stopped: WhyStopped = unknown
) -> HelmPort:
    """Helm against the spec's cluster; `why_stopped` says why that does not answer."""

    def opened() -> HelmPort:
        from deployer.helm.client import Helm, Program

        program = Program(toolchain.helm, toolchain.versions.get("helm", ""))
        return Helm(program, machine.kubeconfig, context, facts.kubernetes_version, why_stopped)

    context = wanted.context_name
    return cast(HelmPort, _Later(cache(opened)))


class _Later:
    """A client that is opened when it is first used: a run that changes nothing asks helm nothing."""

    def __init__(self, opened: Callable[[], object]) -> None:
        self._opened = opened

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._opened(), name)
        self.__dict__[name] = found
        return found
