"""Pods that the kubelet turns away before it starts any of their containers."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.diagnosis import diagnose
from deployer.rollout.stage import take_snapshot
from tests.fakes import FakeClock, FakeKube
from tests.fakes.workloads import ref, show


@pytest.mark.parametrize(
    ("status", "rejected"),
    [
        ({"reason": "SysctlForbidden", "message": "forbidden sysctl: kernel.x not allowlisted"}, True),
        ({"reason": "AppArmor", "message": "Cannot enforce AppArmor"}, True),
        (
            {"reason": "Evicted", "containerStatuses": [{"name": "api", "state": {"terminated": {"exitCode": 137}}}]},
            True,
        ),
        ({"reason": "Other", "containerStatuses": [{"name": "api", "state": {"terminated": {"exitCode": 1}}}]}, False),
        ({}, False),
    ],
)
def test_a_pod_that_no_container_of_ran_was_rejected(status: dict[str, Any], rejected: bool) -> None:
    kube = FakeKube(FakeClock())
    show(kube, "api", waiting=("ContainerCreating", ""))
    pod = kube.get("Pod", "default", "api-pod")
    assert pod is not None
    kube.put({**pod, "status": {"phase": "Failed", **status}})
    snapshot, now = take_snapshot((ref("api"),), kube), kube.clock.now()
    said = {one.code: one.title for one in diagnose(snapshot, (ref("api"),), {}, now, now - 1)}
    assert ("POD_REJECTED" in said) is rejected
    assert not rejected or str(status["reason"]) in said["POD_REJECTED"]
