"""The way to the cluster: chosen by the spec and by what is seen, and what a registry is asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.config.spec import Spec
from deployer.core.errors import DeployError, machine_error
from deployer.core.ports import ClusterFacts, DockerEndpoint, NodeFacts
from deployer.images.delivery import (
    ContainerNode,
    DockerNode,
    Hosting,
    IntoNodes,
    ThroughRegistry,
    Way,
    decide,
    hosting_of,
)
from deployer.status import ClusterPhase
from tests.fakes.images import FakeImages

WITH_DOCKER = ClusterFacts(ClusterPhase.RUNNING, docker=DockerEndpoint("tcp://node:2376"))
CONTAINERS = ClusterFacts(ClusterPhase.RUNNING, nodes=(NodeFacts("kind-control-plane", True, None, "containerd"),))
WITHOUT = ClusterFacts(ClusterPhase.RUNNING)
NODE = DockerEndpoint("tcp://other:2376")
HOSTED = Hosting("registry:5000", "localhost:5000")


def spec(**more: Any) -> Spec:
    images = {"api": {"repository": more.pop("repository", "shop/api"), "context": "api"}}
    base = {"apiVersion": "todo-deploy/v1", "application": "shop", "releases": {"web": {"chart": "chart"}}}
    return Spec.model_validate({**base, "images": images, **more})


@pytest.mark.parametrize(
    ("more", "facts", "hosting", "kind", "pull", "push"),
    [
        ({}, WITH_DOCKER, None, "daemon", "", ""),
        ({}, WITH_DOCKER, HOSTED, "daemon", "", ""),
        ({}, WITHOUT, HOSTED, "registry", "registry:5000", "localhost:5000"),
        ({}, WITHOUT, None, "none", "", ""),
        ({"registry": {"address": "r.example.com/team"}}, WITH_DOCKER, None, "registry", *["r.example.com/team"] * 2),
        ({"registry": {"address": "10.0.0.1:5000", "push": "localhost:5000"}}, WITHOUT, None, "registry",
         "10.0.0.1:5000", "localhost:5000"),
        ({"delivery": "daemon", "registry": {"address": "r.example.com"}}, WITH_DOCKER, None, "daemon", "", ""),
        ({"delivery": "daemon"}, WITHOUT, HOSTED, "none", "", ""),
        ({"delivery": "load"}, WITHOUT, None, "none", "", ""),
        ({"delivery": "load"}, CONTAINERS, HOSTED, "load", "", ""),
        ({}, CONTAINERS, None, "load", "", ""),
        ({}, CONTAINERS, HOSTED, "registry", "registry:5000", "localhost:5000"),
        ({"delivery": "registry"}, WITH_DOCKER, HOSTED, "registry", "registry:5000", "localhost:5000"),
        ({"delivery": "registry"}, WITH_DOCKER, None, "none", "", ""),
        ({"delivery": "registry", "repository": "r.example.com/shop/api"}, WITHOUT, None, "registry", "", ""),
    ],
)  # fmt: skip
def test_the_way_is_chosen_by_the_spec_and_by_what_is_there(
    more: dict[str, Any], facts: ClusterFacts, hosting: Hosting | None, kind: str, pull: str, push: str
) -> None:
    way = decide(spec(**more), facts, hosting)
    assert (way.kind, way.pull, way.push) == (kind, pull, push)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("host: localhost:5001\nhostFromContainerRuntime: registry:5000\n", Hosting("registry:5000", "localhost:5001")),
        ("host: localhost:5001\nhelp: https://kind.sigs.k8s.io\n", Hosting("localhost:5001", "localhost:5001")),
        ("help: none\n", None),
        ("- a list\n", None),
        ("host: [", None),
        ("host: {a: b}\n", None),
    ],
)
def test_the_registry_of_a_cluster_is_read_from_its_config_map(text: str, found: Hosting | None) -> None:
    assert hosting_of({"data": {"localRegistryHosting.v1": text}}) == found
    assert hosting_of({"data": {}}) is None
    assert hosting_of(None) is None


def test_an_image_is_pushed_where_this_machine_reaches_the_registry() -> None:
    daemon = FakeImages(["10.0.0.1:5000/shop/api:1"])
    delivery = ThroughRegistry(daemon, Way("registry", "", "10.0.0.1:5000", "localhost:5000"))
    assert delivery.found("10.0.0.1:5000/shop/api:1") is None
    list(delivery.send("10.0.0.1:5000/shop/api:1"))
    assert list(daemon.published_refs) == ["localhost:5000/shop/api:1"]
    found = delivery.found("10.0.0.1:5000/shop/api:1")
    assert found is not None
    assert found.digest.startswith("sha256:")


def test_an_image_that_was_built_in_a_node_is_loaded_into_each_other_that_lacks_it() -> None:
    """By its id: an image that another build left under the name is not it."""
    third = DockerEndpoint("tcp://third:2376")
    others = {NODE: FakeImages(["shop/api:1"]), third: FakeImages(["shop/api:1", "shop/web:1"])}
    others[third].known["shop/api:1"] = replace(others[third].known["shop/api:1"], id="sha256:older")
    first = FakeImages(["shop/api:1", "shop/web:1"], others)
    delivery = IntoNodes(first, [DockerNode("n", first, one, others.__getitem__) for one in others])
    assert delivery.found("shop/api:1") is None
    assert list(delivery.send("shop/api:1")) == [(0, 1000)]
    assert first.copied == [(third, ("shop/api:1",))]
    assert delivery.found("shop/api:1") is not None
    assert list(delivery.send("shop/api:1")) == []
    assert delivery.found("shop/web:1") is None  # one node is enough to lack it
    assert delivery.found("shop/nothing:1") is None
    assert IntoNodes(first).found("shop/web:1") is not None


def test_nodes_without_a_daemon_that_can_be_reached_get_nothing() -> None:
    """They are stopped: the cluster stage starts them before."""
    nodes = (NodeFacts("c", True, WITH_DOCKER.docker), NodeFacts("c-m02", False), NodeFacts("c-m03", True, NODE))
    facts = replace(WITH_DOCKER, nodes=nodes)
    assert list(facts.daemons) == ["c", "c-m03"]
    assert decide(spec(), facts, None).kind == "daemon"
    assert list(WITHOUT.daemons) == []


def silent(endpoint: DockerEndpoint) -> FakeImages:
    raise machine_error("DOCKER_UNREACHABLE", f"Docker does not answer at {endpoint.host}")


def test_a_node_that_runs_and_whose_docker_does_not_answer_is_named() -> None:
    first = FakeImages(["shop/api:1"])
    with pytest.raises(DeployError) as caught:
        IntoNodes(first, [DockerNode("c-m02", first, NODE, silent)]).found("shop/api:1")
    (problem,) = caught.value.problems
    assert (problem.code, "c-m02" in problem.title) == ("DOCKER_UNREACHABLE", True)


def test_a_node_that_stops_in_a_run_is_left_out_and_all_others_are_asked() -> None:
    third = DockerEndpoint("tcp://third:2376")
    others = {third: FakeImages()}
    first = FakeImages(["shop/api:1"], others)
    nodes = [DockerNode("c-m02", first, NODE, silent), DockerNode("c-m03", first, third, others.__getitem__)]
    delivery = IntoNodes(first, nodes, lambda name: name != "c-m02")
    assert delivery.found("shop/api:1") is None
    list(delivery.send("shop/api:1"))
    assert first.copied == [(third, ("shop/api:1",))]
    assert delivery.found("shop/api:1") is not None


def test_a_node_that_stops_while_an_image_is_loaded_is_left_out(docker: Path) -> None:
    delivery = IntoNodes(FakeImages(["shop/web:1"]), [ContainerNode("full", "containerd", docker, os.environ)], bool)
    with pytest.raises(DeployError):
        list(delivery.send("shop/web:1"))
    list(IntoNodes(delivery.builder, delivery._nodes, lambda _: False).send("shop/web:1"))


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """Notes its words; `save` writes the image's name, `crictl` has one image, and what is loaded is kept in a file."""
    program = tmp_path / "docker"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/calls
