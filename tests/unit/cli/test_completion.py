"""Completion: the shells' scripts, and answers from the spec file alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from packaging.requirements import Requirement

from deployer.cli import options
from deployer.cli.entry import cli
from deployer.config import load
from tests import ROOT
from tests.unit.cli.conftest import Run

HEAVY = ("pydantic", "ruamel", "rich", "docker", "kubernetes", "pyhelm3", "requests")


def answers(*words: str) -> list[str]:
    """What Tab offers after these words; the last may be begun."""
    *args, incomplete = words
    made = BashComplete(cli, {}, "todo-deploy", "_TODO_DEPLOY_COMPLETE")
    return [item.value for item in made.get_completions(list(args), incomplete)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_every_shell_has_its_script(shell: str, project: Path, run: Run) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert f"{shell}_complete" in ran.out and "_TODO_DEPLOY_COMPLETE" in ran.out and "todo-deploy" in ran.out
    assert run("completion", shell, "-o", "json").document["data"]["shell"] == shell


def test_every_version_of_click_that_is_allowed_completes_every_shell() -> None:
    """PowerShell came with click 8.5; `completion powershell` ended as a bug with those before."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (click,) = (one for one in map(Requirement, project["dependencies"]) if one.name == "click")
    assert not click.specifier.contains("8.4.99")


def test_a_click_without_the_shell_is_said(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.shell_completion.get_completion_class", lambda _: None)
    ran = run("completion", "powershell", "-o", "json")
    assert (ran.code, ran.document["errors"][0]["code"]) == (2, "SHELL_UNKNOWN")


def test_bash_takes_its_script(project: Path, run: Run) -> None:
    script = run("completion", "bash").out
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_services_urls_and_profiles_come_from_the_spec(project: Path) -> None:
    assert answers("logs", "") == ["backend", "frontend"]
    assert answers("logs", "backend", "") == ["frontend"]
    assert answers("restart", "fr") == ["frontend"]
    assert answers("exec", "b") == ["backend"]
    assert answers("open", "") == ["web", "health"]
    assert options.complete_profiles(cli.make_context("todo-deploy", ["urls"]), cli.params[0], "s") == ["small"]


def test_the_spec_that_is_named_and_its_overlay_are_asked(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("images: {worker: {}}\n")
    (tmp_path / "other.local.yaml").write_text("images: {mine: {}}\n")
    assert answers("--file", str(other), "logs", "") == ["worker", "mine"]
    assert answers("restart", "--file", str(other), "w") == ["worker"]


@pytest.mark.parametrize("text", ["a: [", "images: 3", "- 1", "", "\x00"])
def test_a_spec_that_cannot_be_read_offers_nothing(text: str, project: Path) -> None:
    (project / "todo-deploy.yaml").write_text(text)
    assert answers("logs", "") == []


def test_no_spec_offers_nothing(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert answers("logs", "") == []


def test_both_ways_of_reading_look_for_the_same_file() -> None:
    assert options._SPEC_NAME == load.SPEC_NAME


@pytest.mark.parametrize(
    "words", ["logs ", "restart b", "exec ", "open ", "env --", "schema --", "secrets ", "config "]
)
def test_an_answer_imports_nothing_slow(words: str, project: Path) -> None:
    script = (
        "import sys\nfrom deployer.cli.entry import main\n"
        "try:\n    main([])\nexcept SystemExit:\n    pass\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    line = f"todo-deploy {words}"
    env = {**os.environ, "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1),
           "_TODO_DEPLOY_COMPLETE": "bash_complete"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() and done.stderr.strip() == ""
