"""The rules of the kinds, each by the smallest object that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.status import Phase, Snapshot, WorkloadRef, current_pods, workload_status
from deployer.status.workloads import WORKLOAD_KINDS

NOW = 1_700_000_000.0
STAMP = "2023-11-14T22:13:10Z"


def ref(kind: str, *, passing: bool = False) -> WorkloadRef:
    return WorkloadRef("n", kind, "x", passing)


def body(kind: str, spec: Any = None, status: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "x", "namespace": "n", "uid": "u-x", **metadata},
            "spec": spec or {}, "status": status or {}}  # fmt: skip


def pod(
    name: str = "p", *, ready: bool = True, labels: Any = None, owner: str = "u-x", **status: Any
) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]
    metadata = {"name": name, "namespace": "n", "labels": labels or {}, "ownerReferences": [{"uid": owner}]}
    return {"kind": "Pod", "metadata": metadata, "status": {"phase": "Running", "conditions": conditions, **status}}


def phase(kind: str, snapshot: Snapshot, *, was_available: bool = False) -> tuple[Phase, str]:
    seen = workload_status(ref(kind), snapshot, NOW, was_available=was_available)
    return seen.phase, seen.reason


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        ({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, Phase.AVAILABLE),
        ({"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}]}, Phase.PROGRESSING),
        ({"phase": "Pending"}, Phase.PENDING),
        ({"phase": "Succeeded"}, Phase.AVAILABLE),
        ({"phase": "Failed"}, Phase.FAILED),
    ],
)
def test_a_bare_pod_is_what_its_own_phase_says(status: dict[str, Any], wanted: Phase) -> None:
    snapshot = Snapshot(pods=(body("Pod", {"containers": [{"name": "a", "image": "i:1"}]}, status),))
    seen = workload_status(ref("Pod"), snapshot, NOW)
    assert (seen.phase, seen.desired, seen.images) == (wanted, 1, ("i:1",))
    assert len(current_pods(ref("Pod"), snapshot)) == 1


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
@pytest.mark.parametrize(("count", "wanted"), [(1, Phase.PENDING), (2, Phase.AVAILABLE)])
def test_a_set_without_a_controller_counts_its_pods(kind: str, count: int, wanted: Phase) -> None:
    made = body(
        kind, {"replicas": 2}, {"replicas": 2, "availableReplicas": count, "observedGeneration": 1}, generation=1
    )
    pods = tuple(pod(f"p{one}") for one in range(count)) if count > 1 else ()
    sets = {"replicasets": (made,)} if kind == "ReplicaSet" else {"others": (made,)}
    seen = workload_status(ref(kind), Snapshot(pods=pods, **sets), NOW)
    assert (seen.phase, seen.ready, seen.desired) == (wanted, len(pods), 2)


@pytest.mark.parametrize(
    "kind", [kind for kind in WORKLOAD_KINDS if kind not in ("Job", "CronJob", "Pod", "DaemonSet")]
)
def test_no_replicas_are_what_was_asked_for(kind: str) -> None:
    made = body(kind, {"replicas": 0}, {"observedGeneration": 1}, generation=1)
    field = {"Deployment": "deployments", "StatefulSet": "statefulsets", "ReplicaSet": "replicasets"}.get(
        kind, "others"
    )
    assert phase(kind, Snapshot(**{field: (made,)}))[0] is Phase.SCALED_TO_ZERO


def job(name: str, at: str, condition: str = "") -> dict[str, Any]:
    rows = [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}] if condition else []
    owners = [{"uid": "u-x"}]
    metadata = {"name": name, "namespace": "n", "uid": name, "creationTimestamp": at, "ownerReferences": owners}
    return {"kind": "Job", "metadata": metadata, "status": {"conditions": rows}}


def test_a_cron_job_is_there_and_its_last_job_says_how_it_went() -> None:
    cron = body("CronJob", {"schedule": "0 3 * * *"}, generation=1)
    old, new = job("x-1", "2023-11-13T03:00:00Z", "Complete"), job("x-2", "2023-11-14T03:00:00Z", "Failed")
    assert phase("CronJob", Snapshot(others=(cron,))) == (Phase.AVAILABLE, "Scheduled")
    assert phase("CronJob", Snapshot(others=(cron,), jobs=(old,))) == (Phase.AVAILABLE, "Scheduled")
    failed = Snapshot(others=(cron,), jobs=(new, old), pods=(pod(owner="x-2"), pod("o", owner="x-1")))
    assert phase("CronJob", failed) == (Phase.AVAILABLE, "LastJobFailed")  # no rollout waits for it
    assert phase("CronJob", failed, was_available=True) == (Phase.DEGRADED, "LastJobFailed")
    assert [one["metadata"]["name"] for one in current_pods(ref("CronJob"), failed)] == ["p"]
    off = body("CronJob", {"schedule": "@daily", "suspend": True})
    assert phase("CronJob", Snapshot(others=(off,)))[0] is Phase.PAUSED


@pytest.mark.parametrize(
    ("spec", "status", "wanted", "counts"),
    [
        ({"parallelism": 3}, {"startTime": STAMP, "succeeded": 1, "active": 2}, Phase.PROGRESSING, (1, 3)),
        ({"parallelism": 2, "completions": 6}, {"startTime": STAMP, "succeeded": 4}, Phase.PROGRESSING, (4, 6)),
        ({"parallelism": 0}, {}, Phase.PAUSED, (0, 0)),
        ({"suspend": True}, {}, Phase.PAUSED, (0, 1)),
    ],
)
def test_jobs_are_counted_by_their_completions(
    spec: dict[str, Any], status: dict[str, Any], wanted: Phase, counts: tuple[int, int]
) -> None:
    seen = workload_status(ref("Job"), Snapshot(jobs=(body("Job", spec, status),)), NOW)
    assert (seen.phase, seen.ready, seen.desired) == (wanted, *counts)


def test_a_job_that_removes_itself_has_ended_when_it_is_gone() -> None:
    def event(reason: str, at: str) -> dict[str, Any]:
        about = {"kind": "Job", "namespace": "n", "name": "x"}
        return {"kind": "Event", "reason": reason, "message": reason, "involvedObject": about, "lastTimestamp": at}

    gone = ref("Job", passing=True)
    assert workload_status(gone, Snapshot(), NOW).phase is Phase.AVAILABLE
    assert workload_status(ref("Job"), Snapshot(), NOW).phase is Phase.PENDING
    failed = event("BackoffLimitExceeded", "2023-11-14T22:13:10Z")
    assert workload_status(gone, Snapshot(events=(failed,)), NOW).phase is Phase.FAILED
    later = event("Completed", "2023-11-14T22:13:15Z")
    assert workload_status(gone, Snapshot(events=(failed, later)), NOW).phase is Phase.AVAILABLE


def daemon_set(strategy: str, updated: int) -> dict[str, Any]:
    counts = {
        "desiredNumberScheduled": 1,
        "numberAvailable": 1,
        "updatedNumberScheduled": updated,
        "observedGeneration": 3,
    }
    marks = {"deprecated.daemonset.template.generation": "3"}
    return body("DaemonSet", {"updateStrategy": {"type": strategy}}, counts, generation=3, annotations=marks)


def revision(name: str, number: int) -> dict[str, Any]:
    return {"metadata": {"name": f"x-{name}", "labels": {"controller-revision-hash": name},
                         "ownerReferences": [{"uid": "u-x"}]}, "revision": number}  # fmt: skip


def test_a_daemon_set_counts_pods_by_its_controllers_revision() -> None:
    # As after a rollback: the pod was never replaced, and keeps the generation that it was made with.
    kept = pod(labels={"pod-template-generation": "1", "controller-revision-hash": "aaa"})
    snapshot = Snapshot(daemonsets=(daemon_set("RollingUpdate", 1),), pods=(kept,),
                        revisions=(revision("aaa", 3), revision("bbb", 2)))  # fmt: skip
    assert phase("DaemonSet", snapshot) == (Phase.AVAILABLE, "AllAvailable")
    assert current_pods(ref("DaemonSet"), snapshot) == (kept,)


def test_a_daemon_set_that_is_updated_by_hand_is_done() -> None:
    old = pod(labels={"pod-template-generation": "2", "controller-revision-hash": "aaa"})
    for strategy, wanted in (("OnDelete", Phase.AVAILABLE), ("RollingUpdate", Phase.PROGRESSING)):
        snapshot = Snapshot(daemonsets=(daemon_set(strategy, 0),), pods=(old,), revisions=(revision("bbb", 3),))
        assert phase("DaemonSet", snapshot)[0] is wanted
    by_hand = Snapshot(daemonsets=(daemon_set("OnDelete", 0),), pods=(old,))
    assert "OnDelete" in workload_status(ref("DaemonSet"), by_hand, NOW).message


def row(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "R", "message": "m"}


@pytest.mark.parametrize(
    ("status", "wanted", "reason"),
    [
        ({}, Phase.AVAILABLE, "NoConditions"),
        ({"conditions": [row("Synced", "False")]}, Phase.AVAILABLE, "Current"),
        ({"conditions": [row("Ready", "True")]}, Phase.AVAILABLE, "Current"),
        ({"conditions": [row("Ready", "False")]}, Phase.PROGRESSING, "R"),
        ({"conditions": [row("Ready", "Unknown")]}, Phase.PROGRESSING, "R"),
        ({"conditions": [row("Ready", "True"), row("Reconciling", "True")]}, Phase.PROGRESSING, "R"),
        ({"conditions": [row("Ready", "False"), row("Stalled", "True")]}, Phase.STALLED, "R"),
        (
            {"observedGeneration": 1, "conditions": [row("Ready", "True")]},
            Phase.PROGRESSING,
            "LatestGenerationNotObserved",
        ),
    ],
)
def test_a_custom_resource_is_what_its_conditions_say(status: dict[str, Any], wanted: Phase, reason: str) -> None:
    made = {**body("Widget", {}, status, generation=2), "apiVersion": "example.com/v1"}
    other = {**body("Widget", {}, {"conditions": [row("Ready", "False")]}), "apiVersion": "other.com/v1"}
    assert phase("Widget.example.com", Snapshot(others=(other, made))) == (wanted, reason)


def test_a_custom_resource_that_nobody_lists_is_not_waited_for() -> None:
    assert phase("Widget.example.com", Snapshot()) == (Phase.AVAILABLE, "NoConditions")
