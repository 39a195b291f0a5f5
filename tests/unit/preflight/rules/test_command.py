"""`validate`: the list of rules, and findings as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from deployer.cli import validate as command
from deployer.cli.entry import cli
from deployer.commands import validate as validation
from deployer.preflight.rules.judging import RULES, judge
from deployer.preflight.validate import Examined
from tests.unit.preflight.rules.subjects import Change, strict, subject

SPEC = "apiVersion: todo-deploy/v1\napplication: shop\nreleases: {shop: {chart: c}}\n"


def validate(folder: Path, monkeypatch: pytest.MonkeyPatch, change: Change, *words: str) -> Result:
    (folder / "todo-deploy.yaml").write_text(SPEC)
    monkeypatch.setattr(validation, "examine", lambda *_: Examined(judge(subject(strict(change)))))
    return CliRunner().invoke(cli, ["validate", "-f", str(folder / "todo-deploy.yaml"), *words], standalone_mode=False)


def broken(parts: dict[str, Any]) -> None:
    parts["deployment"]["spec"]["strategy"] = {"type": "Recreate"}
    del parts["deployment"]["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]


def test_every_rule_is_listed_with_its_source() -> None:
    text = CliRunner().invoke(cli, ["validate", "--rules"], standalone_mode=False).output
    assert all(rule.name in text and rule.source in text and rule.sentence in text for rule in RULES)
    document = json.loads(CliRunner().invoke(cli, ["validate", "--rules", "-o", "json"], standalone_mode=False).output)
    assert [one["name"] for one in document["data"]["rules"]] == [rule.name for rule in RULES]


def test_errors_come_first_and_advice_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = validate(tmp_path, monkeypatch, broken)
    assert result.return_value == 2
    shown = result.stderr
    assert shown.index("error[LIVENESS_MISSING]") < shown.index("1 error") < shown.index("validate -v): UPDATE_GAP\n")
    assert "Recreate" not in shown
    assert "rules.waive" in shown


def test_more_detail_shows_each_piece_of_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = validate(tmp_path, monkeypatch, broken, "-v").stderr
    assert shown.index("error[LIVENESS_MISSING]") < shown.index("advice[UPDATE_GAP]: ")
    assert "Recreate" in shown and "validate -v" not in shown


def test_in_order_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = validate(tmp_path, monkeypatch, lambda parts: None)
    assert result.return_value == 0
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""
    assert validate(tmp_path, monkeypatch, lambda parts: None, "--quiet").output == ""


def test_the_document_has_every_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(validate(tmp_path, monkeypatch, broken, "-o", "json").stdout)
    assert (document["ok"], document["exitCode"]) == (False, 2)
    assert [one["code"] for one in document["errors"]] == ["LIVENESS_MISSING"]
    found = document["data"]["findings"]
    assert [(one["rule"], one["severity"], one["object"]) for one in found] == [
        ("LIVENESS_MISSING", "error", "deployment/api"),
        ("UPDATE_GAP", "warning", "deployment/api"),
    ]


def test_the_command_is_the_one_of_the_table() -> None:
    assert command.validate.name == "validate"
