"""The arithmetic of capacity: what pods take, what others take, what an update needs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from deployer.preflight.rules.capacity import loads, machine_cluster, node_amounts, owner_of, pod_sum, quantity
from deployer.preflight.rules.judging import judge
from deployer.preflight.rules.model import Cluster
from deployer.preflight.rules.workloads import share_of
from tests.unit.preflight.rules.subjects import cluster, subject


def box(cpu: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        ({"containers": [box("100m"), box("1")]}, "1100m"),
        ({"containers": [box("100m")], "initContainers": [box("300m"), box("200m")]}, "300m"),
        ({"containers": [box("100m")], "initContainers": [box("300m", restartPolicy="Always")]}, "400m"),
        ({"containers": [{"resources": {"limits": {"cpu": "250m"}}}]}, "250m"),
        ({"containers": [box("a lot")]}, "0m"),
        ({}, "0m"),
    ],
)
def test_a_pod_requests_what_its_containers_do(pod: dict[str, Any], cpu: str) -> None:
    assert pod_sum(pod, "requests").get("cpu", Fraction(0)) * 1000 == int(cpu.removesuffix("m"))


@pytest.mark.parametrize(
    ("value", "number"),
    [("1e999", 2**63 - 1), ("-1e99999999", 1 - 2**63), ("16Ei", 2**63 - 1), ("1e-99999999", Fraction(1, 10**9)),
     ("1.5n", Fraction(2, 10**9)), ("-0.0000000001", Fraction(-1, 10**9)), ("1e3", 1000), ("0e9", 0)],
)  # fmt: skip
def test_a_quantity_has_the_bounds_that_the_api_server_gives_it(value: str, number: int | Fraction) -> None:
    assert quantity(value) == number


@pytest.mark.parametrize(
    ("value", "pods", "up", "number"),
    [("25%", 2, True, 1), ("25%", 2, False, 0), ("50%", 3, True, 2), (1, 9, True, 1), ("100%", 3, False, 3),
     ("x", 2, True, 0)],
)  # fmt: skip
def test_shares_are_rounded_as_kubernetes_rounds(value: object, pods: int, up: bool, number: int) -> None:
    assert share_of(value, pods, up=up) == number


def test_an_autoscaler_counts_with_its_minimum_and_a_job_like_a_surge_pod() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["scaler"]["spec"]["minReplicas"] = 3
        parts["job"] = {"kind": "Job", "metadata": {"name": "migrate"}, "spec": {"template": {"spec": {}}}}
        parts["more"] = ["job"]

    counted = {one.workload.label: (one.pods, one.surge) for one in loads(subject(change))}
    assert counted == {"deployment/api": (2, 1), "deployment/other": (3, 1), "job/migrate": (0, 1)}


def test_what_does_not_fit_is_refused_and_a_surge_without_room_is_advice() -> None:
    def of(cpus: Fraction, **more: Any) -> list[str]:
        def change(parts: dict[str, Any]) -> None:
            parts["cluster"] = replace(machine_cluster("new", 1, 4096, "amd64"), allocatable={"cpu": cpus}, **more)

        return [one.severity for one in judge(subject(change)) if one.rule == "CAPACITY"]

    # Two pods and one, 100m each, with one surge pod of 100m, beside the 750m of Minikube's own.
    assert of(Fraction(1150, 1000)) == []
    assert of(Fraction(1149, 1000)) == ["warning"]
    assert of(Fraction(1050, 1000)) == ["warning"]
    assert of(Fraction(1049, 1000)) == ["error"]
    # The scheduler goes by what the kubelet counts, which may be more than the node's container has.
    assert of(Fraction(1049, 1000), counted={"cpu": Fraction(4)}) == ["warning"]


def test_the_arithmetic_is_shown() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["cluster"] = machine_cluster("new", 1, 4096, "amd64")

    problem = next(one.problem for one in judge(subject(change)) if one.rule == "CAPACITY")
    assert "50m of CPU" in problem.title
    assert "kube-system" in problem.hints[0]
    assert problem.detail.splitlines() == [
        "deployment/api: 2 x 100m = 200m",
        "deployment/other: 1 x 100m = 100m",
        "deployment/api, one pod more while it is updated: 100m",
        "others, in namespace kube-system: 750m",
        "together 400m; this machine can give about 1000m, others request 750m: 250m are left",
    ]


def test_a_node_in_a_container_has_what_the_container_has() -> None:
    node = {"spec": {}, "status": {"allocatable": {"cpu": "8", "memory": "24Gi"}}}
    found = node_amounts([node, node], {"cpu": Fraction(2)})
    assert (found["cpu"], found["memory"]) == (4, 48 * 2**30)


def test_a_pod_belongs_to_the_deployment_of_its_replica_set() -> None:
    owners = [{"kind": "ReplicaSet", "name": "frontend-web-6479c7d9f7", "controller": True}]
    pod = {"metadata": {"name": "frontend-web-6479c7d9f7-x", "namespace": "default", "ownerReferences": owners}}
    assert owner_of(pod) == ("Deployment", "default", "frontend-web")
    assert owner_of({"metadata": {"name": "alone", "namespace": "a"}}) == ("Pod", "a", "alone")


def test_nodes_that_take_no_pods_do_not_count() -> None:
    node = {"spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "24684092Ki", "pods": "110"}}}
    closed = {**node, "spec": {"unschedulable": True}}
    assert node_amounts([node, closed])["cpu"] == 2


def test_the_pods_of_other_applications_count() -> None:
    """Those that are over, on their way out, or on no node do not, and of limits neither do those of the system."""
    waits = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False"}]}

    def pod(name: str, namespace: str, cpu: str, **more: Any) -> dict[str, Any]:
        spec = {"containers": [{"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "1"}}}]}
        return {"metadata": {"name": name, "namespace": namespace, **more.pop("metadata", {})}, "spec": spec, **more}

    pods = (
        pod("a", "garden", "300m"), pod("b", "garden", "300m"), pod("c", "kube-system", "200m"),
        pod("d", "garden", "5", status={"phase": "Succeeded"}),
        pod("e", "garden", "5", metadata={"deletionTimestamp": "2026-01-02T03:04:05Z"}),
        pod("f", "garden", "900", status=waits),
    )  # fmt: skip

    def of(cpus: str) -> dict[str, list[str]]:
        def change(parts: dict[str, Any]) -> None:
            parts["cluster"] = Cluster("here", {"cpu": Fraction(cpus)}, frozenset({"amd64"}), pods)

        found = (one for one in judge(subject(change)) if one.rule in ("CAPACITY", "LIMIT_SHARE"))
        return {one.rule: one.problem.detail.splitlines() for one in found}

    assert "CAPACITY" not in of("1.2")
    assert of("1.1")["CAPACITY"][-3:] == [
        "others, in namespace garden: 600m",
        "others, in namespace kube-system: 200m",
        "together 400m; the node has 1100m, others request 800m: 300m are left",
    ]
    assert of("4")["LIMIT_SHARE"][-2:] == [
        "others, in namespace garden: 2000m",
        "together 2600m of 4000m - 1000m for the system = 3000m: 87 %",
    ]
    assert "LIMIT_SHARE" not in of("3.5")  # others' alone are 80 % of what is left, ours 24 %
    assert of("8") == {}


@pytest.mark.parametrize(
    ("nodes", "taken"), [(("200m", "200m"), True), (("90m", "200m"), True), (("90m", "90m"), False)]
)
def test_a_pod_needs_one_node_that_is_large_enough(nodes: tuple[str, ...], taken: bool) -> None:
    """The sum says nothing of that; and a DaemonSet has a pod on each node."""
    sizes = tuple({"cpu": quantity(one), "memory": Fraction(2**30)} for one in nodes)

    def change(parts: dict[str, Any]) -> None:
        parts["cluster"] = cluster(nodes=sizes)
        parts["deployment"]["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"

    found = [one.problem.title for one in judge(subject(change)) if one.rule == "CAPACITY"]
    assert any("no node is large enough" in one for one in found) is not taken


def test_a_daemon_set_counts_once_for_each_node() -> None:
    node = {"cpu": Fraction(2), "memory": Fraction(2**30)}

    def change(parts: dict[str, Any]) -> None:
        parts["cluster"] = cluster(nodes=(node,) * 3)
        parts["deployment"]["kind"] = "DaemonSet"

    assert 3 in {one.pods for one in loads(subject(change))}


def test_a_machine_that_makes_several_nodes_is_that_many_times_as_large() -> None:
    made = machine_cluster("c", 2, 2048, "amd64", 2)
    assert made.allocatable == {"cpu": Fraction(4), "memory": Fraction(4096 * 2**20)}
    assert made.nodes == ({"cpu": Fraction(2), "memory": Fraction(2048 * 2**20)},) * 2
