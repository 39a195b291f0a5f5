"""Restart: the pod template says when, and nothing else about a workload changes."""

from __future__ import annotations

import pytest

from deployer.core.errors import ExitCode
from deployer.stages.restart import ANNOTATION, restart_workloads
from deployer.status import WorkloadRef
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, items, played
from tests.fakes.workloads import ref, show


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


def annotation(kube: FakeKube, name: str) -> str | None:
    found = kube.get("Deployment", "default", name)
    assert found is not None
    return (found["spec"]["template"]["metadata"].get("annotations") or {}).get(ANNOTATION)


def test_the_template_says_when_as_kubectl_does(kube: FakeKube) -> None:
    show(kube, "api")
    show(kube, "web")
    before = kube.get("Deployment", "default", "api")
    events, outcome = played(restart_workloads([ref("api")], kube, kube.clock))
    assert annotation(kube, "api") == "2026-01-02T03:04:05Z"
    assert annotation(kube, "web") is None
    assert (outcome.changed, outcome.value, outcome.text) == (True, (ref("api"),), "api")
    assert items(events) == [(str(ref("api")), "done", "its pods are being replaced")]
    after = kube.get("Deployment", "default", "api")
    assert before is not None
    assert after is not None
    del after["spec"]["template"]["metadata"]["annotations"]
    assert after["spec"] == before["spec"]


def test_a_second_restart_is_another_change(kube: FakeKube) -> None:
    show(kube, "api")
    played(restart_workloads([ref("api")], kube, kube.clock))
    kube.clock.sleep(61)
    played(restart_workloads([ref("api")], kube, kube.clock))
    assert annotation(kube, "api") == "2026-01-02T03:05:06Z"


def test_a_job_is_refused_before_anything_restarts(kube: FakeKube) -> None:
    show(kube, "api")
    job = WorkloadRef("default", "Job", "migrate")
    _, error = failed(restart_workloads([ref("api"), job], kube, kube.clock))
    assert (code(error), error.exit_code) == ("RESTART_JOB", ExitCode.INPUT)
    assert "`migrate`" in error.problems[0].title
    assert kube.writes == []


def test_a_workload_that_is_gone_is_named(kube: FakeKube) -> None:
    _, error = failed(restart_workloads([ref("api")], kube, kube.clock))
    assert (code(error), error.exit_code) == ("WORKLOAD_GONE", ExitCode.MACHINE)
    assert str(ref("api")) in error.problems[0].title
    assert error.problems[0].hints == ("todo-deploy up",)
