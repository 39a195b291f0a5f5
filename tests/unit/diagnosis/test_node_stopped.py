"""What ended because its node stopped is no crash: its pod's sandbox ended with it, and the kubelet makes another."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deployer.diagnosis import diagnose
from deployer.diagnosis.diagnose import scene_of
from deployer.diagnosis.restarts import ended_lately
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import epoch
from tests import DATA
from tests.unit.status.test_status_cases import load

REF = WorkloadRef("todo", "Deployment", "backend")
CASE = load(DATA / "status" / "exit_zero.yaml")
STOPPED = {"startedAt": "2026-03-02T08:00:00Z", "finishedAt": "2026-03-02T09:00:40Z"}
"""It was stopped in this run, which had the cluster started again."""


def seen(ended: dict[str, Any], *, sandbox: str = "True", anew: str = "", runs: bool = False) -> Snapshot:
    """The pod whose container ended so; `anew`: when the kubelet began to make it another sandbox."""
    objects: dict[str, list[Any]] = copy.deepcopy(CASE["objects"])
    pod = objects["pods"][0]
    status = pod["status"]["containerStatuses"][0]
    status["state"] = {"running": {"startedAt": "2026-03-02T09:00:45Z"}} if runs else {"terminated": ended}
    status["lastState"] = {"terminated": ended} if runs else {}
    for row in pod["status"]["conditions"]:
        if row["type"] == "PodReadyToStartContainers":
            row["status"] = sandbox
    about = {"kind": "Pod", "namespace": "todo", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    event = {"kind": "Event", "reason": "SandboxChanged", "involvedObject": about, "lastTimestamp": anew}
    objects["events"] = [*objects.get("events", ()), event] if anew else objects.get("events", [])
    return Snapshot(**{kind: tuple(found) for kind, found in objects.items()})


def codes(snapshot: Snapshot) -> list[str]:
    now, since = epoch(CASE["now"]), epoch(CASE["since"])
    assert now is not None and since is not None
    return [one.code for one in diagnose(snapshot, (REF,), {}, now, since)]


@pytest.mark.parametrize("code", [0, 137, 143, 255])
def test_what_its_node_stopped_is_no_crash_loop(code: int) -> None:
    ended = {**STOPPED, "exitCode": code}
    assert codes(seen(ended)) == ["CRASH_LOOP"]
    assert codes(seen(ended, sandbox="False")) == []
    assert codes(seen(ended, anew="2026-03-02T09:00:42Z")) == []
    assert "CRASH_LOOP" not in codes(seen(ended, anew="2026-03-02T09:00:42Z", runs=True))


def test_a_container_that_the_runtime_cannot_find_any_more_is_no_crash_loop() -> None:
    ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
    assert codes(seen(ended, anew="2026-03-02T09:00:42Z")) == []


def test_what_crashes_in_its_new_sandbox_is_a_crash_loop() -> None:
    ended = {"exitCode": 0, "startedAt": "2026-03-02T09:00:42Z", "finishedAt": "2026-03-02T09:00:42Z"}
    assert codes(seen(ended, anew="2026-03-02T09:00:42Z")) == ["CRASH_LOOP"]


@pytest.mark.parametrize(("began", "counts"), [("2026-03-02T08:00:00Z", False), ("2026-03-02T09:00:43Z", True)])
def test_only_what_ended_in_its_new_sandbox_has_ended_lately(began: str, counts: bool) -> None:
    ended = {"exitCode": 143, "startedAt": began, "finishedAt": "2026-03-02T09:00:44Z"}
    snapshot, now, since = seen(ended, anew="2026-03-02T09:00:42Z", runs=True), epoch(CASE["now"]), epoch(CASE["since"])
    assert now is not None and since is not None
    assert bool(ended_lately(scene_of(snapshot, (REF,), {}, now, since))) is counts
