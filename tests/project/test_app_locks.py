"""`npm ci` refuses a lock file that lacks the packages of another platform: the next machine may be of that one."""

from __future__ import annotations

import json
import re
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


def test_the_backends_lock_holds_for_every_machine() -> None:
    """Names with versions and hashes, and nothing of where the packages came from."""
    lines = (ROOT / "app/backend/requirements.lock").read_text().splitlines()
    written = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    pinned = [line for line in written if not line.startswith(" ")]
    assert pinned and all(re.fullmatch(r"[a-z0-9._-]+==\S+ \\", line, re.IGNORECASE) for line in pinned)
    assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?", line) for line in written if line.startswith(" "))


def test_both_frontends_have_the_same_guard() -> None:
    """Each has its own build context, so the file exists twice; so do its tests."""
    for name in ("guard.mjs", "tests/guard.test.mjs"):
        web, chatbot = (ROOT / "app" / frontend / name for frontend in ("frontend-web", "frontend-chatbot"))
        assert web.read_bytes() == chatbot.read_bytes()
