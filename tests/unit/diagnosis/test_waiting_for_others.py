"""A program that runs and waits for another one is no fault while that one comes up."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deployer.diagnosis import Finding, diagnose
from deployer.status import Snapshot, WorkloadRef
from deployer.status.objects import epoch
from tests import DATA
from tests.unit.status.test_status_cases import load

CASE = DATA / "status" / "database_just_up.yaml"
REFS = (WorkloadRef("todo", "Deployment", "backend"), WorkloadRef("todo", "StatefulSet", "database"))
REFUSED = 'connection to server at "database" (10.96.3.4), port 5432 failed: Connection refused'


def seen(*, now: str, since: str, started: str, database_ready: bool, log: str) -> tuple[Finding, ...]:
    """What is said of a backend that runs and is not ready, beside a database that is up since 09:01:45 or is not."""
    objects: dict[str, list[Any]] = copy.deepcopy(load(CASE)["objects"])
    backend, database = objects["pods"]
    backend["status"]["containerStatuses"][0] |= {"state": {"running": {"startedAt": started}}, "lastState": {},
                                                  "restartCount": 0, "started": True}  # fmt: skip
    backend["status"]["phase"] = "Running"
    for one in database["status"]["conditions"]:
        if one["type"] == "Ready":
            one["status"] = str(database_ready)
    if not database_ready:
        objects["statefulsets"][0]["status"] |= {"readyReplicas": 0, "availableReplicas": 0}
    snapshot = Snapshot(**{kind: tuple(found) for kind, found in objects.items()})
    logs = {(backend["metadata"]["name"], "backend", False): log}
    at, begun = epoch(now), epoch(since)
    assert at is not None and begun is not None
    return tuple(one for one in diagnose(snapshot, REFS, logs, at, begun) if one.workload == REFS[0])


@pytest.mark.parametrize(("now", "ignored"), [("2026-03-02T09:01:50Z", True), ("2026-03-02T09:02:30Z", False)])
def test_who_tries_again_gets_the_time_to(now: str, ignored: bool) -> None:
    (found,) = seen(
        now=now, since="2026-03-02T09:00:00Z", started="2026-03-02T09:00:03Z", database_ready=True, log=REFUSED
    )
    assert found.code == "DEPENDENCY"
    assert bool(found.ignored) is ignored, found.ignored


@pytest.mark.parametrize(("ready", "ignored"), [(False, True), (True, False)])
def test_a_pod_from_before_the_run_waits_for_what_the_run_restarts(ready: bool, ignored: bool) -> None:
    (found,) = seen(
        now="2026-03-02T09:01:50Z", since="2026-03-02T09:01:00Z", started="2026-03-02T08:50:00Z", database_ready=ready,
        log="",
    )  # fmt: skip
    assert found.code == "READINESS_PROBE"
    assert bool(found.ignored) is ignored, found.ignored


def test_what_a_program_says_is_reported_before_its_probe_fails() -> None:
    (found,) = seen(
        now="2026-03-02T09:00:05Z", since="2026-03-02T09:00:00Z", started="2026-03-02T09:00:03Z", database_ready=True,
        log='failed to resolve host "x": connection to server at "nowhere", port 5432 failed: Connection refused',
    )  # fmt: skip
    assert (found.code, bool(found.ignored)) == ("DEPENDENCY", True)
    assert "nowhere" in found.title
