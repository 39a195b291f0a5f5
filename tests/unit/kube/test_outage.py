"""An API server that does not answer for a while: retried, reported, and an error when it stays away."""

from __future__ import annotations

import threading

import pytest

from deployer.core.errors import DeployError, ExitCode, machine_error, refused
from deployer.core.ports import ClusterFacts
from deployer.kube.outage import STILL_SECONDS, ClusterStopped, ended_with_cluster, retried, unknown, watch_node
from deployer.status import ClusterPhase
from tests.fakes import FakeClock
from tests.fakes.play import code, failed, items, played


class Server:
    """Does not answer until a moment of the clock."""

    def __init__(self, clock: FakeClock, away: float, error: DeployError) -> None:
        self.clock, self.away, self.error = clock, away, error
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        if self.clock.monotonic() < self.away:
            raise self.error
        return "seen"


def unreachable() -> DeployError:
    return machine_error("API_UNREACHABLE", "the API server of `c` does not answer", detail="NewConnectionError")


def test_a_server_that_answers_is_asked_once_and_nothing_is_reported() -> None:
    clock = FakeClock()
    server = Server(clock, 0, unreachable())
    assert played(retried(server, "rollout", clock)) == ([], "seen")
    assert server.asked == 1


@pytest.mark.parametrize("name", ["API_UNREACHABLE", "API_SERVICEUNAVAILABLE"])
def test_a_restart_is_retried_and_reported_once(name: str) -> None:
    clock = FakeClock()
    events, value = played(retried(Server(clock, 20, machine_error(name, "away")), "rollout", clock))
    assert value == "seen"
    assert [(state, words) for _, state, words in items(events)] == [
        ("running", "it does not answer; waiting for it"),
        ("done", "it answers again after 20 s"),
    ]


def test_a_server_that_stays_away_is_named_with_the_next_command() -> None:
    clock = FakeClock()
    _, error = failed(retried(Server(clock, 3600, unreachable()), "rollout", clock, limit=60))
    assert (code(error), error.exit_code) == ("API_UNREACHABLE", ExitCode.MACHINE)
    assert "61 s" in error.problems[0].title
    assert "NewConnectionError" in error.problems[0].detail
    assert error.problems[0].hints[0] == "todo-deploy up"


def test_an_answer_that_is_a_refusal_is_no_outage() -> None:
    clock = FakeClock()
    _, error = failed(retried(Server(clock, 9, refused("API_FORBIDDEN", "no")), "rollout", clock))
    assert (code(error), clock.elapsed) == ("API_FORBIDDEN", 0)


class Node:
    """Is in another phase from each moment of the clock on."""

    def __init__(self, clock: FakeClock, **phases: float) -> None:
        self.clock, self.phases = clock, {ClusterPhase[name]: at for name, at in phases.items()}

    def __call__(self) -> ClusterFacts:
        begun = [phase for phase, at in self.phases.items() if self.clock.monotonic() >= at]
        return ClusterFacts(begun[-1])


@pytest.mark.parametrize("phase", [ClusterPhase.STOPPED, ClusterPhase.BROKEN, ClusterPhase.MISSING])
def test_a_stopped_cluster_is_named_within_a_moment_with_the_next_command(phase: ClusterPhase) -> None:
    clock = FakeClock()
    ask = watch_node(lambda: ClusterFacts(phase), "todo", clock)
    why = ask()
    assert why is not None and (code(why), why.exit_code) == (f"CLUSTER_{phase.name}", ExitCode.MACHINE)
    assert "`todo`" in why.problems[0].title
    assert why.problems[0].hints[0] == "todo-deploy up"
    assert clock.elapsed == 1
    assert ask() is not None and clock.elapsed == 1  # what is known is not waited for again


def test_a_node_that_is_there_again_a_moment_later_was_not_stopped() -> None:
    clock = FakeClock()
    assert watch_node(Node(clock, STOPPED=0, RUNNING=0.5), "todo", clock)() is None


def test_a_node_that_stands_still_for_ten_seconds_is_no_alarm() -> None:
    clock = FakeClock()
    ask = watch_node(Node(clock, PAUSED=0, RUNNING=10), "todo", clock)
    for _ in range(int(STILL_SECONDS) * 2):
        assert ask() is None
        clock.sleep(1)


def test_a_node_that_stands_still_for_long_is_named() -> None:
    clock = FakeClock()
    ask = watch_node(Node(clock, PAUSED=0), "todo", clock)
    assert ask() is None
    clock.sleep(STILL_SECONDS)
    why = ask()
    assert why is not None and code(why) == "CLUSTER_PAUSED"


def test_a_docker_that_does_not_answer_is_being_restarted_until_it_takes_too_long() -> None:
    def look() -> ClusterFacts:
        raise machine_error("DOCKER_UNREACHABLE", "no")

    clock = FakeClock()
    ask = watch_node(look, "todo", clock)
    assert ask() is None
    clock.sleep(STILL_SECONDS)
    why = ask()
    assert why is not None and code(why) == "DOCKER_AWAY"
    assert why.problems[0].hints[0] == "todo-deploy up"


def test_a_server_whose_cluster_was_stopped_is_not_retried() -> None:
    clock = FakeClock()
    why = watch_node(lambda: ClusterFacts(ClusterPhase.STOPPED), "todo", clock)()
    assert why is not None
    events, error = failed(retried(Server(clock, 3600, why), "rollout", clock))
    assert (code(error), items(events)) == ("CLUSTER_STOPPED", [])


def test_what_waits_for_the_cluster_is_ended_once_that_was_stopped() -> None:
    ended = threading.Event()
    ask = watch_node(lambda: ClusterFacts(ClusterPhase.STOPPED), "todo", FakeClock())
    with pytest.raises(ClusterStopped), ended_with_cluster(ask, ended.set):
        assert ended.wait(10)
        raise ConnectionError("what hung was ended")
    with pytest.raises(ClusterStopped), ended_with_cluster(ask, ended.clear):
        while ended.is_set():
            threading.Event().wait(0.01)


def test_what_fails_by_itself_says_so_itself() -> None:
    with pytest.raises(ConnectionError), ended_with_cluster(unknown, lambda: None):
        raise ConnectionError
    running = watch_node(lambda: ClusterFacts(ClusterPhase.RUNNING), "todo", FakeClock())
    with pytest.raises(ConnectionError), ended_with_cluster(running, lambda: None):
        raise ConnectionError
