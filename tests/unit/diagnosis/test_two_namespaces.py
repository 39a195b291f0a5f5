"""Names and labels mean something in one namespace: another one's workloads of the same name explain nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from deployer.diagnosis import Finding, diagnose
from deployer.status import WorkloadRef
from tests import DATA
from tests.unit.status.test_status_cases import Case

KINDS = {"Deployment": "deployments", "StatefulSet": "statefulsets"}


def with_another(name: str, kind: str, **labels: str) -> tuple[Finding, ...]:
    """The findings of the case where a workload of another namespace, of which nothing runs, has the same name."""
    case = Case(DATA / "status" / f"{name}.yaml")
    objects: dict[str, Any] = {field: getattr(case.snapshot, field) for field in KINDS.values()}
    found = copy.deepcopy(objects[KINDS[kind]][0])
    found["metadata"] |= {"namespace": "another", "uid": "u"}
    found["spec"]["template"]["metadata"]["labels"] |= labels
    found["status"] = {}
    changed: dict[str, Any] = {KINDS[kind]: (found, *objects[KINDS[kind]])}
    refs = (WorkloadRef("another", kind, found["metadata"]["name"]), *case.refs)
    return diagnose(replace(case.snapshot, **changed), refs, case.logs, case.now, case.since, known=case.known)


def selector_of(name: str) -> dict[str, str]:
    case = Case(DATA / "status" / f"{name}.yaml")
    return dict(case.snapshot.services[0]["spec"]["selector"])


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("no_metrics", "Deployment", "HPA_NO_METRICS"),
        ("service_selects_nothing", "Deployment", "SERVICE_NO_ENDPOINTS"),
        ("database_up_for_long", "StatefulSet", "DEPENDENCY"),
    ],
)
def test_a_workload_of_another_namespace_explains_nothing(name: str, kind: str, code: str) -> None:
    before = [one for one in Case(DATA / "status" / f"{name}.yaml").findings() if one.code == code]
    labels = selector_of(name) if code == "SERVICE_NO_ENDPOINTS" else {}
    after = [one for one in with_another(name, kind, **labels) if one.code == code]
    assert [(one.title, one.workload, one.ignored) for one in after] == [
        (one.title, one.workload, one.ignored) for one in before
    ]
    assert before
