from __future__ import annotations

from deployer.core.errors import Problem
from deployer.ui.words import annotation, defused, problem_lines

from .scenes import CRASH


def test_a_problem_reads_cause_place_evidence_help() -> None:
    assert problem_lines([CRASH]) == [
        "error[CRASH_LOOP]: `deployment/backend`: container `backend` exits with 1 right after its start",
        "  --> charts/backend/values.yaml:41",
        "  KeyError: 'DATABASE_URL'",
        "  the previous version serves",
        "  help: todo-deploy secrets check",
        "  help: todo-deploy rollback",
        "  more: todo-deploy help CRASH_LOOP",
    ]
    two = problem_lines([Problem("A", "a\x1b[2J"), Problem("B", "b")], "warning")
    assert two == ["warning[A]: a", "", "warning[B]: b"]


def test_what_went_well_after_a_failure_is_no_error() -> None:
    done = problem_lines([CRASH, Problem("ROLLED_BACK", "rolled back to revision 1", hints=("todo-deploy history",))])
    assert done[-2:] == ["note[ROLLED_BACK]: rolled back to revision 1", "  help: todo-deploy history"]


def test_github_annotations_name_the_line_and_are_escaped() -> None:
    assert annotation(CRASH).startswith(
        "::error file=charts/backend/values.yaml,line=41,title=CRASH_LOOP%3A `deployment/backend`%3A container"
    )
    assert "%0A" in annotation(CRASH) and "\n" not in annotation(CRASH)
    assert annotation(Problem("A", "100%, sure", where="deployment/web"), "warning") == (
        "::warning title=A%3A 100%25%2C sure::100%25, sure"
    )
    assert defused("  ::set-env name=A::b") == "  : :set-env name=A::b"
    assert "##[" not in defused("x ##[add-path]/tmp") and defused("a::b") == "a::b"
