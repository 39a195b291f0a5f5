"""Waivers, the order of findings, and the line that each names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import Problem
from deployer.preflight.rules import judging
from deployer.preflight.rules.judging import RULES, advice, errors, judge, summary
from deployer.preflight.rules.model import Rule, Violation
from tests.unit.preflight.rules.subjects import strict, subject

VALUES = """\
# api: not this one
other:
  image: {tag: x}

api:
  replicaCount: 2

  resources:
    # limits: nor this one
    requests: {cpu: 1}
    limits:
      cpu: 100m
  "probes":
    liveness: {}
"""


def broken(parts: dict[str, Any]) -> None:
    container = parts["deployment"]["spec"]["template"]["spec"]["containers"][0]
    del container["livenessProbe"]
    container["resources"]["requests"]["cpu"] = "200m"


def waived(*waivers: dict[str, Any]) -> list[tuple[str, str]]:
    def change(parts: dict[str, Any]) -> None:
        broken(parts)
        parts["spec"]["rules"] = {"waive": list(waivers)}

    return [(one.rule, one.severity) for one in judge(subject(strict(change)))]


def test_errors_come_first() -> None:
    found = judge(subject(strict(broken)))
    assert [one.severity for one in found] == ["error", "warning"]
    assert [one.code for one in errors(found)] == ["LIVENESS_MISSING"]
    assert [one.code for one in advice(found)] == ["REQUEST_AT_LIMIT"]


def test_a_waiver_takes_its_rule_away() -> None:
    assert waived({"rule": "LIVENESS_MISSING", "reason": "a batch worker"}) == [("REQUEST_AT_LIMIT", "warning")]


@pytest.mark.parametrize("pattern", ["deployment/api", "deployment/*", "*"])
def test_a_waiver_may_name_objects(pattern: str) -> None:
    waiver = {"rule": "LIVENESS_MISSING", "reason": "a batch worker", "objects": [pattern]}
    assert waived(waiver) == [("REQUEST_AT_LIMIT", "warning")]


def test_a_waiver_may_name_an_image() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["spec"]["rules"] = {
            "tagPolicy": "semver-commit",
            "waive": [{"rule": "TAG_POLICY", "reason": "its tag is its content", "objects": ["image/api"]}],
        }

    assert judge(subject(change)) == ()


def test_a_waiver_of_another_object_takes_nothing_away_and_is_reported() -> None:
    waiver = {"rule": "LIVENESS_MISSING", "reason": "a batch worker", "objects": ["deployment/web"]}
    assert ("LIVENESS_MISSING", "error") in waived(waiver)
    assert ("WAIVER_UNUSED", "warning") in waived(waiver)


def test_an_unused_waiver_is_reported_at_its_line() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["spec"]["rules"] = {"waive": [{"rule": "TAG_LATEST", "reason": "no reason any more"}]}

    found = judge(subject(change))
    assert [one.rule for one in found] == ["WAIVER_UNUSED"]
    assert found[0].problem.where.startswith("todo-deploy.yaml:")
    assert judge(subject(change), partly=True) == ()


def test_a_waiver_of_an_unknown_rule_is_reported_with_the_nearest() -> None:
    def change(parts: dict[str, Any]) -> None:
        parts["spec"]["rules"] = {"waive": [{"rule": "tag-latests", "reason": "typed in a hurry"}]}

    found = judge(subject(change))
    assert [(one.rule, one.problem.hints) for one in found] == [("WAIVER_UNKNOWN", ("did you mean `TAG_LATEST`?",))]


@pytest.mark.parametrize("reason", ["", "x", "a long story " * 1000])
def test_a_reason_has_any_length(reason: str) -> None:
    assert waived({"rule": "LIVENESS_MISSING", "reason": reason}) == [("REQUEST_AT_LIMIT", "warning")]


def test_a_rule_may_be_allowed_by_its_name_alone() -> None:
    def change(parts: dict[str, Any]) -> None:
        broken(parts)
        parts["spec"]["rules"] = {"allow": ["LIVENESS_MISSING", "TAG_LATEST"]}

    found = judge(subject(strict(change)))
    assert [one.rule for one in found] == ["REQUEST_AT_LIMIT", "WAIVER_UNUSED"]
    assert found[1].problem.where.startswith("todo-deploy.yaml:")


@pytest.mark.parametrize("rule", RULES, ids=lambda one: one.name)
def test_every_rule_can_be_waived(rule: Rule) -> None:
    """Whatever its tier."""
    one = replace(rule, check=lambda _: [Violation("wrong")])
    assert [found.rule for found in judge(subject(), [one])] == [rule.name]

    def change(parts: dict[str, Any]) -> None:
        parts["spec"]["rules"] = {"waive": [{"rule": rule.name, "reason": ""}]}

    assert judge(subject(change), [one]) == ()


def test_what_is_certain_is_refused_and_the_rest_is_advice_unless_the_spec_is_strict() -> None:
    severities = {
        (rule.tier, change is not None): judge(
            subject(change or (lambda parts: None)), [replace(rule, check=lambda _: [Violation("wrong")])]
        )[0].severity
        for rule in RULES
        for change in (None, strict(lambda parts: None))
    }
    assert severities == {
        ("certain", False): "error", ("certain", True): "error",
        ("policy", False): "warning", ("policy", True): "error",
        ("advice", False): "warning", ("advice", True): "warning",
    }  # fmt: skip


def test_advice_is_summed_up_in_one_line() -> None:
    problems = [Problem(code, "x") for code in ("A", "B", "A", "C", "D", "E", "F", "G")]
    line = summary(problems)
    assert "\n" not in line and line.endswith(": A (2), B, C, D, E, 2 more")
    assert summary([]) == ""


def test_a_violation_is_located_in_the_charts_values(tmp_path: Path) -> None:
    chart = tmp_path / "charts" / "shop"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text(VALUES)
    where = {one.rule: one.problem.where for one in judge(subject(strict(broken), folder=tmp_path))}
    assert where == {
        "LIVENESS_MISSING": "charts/shop/values.yaml:14",
        "REQUEST_AT_LIMIT": "charts/shop/values.yaml:10",
    }


def test_a_violation_is_located_in_the_spec_where_it_is_written_there(tmp_path: Path) -> None:
    def change(parts: dict[str, Any]) -> None:
        broken(parts)
        parts["spec"]["releases"]["shop"]["values"] = {"api": {"resources": {"requests": {"cpu": "200m"}}}}

    made = subject(change, folder=tmp_path)
    line = made.loaded.origins["releases", "shop", "values", "api", "resources", "requests"].line
    found = {one.rule: one.problem.where for one in judge(made)}
    assert found["REQUEST_AT_LIMIT"] == f"todo-deploy.yaml:{line}"


def test_without_a_line_the_object_and_its_chart_are_reported() -> None:
    where = {one.rule: one.problem.where for one in judge(subject(strict(broken)))}
    assert where["LIVENESS_MISSING"] == "deployment/api of chart charts/shop"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ("api: {probes: {liveness: {}}}\n", ":1"),
        ("probes:\n  liveness: {}\n", ":2"),
        ("text: |\n  probes:\n    liveness: no\nprobes: {}\n", ":4"),
        ("other: {}\n", ""),
        ("\tbroken: [", ""),
    ],
)
def test_the_line_is_the_one_of_the_yaml_document(tmp_path: Path, values: str, line: str) -> None:
    chart = tmp_path / "charts" / "shop"
    chart.mkdir(parents=True)
    (chart / "values.yaml").write_text(values)
    where = {one.rule: one.problem.where for one in judge(subject(strict(broken), folder=tmp_path))}
    file = f"charts/shop/values.yaml{line}"
    assert where["LIVENESS_MISSING"] == (file if line else "deployment/api of chart charts/shop")


def test_every_module_of_rules_is_judged_by() -> None:
    folder = Path(judging.__file__).parent
    modules = {path.stem for path in folder.glob("*.py") if re.search(r"^@rule\(", path.read_text(), re.MULTILINE)}
    assert modules == {one.check.__module__.rpartition(".")[2] for one in RULES}
