"""What is known of a cluster that is only a kubeconfig context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from deployer.cluster.existing import ContextCluster
from deployer.core.errors import machine_error
from tests.fakes import FakeKube

KIND = {"io.x-k8s.kind.cluster": "shop"}


def node(name: str, address: str, ready: str = "True") -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"containerRuntimeVersion": "containerd://2.1.3"},
        },
    }


def container(address: str, labels: Mapping[str, str] = KIND, running: bool = True) -> dict[str, Any]:
    networks = {"kind": {"IPAddress": address}}
    return {"State": {"Running": running}, "Config": {"Labels": labels}, "NetworkSettings": {"Networks": networks}}


def cluster(*nodes: dict[str, Any], **containers: dict[str, Any]) -> ContextCluster:
    kube = FakeKube()
    for one in nodes:
        kube.put(one)
    return ContextCluster("kind-shop", lambda: kube, lambda name: containers.get(name))


def test_the_address_is_that_of_a_node_that_is_ready() -> None:
    facts = cluster(node("a", "10.0.0.2", "Unknown"), node("b", "10.0.0.3")).facts()
    assert (facts.node_ip, facts.runtime, facts.nodes) == ("10.0.0.3", "containerd", ())


@pytest.mark.parametrize(
    ("second", "known"),
    [
        (container("10.0.0.3"), ["a", "b"]),
        (container("10.0.0.3", {"k3d.cluster": "shop"}, running=False), ["a", "b"]),
        (container("172.18.0.9"), []),  # another cluster's node of that name
        (container("10.0.0.3", {"some": "container"}), []),
        ({}, []),
    ],
)
def test_nodes_that_are_containers_of_this_machine_are_known_if_all_are(second: Any, known: list[str]) -> None:
    facts = cluster(node("a", "10.0.0.2"), node("b", "10.0.0.3"), a=container("10.0.0.2"), b=second).facts()
    assert [one.name for one in facts.nodes] == known
    assert {one.runtime for one in facts.nodes} <= {"containerd"}


def test_without_a_docker_on_this_machine_the_nodes_are_no_containers_of_it() -> None:
    def inspect(name: str) -> None:
        raise machine_error("DOCKER_UNREACHABLE", name)

    kube = FakeKube()
    kube.put(node("a", "10.0.0.2"))
    assert ContextCluster("c", lambda: kube, inspect).facts().nodes == ()
