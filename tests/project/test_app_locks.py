"""`npm ci` refuses a lock file that lacks the packages of another platform: the next machine may be of that one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import ROOT

LOCKS = sorted((ROOT / "app").glob("*/package-lock.json"))


def test_every_frontend_has_a_lock() -> None:
    assert len(LOCKS) == 2


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_the_lock_is_complete(lock: Path) -> None:
    packages = json.loads(lock.read_text())["packages"]
    missing = [
        f"{place}: {name}"
        for place, package in packages.items()
        for name in {**package.get("dependencies", {}), **package.get("optionalDependencies", {})}
        if f"node_modules/{name}" not in packages and f"{place}/node_modules/{name}" not in packages
    ]
    assert missing == []
    unsealed = [place for place, package in packages.items() if place and not package.get("integrity")]
    assert unsealed == []
