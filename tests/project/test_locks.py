"""The locks hold everything that is installed, with hashes, and name no place where packages come from."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deployer.toolchain.files import RECIPES
from deployer.toolchain.pins import GO_WHEEL, NODE_WHEEL
from tests import ROOT

RUN, DEVELOPMENT, GO = ROOT / "requirements.lock", ROOT / "requirements-dev.lock", RECIPES / "go.lock"
NODE = RECIPES / "standins" / "node.lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]


def entries(lock: Path) -> dict[str, list[str]]:
    """Each locked requirement as written → its hashes."""
    found: dict[str, list[str]] = {}
    for part in re.sub(r"^ *#.*\n", "", lock.read_text(), flags=re.MULTILINE).replace("\\\n", " ").splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", part.strip())
        found[requirement] = hashes
    return found


def versions(lock: Path) -> dict[str, str]:
    return {canonicalize_name(one.name): str(one.specifier)[2:] for one in map(Requirement, entries(lock))}


def unmet(lock: Path, wanted: Iterable[str]) -> list[str]:
    locked = versions(lock)
    return [
        text for text in wanted
        if not (one := Requirement(text)).specifier.contains(locked.get(canonicalize_name(one.name), "0"))
    ]  # fmt: skip


@pytest.mark.parametrize("lock", [RUN, DEVELOPMENT, GO, NODE], ids=lambda path: path.name)
def test_every_entry_is_one_version_with_hashes(lock: Path) -> None:
    found = entries(lock)
    assert found
    assert [one for one in found if not re.match(r"[\w.-]+==[\w.]+( ; .*)?$", one)] == []
    assert [one for one, hashes in found.items() if not hashes or any(len(hash) != 71 for hash in hashes)] == []


def test_what_the_project_needs_is_locked() -> None:
    assert unmet(RUN, PROJECT["project"]["dependencies"]) == []
    build = PROJECT["build-system"]["requires"]
    assert set(build) <= set(GROUPS["build"])
    assert unmet(DEVELOPMENT, [*PROJECT["project"]["dependencies"], *GROUPS["dev"], *GROUPS["build"]]) == []
    assert entries(GO).keys() == {GO_WHEEL}
    assert entries(NODE).keys() == {NODE_WHEEL}


def test_development_runs_with_the_locked_versions() -> None:
    run, development = entries(RUN), entries(DEVELOPMENT)
    assert {one: development.get(one) for one in run} == run
