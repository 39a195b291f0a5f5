"""The capacity plan of 003-k8s-deployment-2, with the document's own table."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from deployer.preflight.rules.capacity import capacity_plan
from deployer.preflight.rules.model import Cluster, Rendered, Subject
from deployer.sources.dotenv import EnvFile
from tests.topologies.rendering import Topology

NAME = "../todo-deploy"
GIB = 2**30


def subject(topology: Topology, cpus: int, memory: int) -> Subject:
    """The topology for a cluster of this size."""
    (release,) = topology.plan.releases
    allocatable = {"cpu": Fraction(cpus), "memory": Fraction(memory * GIB)}
    cluster = Cluster("minikube", allocatable, frozenset({"amd64"}))
    rendered = Rendered(release, tuple(topology.objects.values()))
    return Subject(topology.loaded, topology.plan, (rendered,), EnvFile({}, ".env"), cluster)


def test_the_documented_totals_and_shares(topology: Topology) -> None:
    cpu, memory = capacity_plan(subject(topology, 4, 8))
    assert (cpu.pods, cpu.requests, cpu.limits, cpu.available, cpu.percent) == (6, "900m", "1800m", "3000m", 60)
    assert (memory.pods, memory.requests, memory.limits, memory.available, memory.percent) == (
        6,
        "1Gi",
        "2Gi",
        "6Gi",
        33,
    )
    assert max(cpu.percent or 0, memory.percent or 0) <= cpu.target == 70
    assert cpu.words == "cpu: 6 pods request 900m, limits 1800m of 3000m for applications: 60 % (at most 70 %)"


def test_what_else_runs_there_takes_its_share(topology: Topology) -> None:
    def pod(namespace: str) -> dict[str, Any]:
        limits = {"cpu": "300m", "memory": "1536Mi"}
        return {
            "metadata": {"name": "x", "namespace": namespace},
            "spec": {"containers": [{"resources": {"limits": limits}}]},
        }

    alone = subject(topology, 4, 8)
    assert alone.cluster is not None
    cluster = replace(alone.cluster, pods=(pod("other"), pod("kube-system")))
    cpu, memory = capacity_plan(replace(alone, cluster=cluster))
    assert (cpu.others, cpu.percent, memory.percent) == ("300m", 70, 58)
    assert "limits 1800m and others' 300m of 3000m" in cpu.words


def test_a_machine_whose_system_takes_all_has_no_share(topology: Topology) -> None:
    cpu, _ = capacity_plan(subject(topology, 1, 8))
    assert cpu.percent is None
    assert "more than all" in cpu.words


def test_without_a_known_size_there_is_no_plan(topology: Topology, tmp_path: Path) -> None:
    known = subject(topology, 4, 8)
    assert capacity_plan(Subject(known.loaded, known.plan, known.releases, known.env, None)) == ()
