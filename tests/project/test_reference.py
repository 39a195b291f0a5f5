"""The generated pages are those of the code, and every code has its entry."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from deployer.cli.entry import COMMANDS
from deployer.cli.help_ import every_code
from deployer.config.spec import Spec
from deployer.status import ClusterPhase
from scripts import reference
from scripts.messages import messages
from tests import ROOT

DYNAMIC = {"API_STATUS", "DOCKER_AWAY", "ENV_SKIPPED", *(f"CLUSTER_{phase.name}" for phase in ClusterPhase)}
"""Codes that are put together when they are printed."""


def printed_codes() -> set[str]:
    return {code for one in messages() if "{" not in one.code for code in one.code.split(" | ")}


def test_every_code_that_can_be_printed_has_an_entry() -> None:
    assert sorted(printed_codes() - every_code().keys()) == []


def test_every_entry_is_a_code_that_can_be_printed() -> None:
    assert sorted(every_code().keys() - printed_codes() - DYNAMIC) == []


def test_entries_are_in_the_order_of_the_alphabet_and_say_something() -> None:
    codes = every_code()
    assert list(codes) == sorted(codes) and len(codes) > 250
    assert [code for code, text in codes.items() if len(text) < 30] == []


def test_the_site_has_every_generated_page() -> None:
    site = YAML(typ="safe", pure=True).load((ROOT / "mkdocs.yml").read_text().replace("!!python/name:", ""))
    sections = {name: pages for part in site["nav"] for name, pages in part.items()}
    listed = {page for one in sections["Reference"] for page in one.values()}
    assert {f"reference/{name}" for name in reference.pages()} <= listed


def test_the_page_of_the_spec_has_every_field_and_an_example_of_each() -> None:
    schema: dict[str, Any] = Spec.model_json_schema(by_alias=True)
    page, examples = reference.spec_page(), "\n".join(reference.examples().values())
    fields = {key for node in (schema, *schema["$defs"].values()) for key in node.get("properties", {})}
    assert [key for key in sorted(fields) if f"| `{key}` |" not in page] == []
    assert [key for key in sorted(fields) if not re.search(rf"\b{key}\b", examples)] == []


@pytest.mark.parametrize("path", reference.examples())
def test_an_example_is_a_part_of_a_valid_spec(path: str) -> None:
    least = {"apiVersion": "todo-deploy/v1", "application": "shop", "releases": {"shop": {"chart": "charts/shop"}}}
    example = YAML(typ="safe", pure=True).load(reference.examples()[path])
    switches = {name: {"whenUnset": "DATABASE_URL"} for name in ("database",)}
    images = {name: {"repository": name, "context": name} for name in ("api", "web")}
    base = {**least, "switches": switches, "images": images, "urls": {"web": {"service": "web"}}}
    known = {key: value for key, value in example.items() if key != "profiles"}
    assert Spec.model_validate({**base, **known}).application == "shop"


def test_every_command_has_its_section() -> None:
    page = reference.commands_page()
    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == []
