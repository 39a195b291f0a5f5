"""The Lease: taken, waited for, taken over from the dead, given back, and lost."""

from __future__ import annotations

import os
from typing import Any

import pytest

from deployer.errors import DeployError, ExitCode
from deployer.events import Event, Warned
from deployer.holder import identity
from deployer.lease import DURATION_SECONDS, lease_name, leased
from deployer.steps import Steps
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

NAME = lease_name("shop")


def lease(holder: str, renewed: str = "2026-01-01T00:00:00.000000Z") -> dict[str, Any]:
    """A Lease somebody holds."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": "default"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": renewed},
    }


def holders(kube: FakeKube) -> list[str]:
    """Who holds the Lease while the steps run."""
    return [one["spec"]["holderIdentity"] for one in kube.list("Lease", "default")]


def looking(kube: FakeKube, seen: list[str]) -> Steps[str]:
    """Steps that look who holds the Lease."""
    seen += holders(kube)
    yield from ()
    return "done"


def finish(steps: Steps[str]) -> tuple[list[Event], str]:
    """The events and the value."""
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def test_it_is_held_while_the_steps_run_and_given_back_after() -> None:
    kube, clock, seen = FakeKube(), FakeClock(), list[str]()
    events, value = finish(leased(kube, "shop", "run-1", clock, looking(kube, seen)))
    assert (events, value) == ([], "done")
    assert seen == [identity("run-1")]
    assert holders(kube) == []


def test_it_is_given_back_when_the_steps_fail() -> None:
    kube = FakeKube()

    def failing() -> Steps[str]:
        yield from ()
        raise DeployError((), ExitCode.BUILD)

    with pytest.raises(DeployError):
        finish(leased(kube, "shop", "run-1", FakeClock(), failing()))
    assert holders(kube) == []


def test_a_dead_holder_of_this_host_is_replaced_at_once() -> None:
    kube, clock, seen = FakeKube(), FakeClock(), list[str]()
    dead = identity("old").replace(f"pid {os.getpid()}", "pid 4194304")
    kube.put(lease(dead, "2999-01-01T00:00:00.000000Z"))
    events, _ = finish(leased(kube, "shop", "run-1", clock, looking(kube, seen)))
    assert events == []
    assert seen == [identity("run-1")]


def test_a_living_holder_elsewhere_is_waited_for_until_it_stops_renewing() -> None:
    kube, clock, seen = FakeKube(), FakeClock(), list[str]()
    renewed = clock.now()
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(renewed, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kube.put(lease("ann@elsewhere pid 7 run r7", at))
    events, _ = finish(leased(kube, "shop", "run-1", clock, looking(kube, seen)))
    assert [event.problem.code for event in events if isinstance(event, Warned)] == ["LOCK_WAIT"]
    assert "ann@elsewhere" in events[0].problem.title  # type: ignore[union-attr]
    assert clock.now() - renewed > DURATION_SECONDS
    assert seen == [identity("run-1")]


def test_a_lease_taken_by_somebody_else_is_not_given_back() -> None:
    kube = FakeKube()

    def robbed() -> Steps[str]:
        kube.put(lease("bob@elsewhere pid 9 run r9"))
        yield from ()
        return "done"

    finish(leased(kube, "shop", "run-1", FakeClock(), robbed()))
    assert holders(kube) == ["bob@elsewhere pid 9 run r9"]
