"""The runtime does not call every kill for memory by its name: who was killed for it before was so again."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from deployer.diagnosis import Known, diagnose
from deployer.rollout.observe import lookup_of
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import epoch
from tests import DATA
from tests.fakes import FakeKube
from tests.unit.status.test_status_cases import load

REF = WorkloadRef("todo", "Deployment", "backend")
CASE = load(DATA / "status" / "oom_twice.yaml")


def seen(reason: str) -> Snapshot:
    objects: dict[str, list[Any]] = copy.deepcopy(CASE["objects"])
    for state in ("state", "lastState"):
        ended = objects["pods"][0]["status"]["containerStatuses"][0][state].get("terminated")
        if ended:
            ended["reason"] = reason
    return Snapshot(**{kind: tuple(found) for kind, found in objects.items()})


@pytest.mark.parametrize(("first", "code"), [("OOMKilled", "OOM_KILLED"), ("Error", "CRASH_LOOP")])
def test_killed_again(first: str, code: str) -> None:
    now, since = epoch(CASE["now"]), epoch(CASE["since"])
    assert now is not None and since is not None
    kube = FakeKube()
    look, before, after = lookup_of(kube, lambda: (), lambda: ()), seen(first), seen("Error")
    found = diagnose(before, (REF,), {}, now, since)
    known = look(Known(), before, (REF,), found, now)
    assert [one.code for one in diagnose(after, (REF,), {}, now, since, known=known)] == [code]


def killed(at: str) -> dict[str, Any]:
    """The event that its liveness probe had the container killed, as of a series."""
    (pod,) = CASE["objects"]["pods"]
    about = {"kind": "Pod", "namespace": "todo", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
             "fieldPath": "spec.containers{backend}"}  # fmt: skip
    message = "Container backend failed liveness probe, will be restarted"
    return {"kind": "Event", "reason": "Killing", "message": message, "involvedObject": about,
            "lastTimestamp": None, "series": {"lastObservedTime": at}}  # fmt: skip


@pytest.mark.parametrize(("at", "code"), [("now", "LIVENESS_PROBE"), ("since", "OOM_KILLED")])
def test_what_its_probe_has_killed_was_not_killed_for_memory_again(at: str, code: str) -> None:
    now, since = epoch(CASE["now"]), epoch(CASE["since"])
    assert now is not None and since is not None
    after = replace(seen("Error"), events=(killed(CASE[at]),))
    known = Known(killed=frozenset({(after.pods[0]["metadata"]["name"], "backend")}))
    assert [one.code for one in diagnose(after, (REF,), {}, now, since, known=known)] == [code]
