"""`todo-deploy status`."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec, workload_data
from deployer.commands import addons
from deployer.commands.connection import Opened, not_deployed, not_running, open_running, see_cluster
from deployer.commands.status import Part, Status, read_status
from deployer.composition import Machine, this_machine
from deployer.core.errors import DeployError, ExitCode
from deployer.forwarding import Known
from deployer.stages.addons import AddonState
from deployer.status import ClusterPhase
from deployer.status.objects import epoch


@click.command("status")
@click.option("-w", "--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@common_options
def status(session: Session, watch: bool) -> int:
    """Show workloads, releases and URLs, and the cause where something is wrong."""
    loaded = read_spec(session)
    here = this_machine()
    if session.as_json:
        seen = see_cluster(loaded, here)
        if seen.facts.phase is not ClusterPhase.RUNNING:
            return _refused(not_running(seen), cluster_data(loaded.spec.cluster, seen.facts))
    opened = open_running(loaded, here)
    if session.as_json and not opened.record.releases:
        return _refused(not_deployed(opened), cluster_data(loaded.spec.cluster, opened.facts))
    found = read_status(opened, here.clock)
    if session.as_json:
        print_json(
            "status", ExitCode.OK, status_data(found) | {"addons": [asdict(one) for one in _addons(opened, here)]}
        )
        return ExitCode.OK
    if watch and sys.stdout.isatty():
        return _watch(session, here)
    _print(found, here)
    return ExitCode.OK


def _refused(error: DeployError, cluster: dict[str, Any]) -> int:
    """Of a cluster without the application its facts are printed all the same."""
    return print_json("status", error.exit_code, {"cluster": cluster}, error.problems)


def cluster_data(wanted: Any, facts: Any) -> dict[str, Any]:
    """The documented `data.cluster` of `status -o json`."""
    return {
        "provider": wanted.provider,
        "profile": wanted.name if wanted.provider == "minikube" else None,
        "context": wanted.context_name,
        "driver": facts.driver,
        "kubernetesVersion": facts.kubernetes_version,
        "phase": facts.phase.value,
        "cpus": facts.cpus,
        "memoryMiB": facts.memory_mib,
        "nodeAddress": facts.node_ip,
        "nodes": [{"name": one.name, "running": one.running} for one in facts.nodes],
    }


def forward_data(forward: Known) -> dict[str, Any] | None:
    """The documented `data.forward`: what this machine serves itself; null where that is nothing."""
    if not forward.mappings:
        return None
    mappings = [{"localPort": one.local, "namespace": one.namespace, "service": one.service or None}
                for one in forward.mappings]  # fmt: skip
    return {"running": forward.pid is not None, "pid": forward.pid, "doors": mappings}


def status_data(found: Status) -> dict[str, Any]:
    """The documented `data` of `status -o json`."""
    opened = found.opened
    return {
        "cluster": cluster_data(opened.loaded.spec.cluster, opened.facts),
        "application": opened.loaded.spec.application,
        "releases": [
            {"name": one.release, "namespace": one.namespace, "revision": one.revision, "status": one.status,
             "verdict": one.verdict or None}
            for one in found.releases
        ],
        "workloads": [
            data | {"images": list(one.images), "cause": found.causes.get(one.ref, ""),
                    "nodes": dict(found.nodes.get(one.ref, {}))}
            for data, one in zip(workload_data(found.workloads), found.workloads, strict=True)
        ],
        "services": [{"name": one.name, "namespace": one.namespace, "phase": one.phase}
                     for one in found.parts if one.kind == "Service"],
        "claims": [{"name": one.name, "namespace": one.namespace, "phase": one.phase}
                   for one in found.parts if one.kind == "PersistentVolumeClaim"],
        "urls": [{"name": name, "url": url} for name, url in found.urls],
        "astray": list(found.astray),
        "networkPolicies": None if found.policies is None else asdict(found.policies),
        "forward": forward_data(opened.forward),
    }  # fmt: skip


def _addons(opened: Opened, here: Machine) -> tuple[AddonState, ...]:
    cluster = opened.loaded.spec.cluster
    if not cluster.addons or opened.toolchain is None:
        return ()
    return addons.look(addons.Target(cluster, opened.toolchain, opened.facts, opened.kube, here))


def _print(found: Status, here: Machine) -> None:
    from deployer.core.text import age, glyphs_for
    from deployer.ui.console import make_console
    from deployer.ui.tables import StatusRow, status_table

    now = here.clock.now()
    rows = [
        StatusRow(
            str(one.ref), one.phase, one.ready, one.desired, one.restarts,
            "" if (created := epoch(one.created)) is None else age(now - created), ", ".join(one.images),
            found.addresses.get(one.ref, ""), found.causes.get(one.ref, ""),
        )
        for one in found.workloads
    ]  # fmt: skip
    console = make_console(sys.stdout, here.env)
    facts = found.opened.facts
    name = found.opened.loaded.spec.cluster.context_name
    console.print(f"cluster {name}: {facts.phase.value}, Kubernetes {facts.kubernetes_version}")
    for line in node_lines(found):
        console.print(line)
    for addon in _addons(found.opened, here):
        console.print(f"addon {addon.name}: {'ready' if addon.ready else 'not ready'}, {addon.text}")
    if found.policies is not None:
        console.print(f"network policies: {found.policies.words}")
    for one in found.releases:
        verdict = f", {one.verdict}" if one.verdict else ""
        console.print(f"release {one.release}: revision {one.revision}, {one.status}{verdict}")
    for line in found.astray:
        console.print(line)
    if found.opened.forward.mappings:
        console.print(_forward(found.opened.forward))
    for line in part_lines(found.parts):
        console.print(line)
    console.print(status_table(rows, glyphs_for(sys.stdout.encoding)))


def node_lines(found: Status) -> list[str]:
    """Of a cluster of several nodes, those that do not run, and where the pods of each workload are."""
    nodes = found.opened.facts.nodes
    if len(nodes) < 2:
        return []
    stopped = [one.name for one in nodes if not one.running]
    lines = [f"nodes: {len(nodes) - len(stopped)} of {len(nodes)} run"]
    if stopped:
        ours = found.opened.loaded.spec.cluster.provider == "minikube"
        lines[0] += f"; {', '.join(stopped)} does not{': todo-deploy up' if ours else ''}"
    for ref, placed in found.nodes.items():
        if placed:
            lines.append(f"{ref}: " + ", ".join(f"{count} on {name}" for name, count in sorted(placed.items())))
    return lines


def part_lines(parts: tuple[Part, ...]) -> list[str]:
    """How many Services and claims are as they should be, and each one that is not."""
    lines = []
    for kind, name, well, why in (
        ("Service", "services", "Available", "no endpoint takes traffic"),
        ("PersistentVolumeClaim", "claims", "Bound", "not bound to a volume"),
    ):
        those = [one for one in parts if one.kind == kind]
        bad = [one for one in those if not one.well]
        if those:
            reasons = "".join(f"; {one.name}: {one.phase} ({why})" for one in bad)
            lines.append(f"{name}: {len(those) - len(bad)} of {len(those)} {well}{reasons}")
    return lines


def _forward(forward: Known) -> str:
    ports = ", ".join(str(one.local) for one in forward.mappings)
    if forward.pid is None:
        return f"forward: ports {ports} of this machine are NOT served; next: todo-deploy up"
    return f"forward: ports {ports} of this machine lead into the cluster (pid {forward.pid})"


def _watch(session: Session, here: Machine) -> int:
    while True:
        found = read_status(open_running(read_spec(session), here), here.clock)
        click.clear()
        _print(found, here)
        time.sleep(2)
