"""What a pod waits for may yet come: something of the release that makes it, or that holds it, is still at work."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.diagnosis import Finding, Known, diagnose
from deployer.rollout.stage import take_snapshot
from deployer.status import WorkloadRef
from tests.fakes import FakeClock, FakeKube
from tests.fakes.workloads import ref, show

JOB = WorkloadRef("default", "Job", "make")
MISSING = 'secret "made" not found'
NO_KEY = "couldn't find key token in Secret default/made"
CPU = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


def job(kube: FakeKube, *conditions: str, phase: str = "Running") -> None:
    """A Job with a pod on a node."""
    metadata = {"name": "make", "namespace": "default", "uid": "job"}
    status = {"startTime": kube.clock.stamp(), "conditions": [{"type": one, "status": "True"} for one in conditions]}
    kube.put({"kind": "Job", "metadata": metadata, "spec": {"template": {}}, "status": status})
    owners = [{"kind": "Job", "name": "make", "uid": "job"}]
    placed = {"phase": phase, "conditions": [{"type": "PodScheduled", "status": "True"}]}
    metadata = {"name": "make-1", "namespace": "default", "uid": "p", "ownerReferences": owners}
    kube.put({"kind": "Pod", "metadata": metadata, "spec": {"restartPolicy": "Never"}, "status": placed})


def found(kube: FakeKube, known: Known | None = None, *refs: WorkloadRef) -> Finding:
    """What is said of the application."""
    every = (ref("api"), *refs)
    snapshot, now = take_snapshot(every, kube), kube.clock.now()
    (one,) = [each for each in diagnose(snapshot, every, {}, now, now - 1, known=known) if each.workload == ref("api")]
    return one


def pending(kube: FakeKube, **status: Any) -> None:
    """The application's pod has no node."""
    show(kube, "api", waiting=("ContainerCreating", ""))
    pod = kube.get("Pod", "default", "api-pod")
    assert pod is not None
    row = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": CPU}
    kube.put({**pod, "status": {"phase": "Pending", "conditions": [row], **status}})


@pytest.mark.parametrize(
    ("message", "known", "ignored"),
    [
        (MISSING, Known(), ""),
        (MISSING, Known(secrets={"made": ("token",)}), "it is there by now"),
        (NO_KEY, Known(secrets={"made": ("token",)}), "it is there by now"),
        (NO_KEY, Known(secrets={"made": ("other",)}), ""),
        (MISSING, Known(makers=True), "a controller may make it"),
        ("invalid value", Known(makers=True), ""),
    ],
)
def test_what_is_missing_may_have_come_by_now(kube: FakeKube, message: str, known: Known, ignored: str) -> None:
    show(kube, "api", waiting=("CreateContainerConfigError", message))
    assert found(kube, known).ignored.partition(",")[0] == ignored


@pytest.mark.parametrize(("conditions", "ignored"), [((), True), (("Complete",), False), (("Failed",), False)])
def test_a_job_may_make_what_is_missing_until_it_is_done(
    kube: FakeKube, conditions: tuple[str, ...], ignored: bool
) -> None:
    job(kube, *conditions)
    show(kube, "api", waiting=("CreateContainerConfigError", MISSING))
    assert bool(found(kube, None, JOB).ignored) is ignored


@pytest.mark.parametrize("why", [MISSING, "references non-existent secret key: a", "no such device"])
def test_so_it_is_with_what_is_mounted(kube: FakeKube, why: str) -> None:
    message = f'MountVolume.SetUp failed for volume "made" : {why}'
    show(kube, "api", waiting=("ContainerCreating", ""))
    event = {"reason": "FailedMount", "message": message, "lastTimestamp": kube.clock.stamp(),
             "involvedObject": {"kind": "Pod", "name": "api-pod", "uid": "pod-api"}}  # fmt: skip
    kube.put({"kind": "Event", "metadata": {"name": "e", "namespace": "default"}, **event})
    one = found(kube, Known(makers=True))
    assert one.code == "VOLUME_MOUNT" and bool(one.ignored) is ("no such device" not in message)


@pytest.mark.parametrize(("phase", "ignored"), [("Running", True), ("Succeeded", False)])
def test_a_job_frees_its_share_of_the_node_when_it_is_done(kube: FakeKube, phase: str, ignored: bool) -> None:
    job(kube, phase=phase)
    pending(kube)
    one = found(kube, None, JOB)
    assert one.code == "UNSCHEDULABLE_CPU" and bool(one.ignored) is ignored


def test_pods_of_a_lower_priority_make_room(kube: FakeKube) -> None:
    pending(kube)
    assert not found(kube).ignored
    pending(kube, nominatedNodeName="node")
    assert "node node" in found(kube).ignored
