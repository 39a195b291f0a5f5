"""An API server that does not answer for a while: sat out, told, and named when it stays away."""

from __future__ import annotations

import pytest

from deployer.errors import DeployError, ExitCode, machine_error, refused
from deployer.outage import sat_out
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


def test_a_server_that_answers_is_asked_once_and_nothing_is_told() -> None:
    clock = FakeClock()
    server = Server(clock, 0, unreachable())
    assert played(sat_out(server, "rollout", clock)) == ([], "seen")
    assert server.asked == 1


@pytest.mark.parametrize("name", ["API_UNREACHABLE", "API_SERVICEUNAVAILABLE"])
def test_a_restart_is_sat_out_and_told_once(name: str) -> None:
    clock = FakeClock()
    events, value = played(sat_out(Server(clock, 20, machine_error(name, "away")), "rollout", clock))
    assert value == "seen"
    assert [(state, words) for _, state, words in items(events)] == [
        ("running", "it does not answer; waiting for it"),
        ("done", "it answers again after 20 s"),
    ]


def test_a_server_that_stays_away_is_named_with_the_next_command() -> None:
    clock = FakeClock()
    _, error = failed(sat_out(Server(clock, 3600, unreachable()), "rollout", clock, patience=60))
    assert (code(error), error.exit_code) == ("API_UNREACHABLE", ExitCode.MACHINE)
    assert "has not answered for 61 s" in error.problems[0].title
    assert "NewConnectionError" in error.problems[0].detail
    assert error.problems[0].hints[0] == "todo-deploy up"


def test_an_answer_that_is_a_refusal_is_no_outage() -> None:
    clock = FakeClock()
    _, error = failed(sat_out(Server(clock, 9, refused("API_FORBIDDEN", "no")), "rollout", clock))
    assert (code(error), clock.elapsed) == ("API_FORBIDDEN", 0)
