from __future__ import annotations

import copy
from typing import Any

import pytest

from deployer.diagnosis import diagnose
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import epoch
from tests import DATA
from tests.unit.status.test_status_cases import load

REF = WorkloadRef("todo", "Deployment", "backend")
CASE = load(DATA / "status" / "liveness_kills.yaml")


@pytest.mark.parametrize(
    ("killed_at", "code"), [("2026-03-02T09:01:10Z", "LIVENESS_PROBE"), ("2026-03-02T09:00:50Z", "")]
)
def test_a_liveness_probe_is_named_while_the_container_still_stops(killed_at: str, code: str) -> None:
    objects: dict[str, list[Any]] = copy.deepcopy(CASE["objects"])
    status = objects["pods"][0]["status"]["containerStatuses"][0]
    status |= {"state": {"running": {"startedAt": "2026-03-02T09:01:00Z"}}, "lastState": {}, "ready": True}
    for event in objects["events"]:
        if event["reason"] == "Killing":
            event["lastTimestamp"] = event["firstTimestamp"] = killed_at
    snapshot = Snapshot(**{kind: tuple(found) for kind, found in objects.items()})
    now, since = epoch("2026-03-02T09:01:11Z"), epoch(CASE["since"])
    assert now is not None and since is not None
    found = diagnose(snapshot, (REF,), {}, now, since)
    assert [one.code for one in found] == ([code] if code else [])


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ({"exec": {"command": ["sh", "-c", "exit 4"]}}, "its postStart hook fails (exec sh -c 'exit 4')"),
        ({"httpGet": {"port": 80, "path": "/init"}}, "its postStart hook fails (GET :80/init)"),
    ],
)
def test_a_post_start_hook_is_named_where_the_container_ends_for_it(hook: dict[str, Any], said: str) -> None:
    objects: dict[str, list[Any]] = copy.deepcopy(CASE["objects"])
    objects["pods"][0]["spec"]["containers"][0]["lifecycle"] = {"postStart": hook}
    for event in objects["events"]:
        if event["reason"] == "Killing":
            event |= {"reason": "FailedPostStartHook", "message": "PostStartHook failed"}
    snapshot = Snapshot(**{kind: tuple(found) for kind, found in objects.items()})
    now, since = epoch(CASE["now"]), epoch(CASE["since"])
    assert now is not None and since is not None
    (found,) = diagnose(snapshot, (REF,), {}, now, since)
    assert found.code == "RUN_FAILED" and said in found.title
    assert found.hints[0].startswith("kubectl exec") is ("exec" in hook)
