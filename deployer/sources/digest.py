"""Content digests: the same content has the same digest on every machine, any other content has another one.

What is hashed are the fields that a build or a chart can see; every field is preceded by its length, so that no two
different inputs are the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from deployer.core.errors import input_error
from deployer.core.files import write_private
from deployer.sources.build_context import ContextFile

Manifest: TypeAlias = Mapping[str, str]
_CACHE_VERSION = 1
_CACHE_LIMIT = 100_000
_RACY_NS = 2_000_000_000  # the coarsest time stamps in use (FAT) have two seconds
_SHORT = 12
_Stat = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Digest:
    """A sha256 in hex, and the short hash of every part of it: files by path, all else by a name that starts with /."""

    value: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """All that decides what an image contains, besides what its base images hold."""

    root: Path
    files: tuple[ContextFile, ...]
    dockerfile: bytes
    args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    platform: str | None = None
    bases: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The ids of the build's secrets and where they come from; their values decide nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """A part that differs between two manifests; `str()` is "app/main.py modified"."""

    path: str
    kind: Literal["added", "modified", "removed"]

    def __str__(self) -> str:
        return f"{_readable(self.path)} {self.kind}"


class FileHashes:
    """Hashes of files, remembered by path, size, times and inode, so that an unchanged file is not read again.

    A file that was touched within two seconds of its hashing is read again next time: it may change once more
    without any of its numbers changing (git's racy index). A cache that cannot be read or written is ignored.
    """

    def __init__(self, cache_path: Path | None = None, now: Callable[[], int] = time.time_ns) -> None:
        self._path = cache_path
        self._now = now
        self._known = _load(cache_path) if cache_path is not None else {}
        self._used: dict[str, tuple[_Stat, str]] = {}
        self._dirty = False

    def sha256(self, path: Path) -> str:
        """The sha256 of the file's content in hex; input error when it cannot be read."""
        key = os.path.abspath(path)  # noqa: PTH100 - no link is resolved
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - the fast path of every run
                before = _stat(os.fstat(file.fileno()))
                known = self._known.get(key)
                if known is not None and known[0] == before:
                    self._used[key] = known
                    return known[1]
                started = self._now()
                value = hashlib.file_digest(file, "sha256").hexdigest()
                after = _stat(os.fstat(file.fileno()))
        except OSError as error:
            raise input_error(
                "FILE_UNREADABLE", f"cannot read `{path}`", detail=error.strerror or "", hints=(f"ls -ld {path}",)
            ) from None
        _, modified, changed, _ = before
        if before == after and started - max(modified, changed) > _RACY_NS:
            self._used[key] = self._known[key] = (before, value)
            self._dirty = True
        return value

    def save(self) -> None:
        """New hashes are in the cache file, all or none; a cache that cannot be written is not an error."""
        if self._path is None or not self._dirty:
            return
        entries = self._used if len(self._known) > _CACHE_LIMIT else self._known
        listed = {key: [*stat, value] for key, (stat, value) in entries.items()}
        document = {"version": _CACHE_VERSION, "files": listed}
        with contextlib.suppress(OSError):
            write_private(self._path, json.dumps(document, separators=(",", ":")))
            self._dirty = False


def image_digest(inputs: BuildInputs, hashes: FileHashes) -> Digest:
    """The digest of an image's inputs; no order counts, and of a file's mode only whether it is executable."""
    parts = {file.path: _file_part(inputs.root, file, hashes) for file in inputs.files}
    parts["/Dockerfile"] = _pack("dockerfile", inputs.dockerfile)
    parts |= {f"/args/{name}": _pack("arg", value) for name, value in inputs.args.items()}
    parts |= {f"/bases/{name}": _pack("base", value) for name, value in inputs.bases.items()}
    parts |= {f"/secrets/{name}": _pack("secret", key) for name, key in inputs.secrets.items()}
    parts |= {"/target": _pack("target", inputs.target)} if inputs.target is not None else {}
    parts |= {"/platform": _pack("platform", inputs.platform)} if inputs.platform is not None else {}
    return parts_digest(parts)


def parts_digest(parts: Mapping[str, bytes]) -> Digest:
    """The digest of named parts, in whatever order they are given."""
    whole = hashlib.sha256(b"todo-deploy digest 1\0")
    manifest = {}
    for name in sorted(parts):
        whole.update(_pack(os.fsencode(name), parts[name]))
        manifest[name] = hashlib.sha256(parts[name]).hexdigest()[:_SHORT]
    return Digest(whole.hexdigest(), manifest)


def changed_files(old: Manifest, new: Manifest) -> list[Change]:
    """What differs, sorted by path; folders and files alike, arguments as `/args/NAME`."""
    changes = []
    for path in sorted({*old, *new}):
        if path not in old:
            changes.append(Change(path, "added"))
        elif path not in new:
            changes.append(Change(path, "removed"))
        elif old[path] != new[path]:
            changes.append(Change(path, "modified"))
    if any("Dockerfile" in change.path.rpartition("/")[2] and change.path != "/Dockerfile" for change in changes):
        # It is a file of the context, and reported as such.
        changes = [change for change in changes if change.path != "/Dockerfile"]
    return changes


def content_part(path: Path, hashes: FileHashes, *, executable: bool = False) -> bytes:
    """A file's content as a part of a digest."""
    return _pack("file", "x" if executable else "-", hashes.sha256(path))


def _file_part(root: Path, file: ContextFile, hashes: FileHashes) -> bytes:
    if file.kind == "file":
        return content_part(root / file.path, hashes, executable=file.executable)
    return _pack(file.kind, os.fsencode(file.target))


def _pack(*fields: str | bytes) -> bytes:
    packed = bytearray()
    for item in fields:
        raw = item if isinstance(item, bytes) else item.encode("utf-8", "surrogateescape")
        packed += len(raw).to_bytes(8, "big") + raw
    return bytes(packed)


def _stat(info: os.stat_result) -> _Stat:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def _load(path: Path) -> dict[str, tuple[_Stat, str]]:
    try:
        # As fast as it can be: the cache of a large repository has thousands of lines.
        document = json.loads(path.read_bytes())
        if document["version"] != _CACHE_VERSION:
            return {}
        known = {}
        for key, (size, modified, changed, inode, value) in document["files"].items():
            if not (isinstance(value, str) and len(value) == 64):
                return {}
            known[key] = ((size, modified, changed, inode), value)
        return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _readable(path: str) -> str:
    if path.startswith("/args/"):
        return f"build argument {path.removeprefix('/args/')}"
    if path.startswith("/secrets/"):
        return f"build secret {path.removeprefix('/secrets/')}"
    if path.startswith("/bases/"):
        return f"base image {path.removeprefix('/bases/')}"
    return {"/Dockerfile": "the Dockerfile", "/target": "the target", "/platform": "the platform"}.get(path, path)
