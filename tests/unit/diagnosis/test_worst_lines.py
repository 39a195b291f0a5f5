"""No text keeps diagnosis busy: every pattern takes time in proportion to its text, and sees only some of it."""

from __future__ import annotations

import re
import time

import pytest

from bench.worst_lines import SIZE, SMALL, seconds, worst_lines
from deployer.core.redact import KNOWN
from deployer.diagnosis import containers, controllers, crashes, logs, needs, scheduling
from deployer.helm import client
from deployer.kube.masking import masked
from tests.fakes.kube import FakeKube

GROWTH = 3.0
"""So much more than in proportion is still noise of the machine."""
NOISE_SECONDS = 0.004


def patterns() -> list[re.Pattern[str]]:
    """The regular expressions of the modules that read what others wrote."""
    found: dict[str, re.Pattern[str]] = {}

    def walk(value: object) -> None:
        if isinstance(value, re.Pattern):
            found[value.pattern] = value
        elif isinstance(value, tuple):
            for one in value:
                walk(one)

    for module in (logs, crashes, needs, scheduling, controllers, containers, client):
        for value in vars(module).values():
            walk(value)
    return list(found.values())


def grows(small: float, large: float) -> float:
    """How many times more than in proportion the large text took."""
    return max(large, NOISE_SECONDS) / max(small, NOISE_SECONDS) / (SIZE / SMALL)


def searched(pattern: re.Pattern[str], text: str) -> float:
    """CPU seconds of one search; the better of two."""
    took = []
    for _ in range(2):
        begun = time.process_time()
        pattern.search(text)
        took.append(time.process_time() - begun)
    return min(took)


def test_every_pattern_takes_time_in_proportion_to_its_text() -> None:
    small, large = worst_lines(SMALL), worst_lines(SIZE)
    slow = [
        (pattern.pattern, name)
        for pattern in patterns()
        for name in small
        if grows(searched(pattern, small[name]), searched(pattern, large[name])) > GROWTH
    ]
    assert len(patterns()) > 30
    assert slow == []


@pytest.mark.parametrize("name", worst_lines(1))
def test_reading_and_diagnosis_take_time_in_proportion_to_the_text(name: str) -> None:
    KNOWN.learn(f"secret-number-{number}" for number in range(20))

    def api(kube: FakeKube) -> FakeKube:
        return masked(kube)  # type: ignore[return-value]

    small, large = seconds(worst_lines(SMALL)[name], api), seconds(worst_lines(SIZE)[name], api)
    assert grows(small[0], large[0]) <= GROWTH, "reading"
    assert grows(small[1], large[1]) <= GROWTH, "diagnosis"


def test_patterns_see_no_more_than_the_end_of_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(crashes, "last_words", lambda text: seen.append(text))
    seconds("\n".join(["x" * SIZE] * 100))
    assert seen
    assert max(map(len, seen)) <= logs.LINES * (logs.LONGEST_LINE + 1)
