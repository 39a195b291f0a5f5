"""A service as people name it: a workload of the application, the pods it has at a moment, and the URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer.commands.connection import Opened, not_deployed
from deployer.composition import Machine
from deployer.core.errors import DeployError, input_error, machine_error
from deployer.core.shell import no_proxy
from deployer.core.text import did_you_mean
from deployer.kube.logs import Source, sources_of
from deployer.plan import url_plans
from deployer.rollout.stage import take_snapshot, workloads_in
from deployer.sources import load
from deployer.stages.urls import resolve, shown_url
from deployer.status import Object, PodPhase, Snapshot, WorkloadRef, current_pods, pod_phase
from deployer.status.objects import find, name_of, rows, uid_of


@dataclass(frozen=True, slots=True)
class Address:
    """A URL of the spec at its address; without one, `problem` says why."""

    name: str
    url: str
    show: bool
    problem: str = ""


def services_of(opened: Opened) -> tuple[WorkloadRef, ...]:
    """The workloads of every release of the application, which have pods; machine error where it is not deployed."""
    if not opened.record.releases:
        raise not_deployed(opened)
    return tuple(ref for ref in workloads_in(opened.record.releases.values()) if "." not in ref.kind)


def chosen(refs: Sequence[WorkloadRef], names: Sequence[str], hint: str = "") -> tuple[WorkloadRef, ...]:
    """The workloads of these names (`backend` or `deployment/backend`), all without names; input error for others."""
    picked = {name: [ref for ref in refs if name in (ref.name, str(ref))] for name in names}
    unknown = next((name for name, found in picked.items() if not found), None)
    if unknown is not None:
        known = sorted({ref.name for ref in refs})
        raise input_error(
            "SERVICE_UNKNOWN",
            f"no service `{unknown}` in the application",
            detail="it has: " + (", ".join(known) or "none"),
            hints=(*did_you_mean(unknown, known), *filter(None, (hint,))),
        )
    if not names:
        return tuple(refs)
    return tuple(dict.fromkeys(ref for found in picked.values() for ref in found))


def pods_of(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, ...]:
    """Every pod of the workload by name: those of earlier templates and those on their way out, too."""
    workload = find(ref, snapshot)
    owner = uid_of(workload)
    owned = (*snapshot.sets_by_owner.get(owner, ()), *snapshot.jobs_by_owner.get(owner, ()))
    pods = [pod for uid in (owner, *map(uid_of, owned)) for pod in snapshot.pods_by_owner.get(uid, ())]
    pods += [workload] if ref.kind == "Pod" and workload is not None else []
    return tuple(sorted(pods, key=name_of))


def log_sources(refs: Sequence[WorkloadRef], snapshot: Snapshot, *, previous: bool = False) -> tuple[Source, ...]:
    """The containers of the workloads' pods that have a log; with `previous`, those that ran before."""
    return tuple(
        source for ref in refs for pod in pods_of(ref, snapshot)
        for source in sources_of(ref.name, pod, previous=previous)
    )  # fmt: skip


def best_pod(ref: WorkloadRef, snapshot: Snapshot) -> tuple[Object, bool] | None:
    """The pod that a command is run in, and whether it is ready: a ready one, else one that runs; None without one."""
    pods = current_pods(ref, snapshot)
    ready = next((pod for pod in pods if pod_phase(pod) is PodPhase.READY), None)
    if ready is not None:
        return ready, True
    running = next((pod for pod in pods if pod_phase(pod) is PodPhase.RUNNING), None)
    return None if running is None else (running, False)


def addresses(opened: Opened) -> list[Address]:
    """Every URL of the spec, in its order."""
    spec = opened.loaded.spec
    env = load.values_of(load.load_env(opened.loaded)) if spec.switches else {}
    found = []
    for url in url_plans(spec, env):
        try:
            address, host = resolve(url, opened.facts.address, opened.kube, opened.local)
        except DeployError as error:
            found.append(Address(url.name, "", url.show, error.problems[0].title))
        else:
            found.append(Address(url.name, shown_url(address, host), url.show))
    return found


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs, and whether its pod is ready."""

    namespace: str
    pod: str
    name: str
    ready: bool


def container_of(opened: Opened, service: str, name: str | None) -> Container:
    """The container of that name, or the first, in the service's best pod; machine error where no pod of it runs."""
    (ref, *_) = chosen(services_of(opened), (service,))
    found = best_pod(ref, take_snapshot((ref,), opened.kube, events=False))
    if found is None:
        hints = (f"todo-deploy logs {service}", "todo-deploy status")
        raise machine_error("NO_RUNNING_POD", f"no pod of `{service}` runs", hints=hints)
    pod, ready = found
    names = [str(one.get("name") or "") for one in rows(pod, "spec", "containers")]
    if name is not None and name not in names:
        raise input_error(
            "CONTAINER_UNKNOWN",
            f"no container `{name}` in {name_of(pod)}",
            detail=f"its containers: {', '.join(names)}",
            hints=("--container NAME",),
        )
    return Container(ref.namespace, name_of(pod), name or names[0], ready)


def kubectl_exec(
    opened: Opened, machine: Machine, container: Container, words: Sequence[str], *, terminal: bool
) -> tuple[list[str], dict[str, str]]:
    """The arguments and environment of a `kubectl exec` of the words; standard input is always passed on."""
    if opened.toolchain is None:
        hints = ("todo-deploy up",)
        raise machine_error("TOOLCHAIN_MISSING", "todo-deploy has no kubectl on this machine yet", hints=hints)
    cluster = opened.loaded.spec.cluster
    argv = [
        str(opened.toolchain.kubectl), "--kubeconfig", str(machine.kubeconfig),
        "--context", cluster.context_name, "--namespace", container.namespace,
        "exec", "--stdin", *(("--tty",) if terminal else ()), container.pod,
        "--container", container.name, "--", *words,
    ]  # fmt: skip
    proxies = no_proxy(machine.env, opened.facts.node_ip)
    return argv, {**machine.env, "NO_PROXY": proxies, "no_proxy": proxies}