case "$*" in
  save*missing*) echo 'No such image' >&2; exit 1 ;;
  save*) echo "archive of $2" ;;
  *crictl*) echo '{{"images": [{{"id": "sha256:1", "repoTags": ["docker.io/shop/api:1"]}}, {{"id": "x"}}]}}' ;;
  *" full "*) cat > /dev/null; echo 'no space left on device' >&2; exit 1 ;;
  *) cat > {tmp_path}/loaded ;;
esac
"""
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("runtime", "words"),
    [("containerd", "ctr --namespace k8s.io images import -"), ("cri-o", "podman load"), ("docker", "docker load")],
)
def test_an_image_goes_from_this_machines_docker_into_a_node_by_what_its_runtime_has(
    docker: Path, runtime: str, words: str
) -> None:
    """As `kind load` and `k3d image import` do it; here against a program that speaks as docker and crictl do."""
    node = ContainerNode("kind-worker", runtime, docker, os.environ)
    builder = FakeImages(["shop/api:1", "shop/web:1"])
    delivery = IntoNodes(builder, [node])
    assert delivery.found("shop/api:1") is not None  # by its name: containerd counts ids in another way
    assert delivery.found("shop/web:1") is None
    list(delivery.send("shop/web:1"))
    assert (docker.parent / "loaded").read_text() == "archive of shop/web:1\n"
    assert f"exec -i kind-worker {words}" in (docker.parent / "calls").read_text()


@pytest.mark.parametrize(
    ("node", "ref", "said"), [("full", "shop/api:1", "no space left"), ("n", "shop/missing:1", "")]
)
def test_a_node_that_cannot_take_an_image_is_named(docker: Path, node: str, ref: str, said: str) -> None:
    with pytest.raises(DeployError) as caught:
        ContainerNode(node, "containerd", docker, os.environ).load(ref)
    (problem,) = caught.value.problems
    assert problem.code == "NODE_LOAD" and node in problem.title and said in problem.detail
