"""Every contract is asked of the fake and, with --cluster, of the real thing: same test, same assertions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.ports import ClusterFacts, ClusterPort, DockerEndpoint, HelmPort, ImagePort, KubePort
from deployer.images.docker import DockerEngine
from deployer.toolchain import locate_toolchain
from tests.cluster import PROFILE, ensure_test_cluster
from tests.fakes import FakeCluster, FakeHelm, FakeImages, FakeKube

BOTH = pytest.mark.parametrize("kind", ["fake", pytest.param("real", marks=pytest.mark.cluster)])


@dataclass(frozen=True)
class Connected:
    """The clients of the running test cluster."""

    facts: ClusterFacts
    cluster: ClusterPort
    kube: KubePort
    helm: HelmPort
    images: ImagePort


@pytest.fixture(scope="session")
def connected() -> Iterator[Connected]:
    """The test cluster runs."""
    ensure_test_cluster()
    here, wanted = composition.this_machine(), Cluster(name=PROFILE)
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None
    cluster = composition.open_cluster(here, wanted, toolchain)
    facts = cluster.facts()
    assert facts.docker is not None
    kube = composition.open_kube(here, wanted)
    helm = composition.open_helm(here, wanted, toolchain, facts)
    with opened(facts.docker) as images:
        yield Connected(facts, cluster, kube, helm, images)


@contextmanager
def opened(endpoint: DockerEndpoint) -> Iterator[ImagePort]:
    """The daemon, until its connections are closed."""
    images = composition.open_images(endpoint)
    try:
        yield images
    finally:
        assert isinstance(images, DockerEngine)
        images.close()


@dataclass(frozen=True)
class Clients:
    """One implementation of each port, and a namespace that is this test's own."""

    kube: KubePort
    helm: HelmPort
    images: ImagePort
    cluster: ClusterPort
    namespace: str


@pytest.fixture
def clients(kind: str, request: pytest.FixtureRequest) -> Iterator[Clients]:
    namespace = f"contract-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    if kind == "fake":
        kube = FakeKube()
        kube.put(body)
        yield Clients(kube, FakeHelm(kube), FakeImages(), FakeCluster(), namespace)
        return
    real: Connected = request.getfixturevalue("connected")
    real.kube.apply(body)
    try:
        yield Clients(real.kube, real.helm, real.images, real.cluster, namespace)
    finally:
        real.kube.delete("Namespace", "", namespace)


@pytest.fixture
def name() -> str:
    """A name that nothing else in the cluster has."""
    return f"probe-{secrets.token_hex(4)}"
