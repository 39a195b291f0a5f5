"""A rollout is more than its pods: whoever must reach them has to find them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.config.spec import FailFast
from deployer.core.events import Item, ItemState, Warned
from deployer.core.steps import Outcome, Steps
from deployer.diagnosis.finding import named
from deployer.rollout.stage import Cause, Limits, Rollout, await_rollout
from deployer.rollout.watch import notes
from deployer.status import WorkloadStatus
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, played
from tests.fakes.workloads import ref, show

KINDS = ("Node", "Service", "Ingress", "IngressClass")
OURS_API = ("default", "api")
OURS = {"annotations": {"meta.helm.sh/release-name": "shop"}, "namespace": "default"}


@pytest.fixture
def kube() -> FakeKube:
    made = FakeKube(FakeClock())
    show(made, "api")
    deployment = made.get("Deployment", "default", "api")
    assert deployment is not None
    deployment["metadata"] |= OURS
    made.put(deployment)
    return made


def rollout(
    kube: FakeKube, *, changed: bool = True, reported: set[Cause] | None = None, needed: tuple[str, str] = OURS_API
) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    limits = Limits(60, 0, FailFast.BALANCED)
    return await_rollout(
        Rollout(
            (ref("api"),), kube, kube.clock, limits, kube.clock.now(), changed, kinds=KINDS,
            reported=reported if reported is not None else set(), needed=frozenset({needed}),
        )
    )  # fmt: skip


def put(kube: FakeKube, kind: str, spec: dict[str, Any]) -> None:
    kube.put({"apiVersion": "v1", "kind": kind, "metadata": {"name": "api", **OURS}, "spec": spec})


def test_a_service_that_selects_nothing_is_named_at_once_and_fails_once_confirmed(kube: FakeKube) -> None:
    put(kube, "Service", {"selector": {"app": "apy"}})
    events, error = failed(rollout(kube))
    assert code(error) == "SERVICE_NO_ENDPOINTS"
    assert "app=apy" in error.problems[0].title
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["SERVICE_NO_ENDPOINTS"]
    assert 10 <= kube.clock.elapsed < 12


@pytest.mark.parametrize("needed", [("default", "other"), ("", "else.example.com")])
def test_a_service_that_selects_nothing_is_advice_where_no_url_needs_it(
    kube: FakeKube, needed: tuple[str, str]
) -> None:
    put(kube, "Service", {"selector": {"app": "apy"}})
    events, _ = played(rollout(kube, needed=needed))
    assert not any(isinstance(one, Warned) for one in events)


def test_a_service_behind_an_ingress_that_a_url_needs_is_needed(kube: FakeKube) -> None:
    put(kube, "Service", {"selector": {"app": "apy"}})
    paths = [{"path": "/", "backend": {"service": {"name": "api"}}}]
    put(kube, "Ingress", {"rules": [{"host": "shop.example.com", "http": {"paths": paths}}]})
    _, error = failed(rollout(kube, needed=("", "shop.example.com")))
    assert code(error) == "SERVICE_NO_ENDPOINTS"


def test_a_service_that_is_put_right_in_time_is_no_failure(kube: FakeKube) -> None:
    put(kube, "Service", {"selector": {"app": "apy"}})
    kube.clock.at(5, lambda: put(kube, "Service", {"selector": {"app": "api"}}))
    played(rollout(kube))
    assert 5 <= kube.clock.elapsed < 8


def test_an_ingress_that_nobody_serves_is_reported_once_and_does_not_fail_what_runs(kube: FakeKube) -> None:
    put(kube, "Ingress", {"ingressClassName": "nginx"})
    reported: set[Cause] = set()
    events, _ = played(rollout(kube, reported=reported))
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["INGRESS_NO_CONTROLLER"]
    assert kube.clock.elapsed == 0
    events, _ = played(rollout(kube, reported=reported))
    assert not [one for one in events if isinstance(one, Warned)]


def test_a_run_that_changed_nothing_does_not_look_around(kube: FakeKube) -> None:
    put(kube, "Service", {"selector": {"app": "apy"}})
    events, _ = played(rollout(kube, changed=False))
    assert not [one for one in events if isinstance(one, Warned)]


def test_a_note_is_kept_up_to_date_until_it_has_passed() -> None:
    noted: dict[Cause, tuple[int, str]] = {}
    made = named("READINESS_PROBE", {"workload": "deployment/api"}, workload=ref("api"))

    def said(*ignored: str) -> list[tuple[ItemState, str]]:
        events = notes([replace(made, ignored=one) for one in ignored], noted, "rollout")
        return [(one.state, one.text.partition(":")[0]) for one in events if isinstance(one, Item)]

    rounds = [said("it started 1 s ago"), said("it started 2 s ago"), said("it started 2 s ago"),
              said("it started 3 s ago"), said(), said()]  # fmt: skip
    running, done = ItemState.RUNNING, ItemState.DONE
    assert rounds == [
        [], [(running, "it started 2 s ago")], [], [(running, "it started 3 s ago")], [(done, "passed")], [],
    ]  # fmt: skip


def test_a_note_that_becomes_an_alarm_has_not_passed() -> None:
    noted: dict[Cause, tuple[int, str]] = {}
    made = named("READINESS_PROBE", {"workload": "deployment/api"}, workload=ref("api"))
    for one in (replace(made, ignored="it has just started"),) * 3:
        list(notes([one], noted, "rollout"))
    assert list(notes([made], noted, "rollout")) == []
