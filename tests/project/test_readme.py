"""The README says what the code does."""

from __future__ import annotations

import re

from ruamel.yaml import YAML

from deployer.cli.entry import COMMANDS
from deployer.config.spec import Spec
from deployer.core.errors import EXIT_MEANINGS
from tests import ROOT

TEXT = (ROOT / "README.md").read_text()


def test_the_table_of_exit_codes_is_the_codes() -> None:
    table = TEXT.split("<!-- exit-codes", 1)[1].split("<!-- /exit-codes -->", 1)[0]
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", table, re.M))
    assert rows == {str(int(code)): meaning for code, meaning in EXIT_MEANINGS.items()}


def test_every_command_is_mentioned() -> None:
    missing = [name for name in COMMANDS if not re.search(rf"`[^`]*\b{name}\b", TEXT)]
    assert missing == []


def test_the_smallest_spec_is_a_valid_one() -> None:
    example = re.search(r"```yaml\n(.*?)```", TEXT, re.S)
    assert example is not None
    spec = Spec.model_validate(YAML(typ="safe", pure=True).load(example[1]))
    assert spec.application == "shop"
