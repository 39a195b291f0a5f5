from __future__ import annotations

import json

import pytest

from deployer.core.errors import EXIT_MEANINGS, DeployError, ExitCode, Problem, input_error, machine_error, refused


def test_every_exit_code_has_a_meaning() -> None:
    assert set(EXIT_MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("make", "exit_code"),
    [(input_error, ExitCode.INPUT), (machine_error, ExitCode.MACHINE), (refused, ExitCode.REFUSED)],
)
def test_each_kind_of_failure_has_its_exit_code(make: type, exit_code: ExitCode) -> None:
    error = make("CODE", "title", detail="detail", where="file:1", hints=["one", "two"])
    assert error.exit_code is exit_code
    assert error.problems == (Problem("CODE", "title", "detail", "file:1", ("one", "two")),)


def test_one_problem_or_many_make_an_error_that_names_them_all() -> None:
    first, second = Problem("A", "first"), Problem("B", "second")
    assert DeployError(first, ExitCode.INPUT).problems == (first,)
    both = DeployError(iter([first, second]), ExitCode.INPUT)
    assert both.problems == (first, second)
    assert str(both) == "first; second"


def test_a_problem_is_plain_json() -> None:
    problem = Problem("CODE", "title", hints=("do this",))
    assert json.loads(json.dumps(problem.to_wire())) == {
        "code": "CODE", "title": "title", "detail": "", "where": "", "hints": ["do this"]
    }  # fmt: skip
