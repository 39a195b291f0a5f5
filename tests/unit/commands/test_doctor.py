"""What doctor says of versions."""

from __future__ import annotations

from deployer.commands import doctor
from deployer.core.ports import ClusterFacts, NodeFacts
from deployer.status import ClusterPhase


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
