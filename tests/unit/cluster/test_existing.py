"""What is known of a cluster that is only a kubeconfig context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from deployer.cluster.existing import ContextCluster
from deployer.config.spec import Spec
from deployer.core.errors import machine_error
from deployer.images.delivery import decide
from tests.fakes import FakeKube

KIND = {"io.x-k8s.kind.cluster": "shop", "io.x-k8s.kind.role": "worker"}
K3D = {"app": "k3d", "k3d.cluster": "shop", "k3d.role": "agent", "k3d.version": "v5.8.3"}
MINIKUBE = {"created_by.minikube.sigs.k8s.io": "true", "name.minikube.sigs.k8s.io": "shop"}
SPEC = Spec.model_validate({
    "apiVersion": "todo-deploy/v1", "application": "shop", "releases": {"web": {"chart": "chart"}},
    "images": {"api": {"repository": "shop/api", "context": "api"}},
})  # fmt: skip


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


def container(
    address: str, labels: Mapping[str, str] = KIND, running: bool = True, network: str = "kind"
) -> dict[str, Any]:
    networks = {network: {"IPAddress": address}}
    return {"State": {"Running": running}, "Config": {"Labels": labels}, "NetworkSettings": {"Networks": networks}}


def cluster(*nodes: dict[str, Any], **containers: dict[str, Any]) -> ContextCluster:
    kube = FakeKube()
    for one in nodes:
        kube.put(one)
    return ContextCluster("kind-shop", lambda: kube, lambda name: containers.get(name))


def test_the_address_is_that_of_a_node_that_is_ready() -> None:
    facts = cluster(node("a", "10.0.0.2", "Unknown"), node("b", "10.0.0.3")).facts()
    assert (facts.node_ip, facts.nodes) == ("10.0.0.3", ())


@pytest.mark.parametrize(
    ("second", "known"),
    [
        (container("10.0.0.3"), ["a", "b"]),
        (container("", running=False), ["a", "b"]),  # Docker gives it no address
        (container("", running=False, network="other"), []),
        (container("172.18.0.9"), []),  # another cluster's node of that name
        (container("10.0.0.3", {"some": "container"}), []),
        ({}, []),
    ],
)
def test_nodes_that_are_containers_of_this_machine_are_known_if_all_are(second: Any, known: list[str]) -> None:
    facts = cluster(node("a", "10.0.0.2"), node("b", "10.0.0.3"), a=container("10.0.0.2"), b=second).facts()
    assert [one.name for one in facts.nodes] == known
    assert {one.runtime for one in facts.nodes} <= {"containerd"}


@pytest.mark.parametrize(
    ("names", "labels", "runtime"),
    [
        (("shop-control-plane", "shop-worker"), KIND, "containerd://2.1.3"),
        (("k3d-shop-server-0", "k3d-shop-agent-0"), K3D, "containerd://2.0.5-k3s1"),
        (("shop", "shop-m02"), MINIKUBE, "cri-o://1.33.0"),
    ],
)
def test_images_are_loaded_into_the_nodes_of_kind_k3d_and_minikube(
    names: tuple[str, ...], labels: Mapping[str, str], runtime: str
) -> None:
    nodes, containers = [], {}
    for number, name in enumerate(names, 2):
        made = node(name, f"172.18.0.{number}")
        made["status"]["nodeInfo"]["containerRuntimeVersion"] = runtime
        nodes.append(made)
        containers[name] = container(f"172.18.0.{number}", labels)
    facts = cluster(*nodes, **containers).facts()
    assert [(one.name, one.running, one.runtime) for one in facts.nodes] == [
        (name, True, runtime.split(":")[0]) for name in sorted(names)
    ]
    assert decide(SPEC, facts, None).kind == "load"


def test_without_a_docker_on_this_machine_the_nodes_are_no_containers_of_it() -> None:
    def inspect(name: str) -> None:
        raise machine_error("DOCKER_UNREACHABLE", name)

    kube = FakeKube()
    kube.put(node("a", "10.0.0.2"))
    assert ContextCluster("c", lambda: kube, inspect).facts().nodes == ()
