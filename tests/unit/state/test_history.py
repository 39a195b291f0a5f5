"""What the history remembers, what counts as verified, and what it would roll back to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from deployer.core.reading import parse_json, shaped
from deployer.state.history import (
    Entry,
    KeptSecretRef,
    Verdict,
    begun,
    judged,
    target,
    without_gone,
)


def entry(number: int, verdict: Verdict = "verified", **more: Any) -> Entry:
    return Entry(number, f"run-{number}", 0.0, "me@here", "why", verdict=verdict, **more)


def numbers(history: tuple[Entry, ...]) -> list[int]:
    return [one.number for one in history]


def grown(history: tuple[Entry, ...], verdict: Verdict, times: int) -> tuple[Entry, ...]:
    for _ in range(times):
        history = judged(begun(history, entry(0, "unfinished")), verdict, "", 1.0)
    return history


def test_ten_failures_do_not_push_out_what_was_verified() -> None:
    history = grown((entry(1), entry(2)), "failed", 12)
    assert numbers(history) == [1, 2, *range(5, 15)]
    found = target(history)
    assert found is not None
    assert found.number == 2


def test_the_oldest_verified_ones_go_once_there_are_newer() -> None:
    assert numbers(grown((entry(1),), "verified", 14)) == list(range(6, 16))


def test_what_never_had_a_verdict_is_superseded_by_the_next() -> None:
    first, second = begun(begun((), entry(0, "unfinished")), entry(0, "unfinished"))
    assert (first.verdict, second.verdict) == ("superseded", "unfinished")


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (entry(1), "verified"),
        (entry(1, unproven=("db", "queue")), "verified but for db, queue"),
        (entry(1, "failed", cause="CRASH_LOOP"), "failed: CRASH_LOOP"),
        (entry(1, "superseded"), "superseded"),
    ],
)
def test_the_verdict_in_words(one: Entry, text: str) -> None:
    assert one.verdict_text == text


def test_what_is_verified_in_part_is_not_gone_back_to_unasked() -> None:
    history = (entry(1), entry(2, unproven=("db",)), entry(3))
    found = target(history)
    assert found is not None
    assert found.number == 1
    assert target(history, 2) == history[1]


def test_the_same_again_is_no_way_back() -> None:
    secrets = (KeptSecretRef("default", "app", "app-1"),)
    one = entry(1, inputs={"web": "a"}, images={"api": "api:1"}, secrets=secrets)
    other = replace(one, number=2, inputs={"web": "b"})
    history = (one, other, replace(one, number=3), replace(one, number=4))
    found = target(history)
    assert found is not None
    assert found.number == 2
    assert target((one, replace(one, number=2))) is None
    rotated = replace(one, number=2, secrets=(KeptSecretRef("default", "app", "app-2"),))
    assert target((one, rotated)) == one


def test_a_rollback_that_was_killed_is_carried_on() -> None:
    """Also where it got as far as running: a second one must not lead to the version that is left behind."""
    one = entry(1, inputs={"web": "a"})
    other = entry(2, inputs={"web": "b"})
    back = entry(3, "unfinished", inputs={"web": "a"}, back_to=1)
    found = target((one, other, back))
    assert found is not None
    assert found.number == 1
    done = target((one, other, replace(back, verdict="verified")))
    assert done is not None
    assert done.number == 2


def test_what_a_killed_run_has_applied_shows_which_way_it_went() -> None:
    history = (entry(1, inputs={"web": "a"}), entry(2, inputs={"web": "b"}))
    killed_rollback = target(history, cut_short={"web": "a"})
    killed_up = target(history, cut_short={"web": "c"})
    assert killed_rollback is not None
    assert killed_up is not None
    assert (killed_rollback.number, killed_up.number) == (1, 2)
    assert target((entry(1, "failed"),), cut_short={"web": "c"}) is None


def test_revisions_of_before_an_uninstall_are_forgotten() -> None:
    history = tuple(entry(number, releases={"web": number, "db": 1}) for number in (1, 2, 3))
    assert numbers(without_gone(history, "web", 2)) == [1]
    assert numbers(without_gone(history, "web", 4)) == [1, 2, 3]
    assert numbers(without_gone(history, "new", 1)) == [1, 2, 3]


def test_an_entry_comes_back_as_it_was_written() -> None:
    one = entry(
        3, "failed", secrets=(KeptSecretRef("default", "app", "app-1"),), releases={"web": 3}, inputs={"web": "x"},
        schema={"api": {"0001.py": "ab"}}, unproven=("db",), cause="OOM", seconds=1.5,
    )  # fmt: skip
    assert shaped(Entry, parse_json(json.dumps(asdict(one)))) == one


def test_an_entry_of_an_older_version_of_the_tool_is_read() -> None:
    document = {key: value for key, value in asdict(entry(1)).items() if key not in ("inputs", "schema", "unproven")}
    assert shaped(Entry, parse_json(json.dumps(document | {"unheard": 1}))) == entry(1)
