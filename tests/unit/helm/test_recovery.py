"""Pending revisions: whose they are, when their owner is provably gone, and what is done then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from deployer.core.errors import ExitCode
from deployer.core.ports import Revision
from deployer.helm import storage
from deployer.helm.recovery import Owner, heal, owner_label, owner_of
from tests.fakes import FakeKube
from tests.fakes.helm import release_secret
from tests.fakes.play import code, failed, items, played


def pending(kube: FakeKube, owner: str = "", *, age: float = 0.0, kind: str = "pending-upgrade") -> Revision:
    """What a helm that was killed leaves behind."""
    labels = {storage.OWNER_LABEL: owner} if owner else {}
    secret = release_secret("app", "default", 3, kind, labels=labels, updated=kube.clock.now() - age)
    kube.put(secret)
    (found,) = storage.revisions([secret], "app")
    return found


def status_of(kube: FakeKube) -> str:
    (found,) = storage.revisions(kube.list("Secret", "default"), "app")
    return found.status


def owner(pid: int, revision: int = 3) -> str:
    return owner_label(revision).replace(f".{os.getpid()}.", f".{pid}.")


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def alive() -> Iterator[int]:
    """The number of a process that lives as long as the test."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", ["pending-install", "pending-upgrade", "pending-rollback"])
def test_what_a_dead_run_of_this_host_left_is_healed_at_once(dead: int, kind: str) -> None:
    kube = FakeKube()
    events, _ = played(heal(pending(kube, owner(dead), kind=kind), "releases", kube, kube.clock))
    assert (events, kube.clock.elapsed, status_of(kube)) == ([], 0, "failed")


def test_this_very_process_left_it_and_may_heal_it() -> None:
    kube = FakeKube()
    played(heal(pending(kube, owner(os.getpid())), "releases", kube, kube.clock))
    assert status_of(kube) == "failed"


def test_another_process_with_the_number_of_the_dead_one_costs_a_minute_and_a_half(alive: int) -> None:
    """The Lease is ours by now, so whatever has that number is no run that may write."""
    kube = FakeKube()
    events, _ = played(heal(pending(kube, owner(alive)), "releases", kube, kube.clock))
    assert 90 <= kube.clock.elapsed < 92
    assert status_of(kube) == "failed"
    ((name, state, words),) = items(events)
    assert (name, state) == ("app", "running")
    assert str(alive) in words


@pytest.mark.parametrize("age", [-86400, 0, 60, 86400])
def test_a_run_on_another_host_had_time_to_notice_that_it_lost_the_lease(age: float) -> None:
    """Counted from our own first look, whatever its clock says."""
    kube = FakeKube()
    played(heal(pending(kube, "another-host.1.3", age=age), "releases", kube, kube.clock))
    assert 90 <= kube.clock.elapsed < 92
    assert status_of(kube) == "failed"


def test_a_helm_that_comes_to_its_end_meanwhile_is_left_alone() -> None:
    kube = FakeKube()
    latest = pending(kube, "another-host.1.3")
    done = release_secret("app", "default", 3, "deployed")
    kube.clock.at(5, lambda: kube.put(done))
    played(heal(latest, "releases", kube, kube.clock))
    assert kube.clock.elapsed < 7
    assert status_of(kube) == "deployed"


@pytest.mark.parametrize(
    "label",
    [
        "",
        "nonsense",
        # Helm has handed on the label of our earlier revision to somebody else's.
        owner_label(2),
    ],
)
def test_a_foreign_helm_has_ten_minutes(label: str) -> None:
    kube = FakeKube()
    _, error = failed(heal(pending(kube, label, age=590), "releases", kube, kube.clock))
    assert (code(error), error.exit_code) == ("RELEASE_BUSY", ExitCode.REFUSED)
    assert "10 s" in error.problems[0].detail
    assert status_of(kube) == "pending-upgrade"
    played(heal(pending(kube, label, age=610), "releases", kube, kube.clock))
    assert status_of(kube) == "failed"


def test_a_revision_that_is_gone_needs_no_healing() -> None:
    kube = FakeKube()
    played(heal(Revision("app", "default", 3, "pending-upgrade"), "releases", kube, kube.clock))
    assert kube.writes == []


def test_a_label_shows_host_process_and_revision() -> None:
    assert owner_of(owner_label(3), 3) == Owner("here", os.getpid())
    assert owner_of("another-host.7.3", 3) == Owner("elsewhere", 7)
    assert owner_of("another-host.7.2", 3) == Owner("foreign")
    assert owner_of("", 3) == Owner("foreign")
