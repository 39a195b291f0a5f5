"""The table of topologies says what was measured, and what went wrong is not lost in it."""

from __future__ import annotations

from pathlib import Path

from bench.topologies.journey import STEPS, Journey, Points, points_of
from bench.topologies.results import keep_journey, keep_together, kept_journeys, kept_together
from bench.topologies.table import journeys_table, together_lines
from bench.topologies.together import Together

SECONDS = {step: number + 0.25 for number, step in enumerate(STEPS)}


def test_a_row_for_each_journey_and_a_line_for_each_problem() -> None:
    good = Journey("one", SECONDS, 900, 3, Points(4, 4))
    cut = Journey("another", {"up": 1.0}, 0, 1, problems=("Broken: the second up changed something",))
    lines = journeys_table([good, cut]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:4]]
    assert cells[0][:2] == ["topology", "up (s)"]
    assert cells[2] == ["one", "0.2", "1.2", "2.2", "3.2", "4.2", "3", "900", "4 of 4", "ok"]
    assert cells[3] == ["another", "1.0", "-", "-", "-", "-", "1", "-", "no list", "FAILED"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4:] == ["", "- another: Broken: the second up changed something"]


def test_a_point_that_nothing_proves_fails_the_journey(tmp_path: Path) -> None:
    assert Journey("x", SECONDS, points=Points(4, 4)).ok
    assert not Journey("x", SECONDS, points=Points(3, 4)).ok
    assert not Journey("x", dict(list(SECONDS.items())[:-1])).ok
    spec = tmp_path / "x.yaml"
    assert points_of(spec) == Points()
    here = "tests/topologies/test_table.py"
    rows = [
        f"| a | b | `{here}::test_a_point_that_nothing_proves_fails_the_journey` |",
        f"| c | d | `{here}::test_no` |",
    ]
    (tmp_path / "x.checklist.md").write_text("| point | met by | proven by |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    assert points_of(spec) == Points(1, 2)
    (tmp_path / "x.checklist.md").write_text("| what |\n")
    assert points_of(spec) == Points(0, 1)


def test_refusals_are_shown_with_their_arithmetic() -> None:
    result = Together(
        ["a"], ["a", "b"], [("b", "LIMIT_SHARE: x\ntogether 2"), ("c", "CAPACITY: y")], 5, "all: 3", ["z"]
    )
    assert together_lines(result).splitlines() == [
        "- Side by side: a, b; 5 URLs answer.",
        "- Of these within the documents' share of limits (70 %): a.",
        "- With all of them running:", "", "  ```", "  all: 3", "  ```", "",
        "- Refused: b, then started without the rule on limits:", "",
        "  ```", "  LIMIT_SHARE: x", "  together 2", "  ```", "",
        "- Refused: c, not started:", "", "  ```", "  CAPACITY: y", "  ```", "",
        "- Wrong: z",
    ]  # fmt: skip


def test_results_are_kept_and_replaced(tmp_path: Path) -> None:
    specs = [Path("topologies/a.yaml"), Path("tests/b/todo-deploy.yaml"), Path("c.yaml")]
    first = Journey("a", SECONDS, 900, 3, problems=("x",))
    keep_journey(tmp_path / "new", specs[0], first)
    keep_journey(tmp_path / "new", specs[1], Journey("b", SECONDS))
    assert kept_journeys(tmp_path / "new", tmp_path, specs) == [first, Journey("b", SECONDS)]
    keep_journey(tmp_path / "new", specs[0], Journey("a", SECONDS))
    assert [one.problems for one in kept_journeys(tmp_path / "new", tmp_path, specs)] == [(), ()]
    assert kept_together(tmp_path / "new") is None
    result = Together(["a"], ["a"], [("b", "words")], 2, "shares", [])
    keep_together(tmp_path / "new", result)
    assert kept_together(tmp_path / "new") == result
