"""The attempts of a Job, by the times of its controller and of the kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.diagnosis.attempts import attempts_of, next_attempt, telling_pods
from deployer.status import WorkloadRef
from deployer.status.objects import epoch

Object = dict[str, Any]


def job(failed: int, **spec: Any) -> Object:
    return {"kind": "Job", "metadata": {"name": "migrate"}, "spec": spec, "status": {"failed": failed}}


def failed_pod(name: str, second: int) -> Object:
    ended = {"exitCode": 1, "finishedAt": at(second)}
    return {
        "metadata": {"name": name},
        "status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": ended}}]},
    }


def at(second: int) -> str:
    return f"2026-01-01T10:{second // 60:02}:{second % 60:02}Z"


def seconds(found: float | None) -> float | None:
    return None if found is None else found - (epoch(at(0)) or 0.0)


@pytest.mark.parametrize(("failed", "wait"), [(1, 10), (2, 20), (5, 160), (6, 320), (7, 360)])
def test_a_job_waits_twice_as_long_after_each_failure(failed: int, wait: int) -> None:
    pods = [failed_pod(f"p{n}", n) for n in range(failed)]
    assert seconds(next_attempt(job(failed), pods)) == failed - 1 + wait


def test_what_is_not_one_pod_after_the_other_is_not_known() -> None:
    pods = [failed_pod("p0", 0), failed_pod("p1", 1)]
    assert next_attempt(job(2, parallelism=2), pods) is None
    assert next_attempt(job(2, completions=4), pods) is None
    assert next_attempt(job(1), pods) is None, "the controller has not counted the last one yet"
    running = {"metadata": {"name": "p2"}, "status": {"phase": "Running"}}
    assert next_attempt(job(2), [*pods, running]) is None


def test_a_pod_that_is_started_again_waits_as_the_kubelet_says() -> None:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 2m40s restarting failed container=m pod=p"}
    status = {"state": {"waiting": waiting}, "lastState": {"terminated": {"exitCode": 1, "finishedAt": at(60)}}}
    pod = {"metadata": {"name": "p"}, "status": {"phase": "Running", "containerStatuses": [status]}}
    assert seconds(next_attempt(job(0), [pod])) == 60 + 160


def test_the_last_failure_tells() -> None:
    pods = [failed_pod("a", 5), failed_pod("b", 9), {"metadata": {"name": "c"}, "status": {"phase": "Running"}}]
    of = [pod["metadata"]["name"] for pod in telling_pods(WorkloadRef("default", "Job", "migrate"), pods)]
    assert of == ["b", "c"]
    assert len(telling_pods(WorkloadRef("default", "Deployment", "web"), pods)) == 3


def test_pods_side_by_side_are_one_attempt() -> None:
    assert [attempts_of(job(4, parallelism=side), 0) for side in (1, 2, 3)] == [4, 2, 2]
    assert attempts_of(job(0), 2) == 2
