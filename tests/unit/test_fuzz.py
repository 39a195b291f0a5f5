"""A few mutated inputs of each kind: none ends with exit code 1 or a traceback (`make fuzz` tries thousands)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.fuzz.home import Home, home
from bench.fuzz.kinds import KINDS

_EACH = 60


@pytest.fixture(scope="module")
def here() -> Iterator[Home]:
    before = signal.getsignal(signal.SIGTERM)
    with home() as made:
        yield made
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=_EACH, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**64 - 1))
def test_no_input_is_taken_for_a_bug(here: Home, kind: str, number: int) -> None:
    here.reset()
    tried = KINDS[kind](here, Random(number))
    assert not tried.bad, f"{tried.what}\n{tried.said}\n{here.trace()}"


def test_the_whole_project_is_in_order(here: Home) -> None:
    """What is mutated is not wrong to begin with: mutations would prove nothing."""
    here.reset()
    for words in ("config view", "secrets check", "plan", "urls", "status", "history", "images list", "init --stdout",
                  "down"):  # fmt: skip
        code, said = here.run(*words.split())
        assert code == 0, said


@pytest.mark.parametrize("created", ["1Gi", "2026-02-30T00:00:00Z", "2026-01-02T03:04:05Z"])
def test_status_shows_workloads_whose_time_of_creation_is_none(here: Home, created: str) -> None:
    here.reset()
    deployment = here.kube.get("Deployment", "default", "api")
    assert deployment is not None
    deployment["metadata"]["creationTimestamp"] = created
    here.kube.put(deployment)
    code, said = here.run("status")
    assert (code, "deployment/api" in said) == (0, True), said
