"""How often the API server is asked, and which logs are read when there are many."""

from __future__ import annotations

import pytest

from deployer.rollout.observe import Pace, Tails, counted, read_tails
from deployer.rollout.stage import take_snapshot
from tests.fakes import FakeClock, FakeKube
from tests.fakes.workloads import ref, show

BACK_OFF = ("CrashLoopBackOff", "back-off 10s restarting failed container")


def test_a_short_rollout_is_looked_at_as_often_as_it_helps() -> None:
    pace = Pace()
    for _ in range(30):
        assert pace.pause(0.7, soon=False) == 0.7
        pace = pace.among(6).after(8, 0.1).after(0, 0.7)


@pytest.mark.parametrize(("rounds", "asked_each"), [(40, 7), (300, 7), (60, 12)])
def test_many_pods_are_asked_for_five_times_a_second_at_most(rounds: int, asked_each: int) -> None:
    pace, asked, seconds = Pace(), 0, 0.0
    for _ in range(rounds):
        pace, asked = pace.among(500).after(asked_each, 0.1), asked + asked_each
        pause = pace.pause(0.7, soon=False)
        pace, seconds = pace.after(0, pause), seconds + 0.1 + pause
    assert 4.4 < asked / seconds <= 5


def test_what_was_just_seen_is_looked_at_again_soon_and_the_debt_paid_later() -> None:
    poor = Pace(0.0).among(500).after(9, 0.0)
    assert (poor.pause(0.7, soon=True), poor.pause(0.7, soon=False)) == (0.7, pytest.approx(2.0))


def test_requests_are_counted() -> None:
    kube, counter = counted(FakeKube())
    kube.list("Pod", "default")
    kube.logs("default", "api-pod", "api")
    assert counter.asked == 2


class Logs(FakeKube):
    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.read: list[tuple[str, bool]] = []

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False, tail: int = 40) -> list[str]:
        self.read.append((pod, previous))
        return [f"{pod} says {len(self.read)}"]


def looked(kube: Logs, tails: Tails, *names: str, pace: Pace = Pace()) -> Tails:  # noqa: B008 - immutable
    refs = [ref(name) for name in names]
    return read_tails(tails, take_snapshot(refs, kube), refs, kube, pace)


def test_of_many_logs_a_few_are_read_in_each_round_until_all_were() -> None:
    kube, tails = Logs(), Tails()
    names = [f"w{number}" for number in range(10)]
    for name in names:
        show(kube, name, ready=False)
    counts = []
    for _ in range(3):
        tails = looked(kube, tails, *names)
        counts.append(len(tails.texts))
    assert counts == [4, 8, 10]
    assert len(kube.read) == 12
    tails = looked(kube, tails, *names, pace=Pace(-1.0))
    assert len(kube.read) == 13


def test_a_log_of_what_has_ended_is_read_once_and_of_another_run_again() -> None:
    kube, tails = Logs(), Tails()
    for restarts in (1, 1, 1, 2):
        show(kube, "api", ready=False, restarts=restarts, waiting=BACK_OFF, crashed=1)
        tails = looked(kube, tails, "api")
    assert kube.read == [("api-pod", True)] * 2
    assert tails.texts == {("api-pod", "api", True): "api-pod says 2"}


def test_a_log_of_what_runs_is_read_anew() -> None:
    kube, tails = Logs(), Tails()
    show(kube, "api", ready=False)
    for _ in range(3):
        tails = looked(kube, tails, "api")
    assert tails.texts == {("api-pod", "api", False): "api-pod says 3"}


def test_what_is_ready_keeps_no_log() -> None:
    kube, tails = Logs(), Tails()
    show(kube, "api", ready=False)
    tails = looked(kube, tails, "api")
    show(kube, "api")
    assert looked(kube, tails, "api").texts == {}


def test_replica_sets_are_asked_for_only_when_a_deployment_has_changed() -> None:
    kube = FakeKube(FakeClock())
    show(kube, "api", ready=False)
    first = take_snapshot([ref("api")], kube)
    counting, counter = counted(kube)
    second = take_snapshot([ref("api")], counting, before=first)
    assert (counter.asked, second.replicasets) == (3, first.replicasets)
    show(kube, "api")
    take_snapshot([ref("api")], counting, before=second)
    assert counter.asked == 3 + 4
