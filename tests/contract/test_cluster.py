from __future__ import annotations

import ipaddress
import re

import pytest

from deployer import composition
from deployer.config.spec import Cluster
from deployer.core.ports import ClusterFacts, ClusterPort
from deployer.status import ClusterPhase
from deployer.toolchain import locate_toolchain
from tests.contract.conftest import BOTH, Clients, Connected
from tests.fakes import FakeCluster


@BOTH
def test_a_running_profile_shows_all_that_the_stages_need(clients: Clients) -> None:
    facts = clients.cluster.facts()
    assert facts.phase is ClusterPhase.RUNNING
    assert ipaddress.ip_address(facts.node_ip or "")
    assert facts.docker is not None
    assert (facts.driver != "", facts.cpus > 0, facts.memory_mib > 0) == (True, True, True)
    assert re.fullmatch(r"v1\.\d+\.\d+", facts.kubernetes_version)


@BOTH
def test_asking_twice_gives_the_same(clients: Clients) -> None:
    assert clients.cluster.facts() == clients.cluster.facts()


@pytest.fixture
def absent(kind: str, request: pytest.FixtureRequest, name: str) -> ClusterPort:
    """A profile that nobody ever made."""
    if kind == "fake":
        return FakeCluster(ClusterFacts(ClusterPhase.MISSING))
    request.getfixturevalue("connected")
    here = composition.this_machine()
    toolchain = locate_toolchain("auto", here.cache_dir)
    assert toolchain is not None
    return composition.open_cluster(here, Cluster(name=name), toolchain)


@BOTH
def test_a_profile_that_was_never_made_is_missing(absent: ClusterPort) -> None:
    assert absent.facts() == ClusterFacts(ClusterPhase.MISSING)


@pytest.mark.cluster
def test_the_version_is_what_the_api_server_says(connected: Connected) -> None:
    assert connected.kube.version() == connected.facts.kubernetes_version
