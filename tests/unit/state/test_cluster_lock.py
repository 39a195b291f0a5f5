"""The Lease: taken, waited for, taken over from the dead, given back, and lost."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode, machine_error
from deployer.core.events import Event, Log, StageFinished, StageStarted, Warned
from deployer.core.process import identity
from deployer.core.steps import Clock, Steps, SystemClock
from deployer.state import lock as lease_module
from deployer.state.lock import DURATION_SECONDS, ClusterLock, lease_name
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

NAME = lease_name("shop")
HOST = socket.gethostname()


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


def leased(kube: FakeKube, application: str, run: str, clock: Clock, steps: Steps[str]) -> Steps[str]:
    """The steps under the lock, which is taken before the first of them."""
    lock = ClusterLock(application, run, clock)

    def body() -> Steps[str]:
        yield from lock.take(kube)
        return (yield from steps)

    return lock.during(body())


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


@pytest.mark.parametrize("renewed", ["1970-01-01T00:00:00Z", "2026-01-02T03:04:05.000000Z", "2999-01-01T00:00:00Z"])
@pytest.mark.parametrize("holder", ["ann@elsewhere pid 7 run r7", f"ann@{HOST} pid 4194304 run r7 on another-boot"])
def test_a_holder_elsewhere_is_waited_for_until_it_stops_renewing(holder: str, renewed: str) -> None:
    """Judged by our own clock since its last renewal that we saw: its own, and its machine's name, say nothing."""
    kube, clock, seen = FakeKube(), FakeClock(), list[str]()
    kube.put(lease(holder, renewed))
    clock.at(20, lambda: kube.put(lease(holder, "2026-01-01T00:00:20Z")))
    events, _ = finish(leased(kube, "shop", "run-1", clock, looking(kube, seen)))
    (warning,) = (event.problem for event in events if isinstance(event, Warned))
    assert warning.code == "LOCK_WAIT" and holder in warning.title
    assert [event.stage for event in events if isinstance(event, StageStarted | StageFinished)] == ["lock", "lock"]
    assert 20 + DURATION_SECONDS <= clock.elapsed <= 20 + DURATION_SECONDS + 2
    assert seen == [identity("run-1")]


def test_a_lease_taken_by_somebody_else_is_not_given_back() -> None:
    kube = FakeKube()

    def robbed() -> Steps[str]:
        kube.put(lease("bob@elsewhere pid 9 run r9"))
        yield from ()
        return "done"

    finish(leased(kube, "shop", "run-1", FakeClock(), robbed()))
    assert holders(kube) == ["bob@elsewhere pid 9 run r9"]


class Away(FakeKube):
    """An API server that can be away."""

    is_away = False

    def get(self, kind: str, namespace: str, name: str) -> Any:
        if self.is_away:
            raise machine_error("API_UNREACHABLE", "the API server does not answer")
        return super().get(kind, namespace, name)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat's seconds are hundredths."""
    for name in ("DURATION_SECONDS", "_RENEW_SECONDS", "_AGAIN_SECONDS", "_OVERDUE_SECONDS"):
        monkeypatch.setattr(lease_module, name, getattr(lease_module, name) / 100)


def away(kube: Away, back: Callable[[], None]) -> Steps[str]:
    """Steps under which the API server goes away until the Lease has run out, and then comes back."""
    kube.is_away = True
    threading.Timer(0.6, back).start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not kube.container_logs:
        time.sleep(0.02)
        yield Log("rollout", "api", "still looking")
    return "done"


def test_a_lease_that_ran_out_is_renewed_when_nobody_took_it(quick: None) -> None:
    kube = Away()

    def back() -> None:
        kube.is_away = False
        kube.container_logs["", "", "", False] = ["it is back"]

    events, value = finish(leased(kube, "shop", "run-1", SystemClock(), away(kube, back)))
    assert value == "done"
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["LEASE_OVERDUE"]
    assert holders(kube) == []


def test_a_lease_that_somebody_took_meanwhile_ends_the_run(quick: None) -> None:
    kube = Away()

    def back() -> None:
        kube.put(lease("bob@elsewhere pid 9 run r9"))
        kube.is_away = False

    with pytest.raises(DeployError) as caught:
        finish(leased(kube, "shop", "run-1", SystemClock(), away(kube, back)))
    assert caught.value.problems[0].code == "LEASE_LOST"
    assert holders(kube) == ["bob@elsewhere pid 9 run r9"]


def test_an_api_server_that_stays_away_ends_the_run(quick: None) -> None:
    kube = Away()
    with pytest.raises(DeployError) as caught:
        finish(leased(kube, "shop", "run-1", SystemClock(), away(kube, lambda: None)))
    assert caught.value.problems[0].code == "LEASE_LOST"


def test_a_lock_whose_heartbeat_was_never_started_can_be_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may come between the two."""

    def interrupted(thread: threading.Thread) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    clock = FakeClock()
    lock = ClusterLock("shop", "run-1", clock)
    with pytest.raises(KeyboardInterrupt):
        finish(lock.take(FakeKube(clock)))
    lock.release()
