"""The cluster stage: the cluster that the spec names runs and its API server answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from deployer.config.spec import Cluster, mebibytes
from deployer.core.errors import DeployError, Problem, machine_error
from deployer.core.events import Item, ItemState, Warned
from deployer.core.ports import ClusterFacts, ClusterPort, KubePort, StartRequest
from deployer.core.steps import Clock, Outcome, Steps
from deployer.status import ClusterPhase
from deployer.status.objects import has_condition, name_of

STAGE = "cluster"

# After a start of the machine's Docker the API server needs some seconds; a healthy one answers at once.
_LIMIT_SECONDS = 20.0
_READY_SECONDS = 180.0
# What the machine itself needs beside the cluster.
_HOST_RESERVE_MIB = 1024


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine can give."""

    cpus: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the cluster must be started, and why."""

    start: bool
    reason: str


def decide(facts: ClusterFacts, answers: bool) -> Decision:
    """A cluster that runs and answers is never started again: that would restart its system pods."""
    if facts.phase is ClusterPhase.RUNNING and answers:
        return Decision(False, "running")
    why = {
        ClusterPhase.MISSING: "there is none yet",
        ClusterPhase.STOPPED: "it is stopped",
        ClusterPhase.PAUSED: "it is paused",
        ClusterPhase.RUNNING: "its API server does not answer",
        ClusterPhase.BROKEN: facts.detail or "it is broken",
    }
    return Decision(True, why[facts.phase])


def start_request(wanted: Cluster, host: Host) -> tuple[StartRequest, tuple[Problem, ...]]:
    """What Minikube is asked for: the spec's wishes within what the host can give, and warnings where it is less."""
    warnings = []
    cpus = min(wanted.cpus, host.cpus)
    if cpus < wanted.cpus:
        warnings.append(Problem("CLUSTER_CPUS", f"the spec asks for {wanted.cpus} CPUs; this machine has {host.cpus}",
                                f"the cluster gets {cpus}", hints=("lower cluster.cpus in the spec",)))  # fmt: skip
    asked, most = mebibytes(wanted.memory), max((host.memory_mib - _HOST_RESERVE_MIB) // wanted.nodes, 1800)
    each = " for each node" if wanted.nodes > 1 else ""
    memory = min(asked, most)
    if memory < asked:
        warnings.append(
            Problem(
                "CLUSTER_MEMORY",
                f"the spec asks for {asked} MiB{each}; this machine can give {most} MiB",
                f"the cluster gets {memory} MiB{each}",
                hints=("lower cluster.memory in the spec",),
            )
        )
    request = StartRequest(
        wanted.name, wanted.driver, cpus, memory, wanted.disk, wanted.kubernetes_version, wanted.nodes
    )
    return request, tuple(warnings)


def differences(wanted: Cluster, facts: ClusterFacts, host: Host) -> tuple[Problem, ...]:
    """Where the existing cluster is not what the spec asks for; it is kept as it is."""
    request, _ = start_request(wanted, host)
    pairs = [
        ("driver", request.driver, facts.driver),
        ("kubernetesVersion", request.kubernetes_version, facts.kubernetes_version),
        ("cpus", str(request.cpus), str(facts.cpus)),
        ("memory (MiB)", str(request.memory_mib), str(facts.memory_mib)),
    ]
    if has_more_nodes(wanted, facts) or _is_for_one(wanted, facts):
        pairs.append(("nodes", str(wanted.nodes), str(len(facts.nodes))))
    shown = [f"{name}: the spec asks for {asked}, the cluster has {has}" for name, asked, has in pairs if asked != has]
    if not shown or not facts.driver:
        return ()
    least = facts.nodes[-1].name if has_more_nodes(wanted, facts) else ""
    less = (f"minikube node delete {least} --profile {wanted.name}",) if least else ()
    title = f"the cluster `{wanted.name}` differs from the spec and is kept"
    hints = ("todo-deploy up --recreate-cluster", *less)
    return (Problem("CLUSTER_DIFFERS", title, "\n".join(shown), hints=hints),)


def has_more_nodes(wanted: Cluster, facts: ClusterFacts) -> bool:
    """Whether the cluster has nodes that the spec does not ask for: removing one takes what runs there, so it stays."""
    return len(facts.nodes) > wanted.nodes


def _is_for_one(wanted: Cluster, facts: ClusterFacts) -> bool:
    """Whether nodes are lacking in a cluster that was made with one.

    Minikube gives such a one a bridge that has the addresses of all pods, so that no other node's can be reached.
    """
    return wanted.nodes > len(facts.nodes) == 1


def ensure_cluster(
    wanted: Cluster,
    cluster: ClusterPort,
    connect: Callable[[], KubePort],
    prepare: Callable[[], Steps[object]],
    host: Host,
    clock: Clock,
) -> Steps[Outcome[tuple[ClusterFacts, KubePort]]]:
    """The cluster runs, its API server answers and its node is Ready; machine error otherwise."""
    if cluster.restore_context():
        yield Item(STAGE, wanted.name, ItemState.RUNNING, "the current context is again what it was before a kill")
    facts = cluster.facts()
    kube = None
    if facts.phase is ClusterPhase.RUNNING:
        if facts.moved_from:
            yield Item(STAGE, wanted.name, ItemState.RUNNING, f"it is no longer at {facts.moved_from}: writing where")
            cluster.write_context()
        kube = yield from _connected(wanted.name, cluster, connect)
    answers = kube is not None and (kube.ready() or (yield from _answers_soon(kube, facts, wanted.name, clock)))
    decision = decide(facts, answers)
    if not decision.start:
        assert kube is not None
        for problem in differences(wanted, facts, host):
            yield Warned(problem)
        whole = yield from _with_nodes(wanted, facts, cluster, kube, prepare, clock)
        return Outcome((whole.value, kube), whole.changed, f"{wanted.context_name} {whole.text}")
    yield Item(STAGE, wanted.name, ItemState.RUNNING, decision.reason)
    if facts.phase is ClusterPhase.RUNNING:
        cluster.wake()
    request, warnings = start_request(wanted, host)
    if facts.phase is ClusterPhase.MISSING:
        for problem in warnings:
            yield Warned(problem)
    elif facts.kubernetes_version and facts.cpus:
        # An existing profile keeps its shape: Minikube would refuse or recreate it otherwise.
        request = replace(request, driver=facts.driver, cpus=facts.cpus, memory_mib=facts.memory_mib,
                          kubernetes_version=facts.kubernetes_version)  # fmt: skip
    yield from prepare()
    yield from cluster.start(request)
    facts = cluster.facts()
    kube = connect()
    yield from await_nodes(kube, wanted.name, clock, len(facts.nodes))
    facts = (yield from _with_nodes(wanted, facts, cluster, kube, prepare, clock)).value
    return Outcome((facts, kube), True, f"{wanted.name} started ({decision.reason})")


def _with_nodes(
    wanted: Cluster,
    facts: ClusterFacts,
    cluster: ClusterPort,
    kube: KubePort,
    prepare: Callable[[], Steps[object]],
    clock: Clock,
) -> Steps[Outcome[ClusterFacts]]:
    """Of a cluster made for several nodes all run and are Ready, and there are as many as the spec asks for.

    A cluster that is only used is taken as it is.
    """
    if len(facts.nodes) < 2 or wanted.provider != "minikube":
        return Outcome(facts, False, "runs")
    ready = {name_of(node) for node in kube.list("Node") if has_condition(node, "Ready")}
    stopped = [node.name for node in facts.nodes if not node.running]
    silent = [node.name for node in facts.nodes if node.running and node.name not in ready]
    lacking = max(0, wanted.nodes - len(facts.nodes))
    if not (stopped or silent or lacking):
        return Outcome(facts, False, f"runs with {len(facts.nodes)} nodes")
    yield from prepare()
    for name in silent:
        yield Item(STAGE, name, ItemState.RUNNING, "it is not Ready: its kubelet begins anew")
        cluster.wake(name)
    for name in stopped:
        yield from cluster.start_node(name)
    for _ in range(lacking):
        yield from cluster.add_node()
    facts = cluster.facts()
    yield from await_nodes(kube, wanted.name, clock, len(facts.nodes))
    return Outcome(facts, True, f"has {len(facts.nodes)} nodes that are Ready again")


def _connected(name: str, cluster: ClusterPort, connect: Callable[[], KubePort]) -> Steps[KubePort | None]:
    """The client of a running cluster, also in a kubeconfig that did not know it; None where only a start can help."""
    try:
        return connect()
    except DeployError as error:
        if error.problems[0].code != "CONTEXT_MISSING":
            raise
    yield Item(STAGE, name, ItemState.RUNNING, "its context is not in the kubeconfig: writing it")
    cluster.write_context()
    try:
        return connect()
    except DeployError:
        return None


def await_nodes(kube: KubePort, name: str, clock: Clock, count: int = 1) -> Steps[None]:
    """So many nodes are Ready and the default service account exists, without which no pod can be made."""
    deadline = clock.monotonic() + _READY_SECONDS
    shown = ""
    while True:
        message = _lacking(kube, count)
        if not message:
            return
        if message != shown:
            yield Item(STAGE, name, ItemState.RUNNING, message)
            shown = message
        if clock.monotonic() > deadline:
            raise machine_error(
                "CLUSTER_NOT_READY", f"the cluster `{name}` is not ready", detail=message, hints=("todo-deploy doctor",)
            )
        clock.sleep(0.5)


def _lacking(kube: KubePort, count: int) -> str:
    if not kube.ready():
        return "waiting for the API server"
    ready = sum(has_condition(node, "Ready") for node in kube.list("Node"))
    if ready < max(1, count):
        return "waiting for the node to be Ready" if count < 2 else f"{ready} of {count} nodes are Ready"
    if kube.get("ServiceAccount", "default", "default") is None:
        return "waiting for the default service account"
    return ""


def _answers_soon(kube: KubePort, facts: ClusterFacts, name: str, clock: Clock) -> Steps[bool]:
    """Whether the API server came back; machine error where this machine has no way to the node at all."""
    if facts.node_ip is not None and not has_route(facts.node_ip):
        raise machine_error(
            "NETWORK_DOWN",
            f"this machine has no network: no route to the node of `{name}`",
            detail=f"the node runs at {facts.node_ip}, and the API server is not reached by another address either",
            hints=("ip route", "todo-deploy doctor"),
        )
    yield Item(STAGE, name, ItemState.RUNNING, "its API server does not answer; waiting for it")
    deadline = clock.monotonic() + _LIMIT_SECONDS
    while clock.monotonic() < deadline:
        clock.sleep(0.5)
        if kube.ready():
            return True
    return False


def has_route(address: str) -> bool:
    """Whether this machine knows a way to the address; nothing is sent."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False
    return True
