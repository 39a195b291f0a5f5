"""What doctor says of versions, nodes and a registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.commands import doctor
from deployer.commands.connection import way_to
from deployer.core.ports import ClusterFacts, NodeFacts
from deployer.images.delivery import decide
from deployer.images.registry import refusal
from deployer.status import ClusterPhase
from tests.fakes.images import FakeImages
from tests.fakes.shop import SPEC, Shop


def test_a_version_that_gets_no_fixes_is_warned_of_with_the_way_to_a_newer_one() -> None:
    (check,) = doctor._past_fixes("Kubernetes", "v1.29.3", "todo-deploy up --recreate-cluster")
    assert (check.state, check.hint) == ("warn", "todo-deploy up --recreate-cluster")
    assert "v1.29.3" in check.detail
    assert list(doctor._past_fixes("Kubernetes", "v1.99.0", "")) == []
    assert list(doctor._past_fixes("Helm", "", "")) == []


def test_a_node_that_is_stopped_is_warned_of() -> None:
    nodes = (NodeFacts("c", True), NodeFacts("c-m02", False))
    check = doctor._nodes(ClusterFacts(ClusterPhase.RUNNING, nodes=nodes))
    assert (check.state, check.hint, "c-m02" in check.detail) == ("warn", "todo-deploy up", True)
    assert doctor._nodes(ClusterFacts(ClusterPhase.RUNNING, nodes=nodes[:1])).state == "pass"


def test_a_registry_is_asked_and_what_it_refuses_is_shown_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch)
    (shop.root / "todo-deploy.yaml").write_text(SPEC + 'registry: {address: "r.lan:5000/team"}\n')
    loaded, facts = shop.write("1"), ClusterFacts(ClusterPhase.RUNNING)
    way = decide(loaded.spec, facts, None)
    delivery, registry = doctor._delivery(way, loaded, facts, shop.here)
    assert (delivery.state, registry.state, "r.lan:5000" in registry.detail) == ("pass", "pass", True)

    def unknown(self: FakeImages, ref: str) -> None:
        raise refusal(ref, "tls: failed to verify certificate: x509: certificate signed by unknown authority")

    monkeypatch.setattr(FakeImages, "published", unknown)
    _, registry = doctor._delivery(way, loaded, facts, shop.here)
    assert registry.state == "fail"
    assert "/etc/docker/certs.d/r.lan:5000/ca.crt" in registry.hint


def test_a_registry_that_the_cluster_names_comes_before_loading_into_its_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, monkeypatch)
    spec = shop.write("1").spec
    facts = ClusterFacts(ClusterPhase.RUNNING, nodes=(NodeFacts("kind-control-plane", True, None, "containerd"),))
    assert way_to(spec, facts, shop.kube).kind == "load"
    named = {"localRegistryHosting.v1": "host: localhost:5001\n"}
    shop.kube.put({"kind": "ConfigMap", "data": named,
                   "metadata": {"namespace": "kube-public", "name": "local-registry-hosting"}})  # fmt: skip
    assert (way_to(spec, facts, shop.kube).kind, way_to(spec, facts, shop.kube).push) == ("registry", "localhost:5001")
    assert way_to(spec.model_copy(update={"delivery": "load"}), facts, shop.kube).kind == "load"
