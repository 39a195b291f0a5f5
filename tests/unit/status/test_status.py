"""The vocabulary of states: the documents' words, and objects with holes in them."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.status import (
    Phase,
    PodPhase,
    PvcPhase,
    ServicePhase,
    Snapshot,
    WorkloadRef,
    current_pods,
    pod_phase,
    pvc_phase,
    service_phase,
    workload_status,
)
from deployer.status.objects import epoch, probe_request
from tests.seed_words import ROWS, SEED_WORDS, Absence


def test_every_word_of_the_documents_is_mapped_and_no_other() -> None:
    """Each word of the table names a state of ours, of one kind for all words of an entity."""
    assert {row["document"] for row in ROWS} == {"000", "001", "002", "003", "004"}
    kinds = {(entity, type(state)) for (_, entity, _), state in SEED_WORDS.items() if state is not Absence.ABSENT}
    assert len(kinds) == len({entity for entity, _ in kinds})
    assert len(SEED_WORDS) == 57


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job"])
@pytest.mark.parametrize("hole", [None, {}])
def test_objects_with_holes_are_judged(kind: str, hole: Any) -> None:
    field = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs"}
    thing = {"metadata": {"name": "x", "namespace": "n", "labels": None}, "spec": hole, "status": hole}
    snapshot = Snapshot(**{field[kind]: (thing,)}, pods=({"metadata": hole, "spec": hole, "status": hole},))
    status = workload_status(WorkloadRef("n", kind, "x"), snapshot, 0.0)
    assert status.phase in (Phase.PENDING, Phase.SCALED_TO_ZERO)
    assert current_pods(WorkloadRef("n", kind, "x"), snapshot) == ()


def test_names_in_other_namespaces_are_others() -> None:
    other = {"metadata": {"name": "x", "namespace": "other"}, "spec": {"replicas": 0}}
    assert workload_status(WorkloadRef("n", "Deployment", "x"), Snapshot(deployments=(other,)), 0).reason == "NotFound"


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        (None, PodPhase.UNKNOWN),
        ({"phase": "Pending", "conditions": None}, PodPhase.PENDING),
        ({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}, PodPhase.CREATING),
        ({"phase": "Running", "containerStatuses": None}, PodPhase.RUNNING),
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, PodPhase.READY),
        ({"phase": "Succeeded"}, PodPhase.SUCCEEDED),
        ({"phase": "Failed", "reason": "Evicted"}, PodPhase.FAILED),
    ],
)
def test_pod_phases(status: Any, phase: PodPhase) -> None:
    assert pod_phase({"metadata": {"name": "p"}, "status": status}) is phase


def test_claims_and_services() -> None:
    assert pvc_phase({"status": {"phase": "Bound"}}) is PvcPhase.BOUND
    assert pvc_phase({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}) is PvcPhase.TERMINATING
    assert pvc_phase({}) is PvcPhase.PENDING
    assert service_phase({"spec": {"type": "ExternalName"}}, ()) is ServicePhase.AVAILABLE
    assert service_phase({"metadata": {"name": "s"}}, ({"endpoints": None},)) is ServicePhase.UNAVAILABLE


def test_times_of_both_kinds_are_read() -> None:
    assert epoch("1970-01-01T00:01:00Z") == 60.0
    assert epoch("1970-01-01T00:01:00.250000Z") == 60.25
    assert epoch(None) is None and epoch("soon") is None


@pytest.mark.parametrize(
    ("probe", "shown"),
    [
        ({"httpGet": {"port": 8000, "path": "/health"}}, "GET :8000/health"),
        ({"httpGet": {"port": "web", "scheme": "HTTPS"}}, "GET https://:web/"),
        ({"tcpSocket": {"port": 5432}}, "connect to :5432"),
        ({"grpc": {"port": 50051}}, "gRPC health check of :50051"),
        ({"grpc": {"port": 50051, "service": "todo"}}, "gRPC health check of :50051/todo"),
        ({"exec": {"command": ["pg_isready", "-U", "a b"]}}, "exec pg_isready -U 'a b'"),
        (None, ""),
    ],
)
def test_what_a_probe_asks(probe: dict[str, Any] | None, shown: str) -> None:
    assert probe_request(probe) == shown
