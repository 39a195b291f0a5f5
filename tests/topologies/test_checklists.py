"""Each topology has a checklist of its document's points, and every test that it names is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.topologies.checklists import SUFFIX, TOPOLOGIES, Malformed, checklist_of, read_checklist, unresolved

CHECKLISTS = sorted(TOPOLOGIES.glob("*" + SUFFIX))
HEAD = "| point | met by | proven by |\n|---|---|---|\n"


@pytest.mark.parametrize("path", CHECKLISTS, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_every_point_is_met_and_every_test_is_there(path: Path) -> None:
    points = read_checklist(path)
    assert points, "a checklist without points"
    assert [problem for point in points for problem in unresolved(point)] == []
    listed = [(point.section, point.text) for point in points]
    assert sorted({one for one in listed if listed.count(one) > 1}) == []
    print(f"{path.name}: {len(points)} points, {sum(bool(point.deviation) for point in points)} deviations")


def test_every_spec_has_a_checklist_and_every_checklist_a_spec() -> None:
    specs = {checklist_of(path) for path in TOPOLOGIES.glob("*.yaml") if not path.name.endswith(".local.yaml")}
    assert specs == set(CHECKLISTS)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        pytest.param("| a | b | |", "none of them empty", id="empty cell"),
        pytest.param("| a | b |", "3 cells", id="cell missing"),
        pytest.param("| a | in the chart | seen by eye |", "no test and no deviation", id="no proof"),
        pytest.param("| a | deviation: was too hard | - |", "no test and no deviation", id="no ruling"),
        pytest.param("| a | deviation (ruling 7): the tag is immutable | none |", "has `-`", id="unclear"),
    ],
)
def test_a_row_that_proves_nothing_is_refused(tmp_path: Path, row: str, complaint: str) -> None:
    path = tmp_path / "x.checklist.md"
    path.write_text(HEAD + row + "\n")
    with pytest.raises(Malformed, match=complaint):
        read_checklist(path)


def test_a_test_that_is_not_there_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.checklist.md"
    here = "tests/topologies/test_checklists.py"
    rows = [
        f"| 1 | b | `{here}::test_a_test_that_is_not_there_is_reported` |",
        f"| 2 | b | `{here}::test_nothing` |",
        "| 3 | b | `tests/nowhere.py::test_x` and `app/frontend-web/tests/server.test.mjs::probes` |",
        "| 4 | b | `app/frontend-web/tests/server.test.mjs::no such test` |",
        "| 5 | deviation (ruling 7): an immutable tag stands in | - |",
    ]
    path.write_text("# Section\n" + HEAD + "\n".join(rows) + "\n")
    points = read_checklist(path)
    assert [list(unresolved(point)) for point in points] == [
        [],
        [f"x.checklist.md:5: no test `test_nothing` in {here}"],
        ["x.checklist.md:6: no file tests/nowhere.py"],
        ["x.checklist.md:7: no test `no such test` in app/frontend-web/tests/server.test.mjs"],
        [],
    ]
    assert points[0].section == "Section"
    assert points[4].deviation.startswith("deviation (ruling 7)")
