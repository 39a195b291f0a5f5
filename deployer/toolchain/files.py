"""Files that survive a kill at any point: digests, atomic writes, work folders and the lock."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from deployer.core.errors import DeployError, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.files import open_lock, take_lock, write_private
from deployer.core.reading import Malformed, parse_json
from deployer.core.steps import Steps
from deployer.toolchain.model import STAGE

T = TypeVar("T")

RECIPES = Path(__file__).parent / "recipes"


def digest(*parts: object) -> str:
    """A hexadecimal SHA-256 over the parts' text."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()


@cache
def recipe_digest(*names: str) -> str:
    """The digest of files and folders of recipes: names and contents."""
    total = hashlib.sha256()
    for name in names:
        root = RECIPES / name
        files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        for path in files:
            total.update(f"{path.relative_to(RECIPES)}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@cache
def pins_key() -> str:
    """What makes an earlier answer, or a bundle's toolchain, worthless when it changes: the pins and the recipes."""
    return digest(recipe_digest("."), (Path(__file__).parent / "pins.py").read_bytes())


def bundled(cache_dir: Path) -> dict[str, Any] | None:
    """What a loaded bundle left to be known of its toolchain (`bundle.Programs`), while it is that of these pins."""
    note = read_json(bundled_note(cache_dir))
    return note if note is not None and note.get("key") == pins_key() else None


def bundled_folder(key: str) -> str:
    """Where a bundle's minikube, helm and kubectl are below the cache folder, unless they were built from source."""
    return f"toolchain/bundled/{key[:12]}"


def bundled_note(cache_dir: Path) -> Path:
    """Where that is."""
    return cache_dir / "toolchain" / "bundle.json"


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """The document is at `path`, whole, or what was there before still is."""
    write_private(path, json.dumps(document, indent=1), 0o644, sync=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object at `path`, or None where there is none that can be read."""
    try:
        document = parse_json(path.read_bytes())
    except (OSError, Malformed):
        return None
    return document if isinstance(document, dict) else None


def fingerprint(path: Path) -> list[int] | None:
    """What changes when a file does, without reading it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def link(path: Path, target: Path) -> None:
    """`path` is a symbolic link to `target`, or leads to the same file already: `target` may itself lead here."""
    if path.is_symlink() and (path.readlink() == target or (path.exists() and path.resolve() == target.resolve())):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


@contextmanager
def work_folder(cache_dir: Path, name: str) -> Iterator[Path]:
    """An empty folder within the cache that is gone afterwards. Only to be used under the lock.

    The name is this process's own: children of a killed run may still be writing into theirs for a moment.
    """
    folder = cache_dir / "toolchain" / "work" / f"{name}.{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def locked(cache_dir: Path, body: Steps[T]) -> Steps[T]:
    """The body's steps while no other process works on the same cache; the lock dies with its holder."""
    with open_lock(cache_dir / "toolchain" / "lock") as stream:
        waited = False
        while not take_lock(stream):
            if not waited:
                yield Item(STAGE, "lock", ItemState.RUNNING, "another run is preparing the same toolchain")
                waited = True
            time.sleep(0.2)
        if waited:
            yield Item(STAGE, "lock", ItemState.DONE, "the other run has ended")
        # What killed runs left: whoever holds the lock is the only one at work.
        for stale in (cache_dir / "toolchain" / "work").glob("*"):
            shutil.rmtree(stale, ignore_errors=True)
        try:
            return (yield from body)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise _disk_full(cache_dir, str(error)) from error
        except DeployError as error:
            full = next((found for found in error.problems if "no space left on device" in found.detail.lower()), None)
            if full is None:
                raise
            raise _disk_full(cache_dir, full.detail) from error


def _disk_full(cache_dir: Path, detail: str) -> DeployError:
    return machine_error(
        "DISK_FULL",
        "the disk is full: the toolchain could not be prepared",
        detail=detail,
        where=str(cache_dir),
        hints=("df -h", "docker system df", "run the command again when there is space: it carries on"),
    )
