"""Parity: the cases can be run, the judge finds what is wrong, and a sample of them has no flaw on the cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.parity.__main__ import chosen, run_cases
from bench.parity.case import Case, Expected, all_cases
from bench.parity.hand import Verdict
from bench.parity.ours import Step
from bench.parity.row import Row, flaws_of
from bench.parity.table import merged, preface, table
from tests.cluster import PROFILE, ensure_test_cluster

SAMPLE = ("132", "137", "191")
_CASES = all_cases(None)
_SAME = Expected()


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_a_case_can_be_staged_and_changed(case: Case, tmp_path: Path) -> None:
    case.stage(tmp_path / "copy", "name")
    for edit in case.change:
        edit.apply(tmp_path / "copy")
    texts = [path.read_text() for path in (tmp_path / "copy").rglob("*.yaml")]
    assert case.why
    assert not any("case-00" in text for text in texts)
    assert any(case.token("name") in text for text in texts)


def _flaws(hand: bool = True, expected: Expected = _SAME, **codes: int) -> list[str]:
    usual = {"validate": 0, "plan": 8, "up": 0, "again": 0, "plan_again": 0, "status": 0, "down": 0}
    seen = {name.replace("_", " "): code for name, code in {**usual, **codes}.items()}
    row = Row(Case("1-one", Path(), first=expected), hand={"first": Verdict(hand, "", 1)})
    row.steps = {name: Step(name, code, 1.0, data={"changed": name == "up"}) for name, code in seen.items()}
    return list(flaws_of(row))


def test_a_row_without_a_flaw_has_none() -> None:
    assert _flaws() == []
    assert _flaws(hand=False, validate=2, plan=2, up=2, again=0) == []
    assert _flaws(expected=Expected(up="refused"), validate=2, plan=2, up=2) == []


@pytest.mark.parametrize(
    "codes",
    [
        {"up": 6},
        {"up": 2, "validate": 2, "plan": 2},
        {"up": 1, "hand": False},
        {"plan": 0},
        {"plan_again": 8},
        {"again": 5},
        {"status": 1},
        {"down": -1},
        {"validate": 2},
        {"expected": Expected(up="refused")},
        {"expected": Expected(hand="fails")},
        {"hand": False, "expected": Expected(code="NONE"), "up": 2, "validate": 2, "plan": 2},
    ],
)
def test_a_flaw_is_found(codes: dict[str, int]) -> None:
    assert _flaws(**codes)  # type: ignore[arg-type]


def _row(name: str, *flaws: str) -> Row:
    return Row(Case(name, Path(), why=f"why {name}"), hand={"first": Verdict(True, "", 1)}, flaws=list(flaws))


def test_rows_that_are_measured_again_take_the_place_of_their_cases() -> None:
    before = [_row("01-a"), _row("02-b", "fell over", "left behind"), _row("04-d", "is slow")]
    text = f"{preface(before, 60.0, 'v4')}\n\n{table(before)}\n"
    found = merged(text, [_row("02-b"), _row("03-c", "is new")], "after a change")
    assert "**4 cases, 2 without a flaw, 2 with one.**" in found
    assert "UTC, after a change: 02-b, 03-c." in found
    assert [line[2:6] for line in found.splitlines() if line.startswith("| 0")] == ["01-a", "02-b", "03-c", "04-d"]
    assert "fell over" not in found
    assert "**03-c** why 03-c\n- is new\n\n**04-d** why 04-d\n- is slow" in found
    again = merged(found, [_row("04-d")], "again")
    assert "**4 cases, 3 without a flaw, 1 with one.**" in again
    assert "after a change: 02-b, 03-c.\n\nMeasured" in again


@pytest.mark.cluster
def test_a_sample_of_cases_has_no_flaw(tmp_path: Path) -> None:
    ensure_test_cluster()
    rows = run_cases(chosen(_CASES, SAMPLE), PROFILE, tmp_path, f"parity{os.getpid()}", 3)
    assert len(rows) == len(SAMPLE)
    assert {row.case.name: row.flaws for row in rows if row.flaws} == {}
