"""The README and the guides say what the code does."""

from __future__ import annotations

import re

from ruamel.yaml import YAML

from deployer.cli.entry import COMMANDS
from deployer.config.spec import Spec
from tests import ROOT

README = (ROOT / "README.md").read_text()


def test_the_commands_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"todo-deploy ([a-z]+)", README))
    assert {"up", "status", "logs", "explain", "rollback", "init"} <= named <= {*COMMANDS, "rollback"}


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len(links) > 15


def test_the_smallest_spec_is_a_valid_one() -> None:
    page = (ROOT / "docs" / "guides" / "own-application.md").read_text()
    example = re.search(r"```yaml\n(# yaml-language-server.*?)```", page, re.S)
    assert example is not None
    spec = Spec.model_validate(YAML(typ="safe", pure=True).load(example[1]))
    assert spec.application == "shop"
