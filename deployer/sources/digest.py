"""Content digests: the same content has the same digest on every machine, any other content has another one.

What is hashed are the fields that a build or a chart can see; every field is preceded by its length, so that no two
different inputs are the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, TypeAlias

from deployer.core.errors import DeployError, input_error
from deployer.core.files import write_private
from deployer.sources.build_context import ContextFile, stamp_of

Manifest: TypeAlias = Mapping[str, str]
_CACHE_VERSION = 2
_CACHE_LIMIT = 100_000
_RACY_NS = 2_000_000_000  # the coarsest time stamps in use (FAT) have two seconds
_SHORT = 12
_HEX = 64
# Of a file that is gone since it was listed; no file has this hash, so that the build notices and lists anew.
_GONE = "0" * _HEX
_CHUNK = 2**18


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
    """Hashes of files, remembered by path and `stamp_of`, so that an unchanged file is not even opened again.

    A file that was touched within two seconds of its hashing is read again next time: it may change once more
    without any of its numbers changing (git's racy index). A cache that cannot be read or written is ignored.
    """

    def __init__(self, cache_path: Path | None = None, now: Callable[[], int] = time.time_ns) -> None:
        self._path = cache_path
        self._now = now
        self._known = _load(cache_path) if cache_path is not None else {}
        self._used: dict[str, str] = {}
        self._dirty = False

    def sha256(self, path: str | Path, stamp: str = "", size: int = sys.maxsize) -> str:
        """The sha256 of the file's content in hex; input error when it cannot be read.

        Text is an absolute path; `stamp` and `size`: those of a moment ago, where they are known. What a file has
        more by now is not hashed.
        """
        key = path if isinstance(path, str) else os.path.abspath(path)  # noqa: PTH100 - no link is resolved
        try:
            stamp = stamp or stamp_of(os.stat(path))  # noqa: PTH116 - the fast path of every run
            known = self._known.get(key, "")
            if known[:-_HEX] == f"{stamp} ":
                self._used[key] = known
                return known[-_HEX:]
            with open(path, "rb") as file:  # noqa: PTH123
                before = os.fstat(file.fileno())
                started = self._now()
                value = _hashed(file, size)
                after = os.fstat(file.fileno())
        except OSError as error:
            raise input_error(
                "FILE_UNREADABLE", f"cannot read `{path}`", detail=error.strerror or "", hints=(f"ls -ld {path}",)
            ) from None
        settled = started - max(before.st_mtime_ns, before.st_ctime_ns) > _RACY_NS
        if settled and stamp_of(before) == stamp_of(after) and after.st_size <= size and "\n" not in key:
            self._used[key] = self._known[key] = f"{stamp_of(before)} {value}"
            self._dirty = True
        return value

    def save(self) -> None:
        """New hashes are in the cache file, all or none; a cache that cannot be written is not an error."""
        if self._path is None or not self._dirty:
            return
        entries = self._used if len(self._known) > _CACHE_LIMIT else self._known
        body = os.fsencode("".join(f"{key}\n{value}\n" for key, value in entries.items()))
        with contextlib.suppress(OSError):
            write_private(self._path, _head(body) + body)
            self._dirty = False


def image_digest(inputs: BuildInputs, hashes: FileHashes) -> Digest:
    """The digest of an image's inputs; no order counts, and of a file's mode only whether it is executable."""
    root = os.path.abspath(inputs.root)  # noqa: PTH100 - no link is resolved
    parts = {file.path: _file_part(root, file, hashes) for file in inputs.files}
    parts["/Dockerfile"] = _pack("dockerfile", inputs.dockerfile)
    parts |= {f"/args/{name}": _pack("arg", value) for name, value in inputs.args.items()}
    parts |= {f"/bases/{name}": _pack("base", value) for name, value in inputs.bases.items()}
    parts |= {f"/secrets/{name}": _pack("secret", key) for name, key in inputs.secrets.items()}
    parts |= {"/target": _pack("target", inputs.target)} if inputs.target is not None else {}
    parts |= {"/platform": _pack("platform", inputs.platform)} if inputs.platform is not None else {}
    return parts_digest(parts)


def parts_digest(parts: Mapping[str, bytes]) -> Digest:
    """The digest of named parts, in whatever order they are given."""
    names = sorted(parts)
    packed = b"".join(
        [piece for name in names for piece in _pieces(name.encode("utf-8", "surrogateescape"), parts[name])]
    )
    manifest = {name: hashlib.sha256(parts[name]).hexdigest()[:_SHORT] for name in names}
    return Digest(hashlib.sha256(b"todo-deploy digest 1\0" + packed).hexdigest(), manifest)


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


def content_part(path: Path, hashes: FileHashes) -> bytes:
    """A file's content as a part of a digest."""
    return _content(hashes.sha256(path))


def short_part(file: ContextFile, sha256: str) -> str:
    """What the manifest of a context says of the file where its content has this hash."""
    if file.kind != "file":
        part = _pack(file.kind, os.fsencode(file.target))
    else:
        part = _content(sha256, executable=file.executable)
    return hashlib.sha256(part).hexdigest()[:_SHORT]


def dockerfile_part(content: bytes) -> str:
    """What the manifest of a context says of a Dockerfile of this content."""
    return hashlib.sha256(_pack("dockerfile", content)).hexdigest()[:_SHORT]


def _hashed(file: IO[bytes], most: int) -> str:
    """The sha256 of so many bytes of the file, or of all it has."""
    found = hashlib.sha256()
    while most > 0 and (chunk := file.read(min(most, _CHUNK))):
        found.update(chunk)
        most -= len(chunk)
    return found.hexdigest()


def _content(sha256: str, *, executable: bool = False) -> bytes:
    return _CONTENT[executable] + sha256.encode()


def _file_part(root: str, file: ContextFile, hashes: FileHashes) -> bytes:
    if file.kind == "file":
        path = f"{root}/{file.path}"
        try:
            found = hashes.sha256(path, file.stamp, file.size)
        except DeployError:
            if os.path.lexists(path):
                raise
            found = _GONE
        return _content(found, executable=file.executable)
    return _pack(file.kind, os.fsencode(file.target))


def _pack(*fields: str | bytes) -> bytes:
    raw = [item if isinstance(item, bytes) else item.encode("utf-8", "surrogateescape") for item in fields]
    return b"".join(_pieces(*raw))


def _pieces(*fields: bytes) -> list[bytes]:
    return [piece for one in fields for piece in (len(one).to_bytes(8, "big"), one)]


FOLDER = hashlib.sha256(_pack("dir", b"")).hexdigest()[:_SHORT]
"""What a manifest says of a folder."""


# A part ends with the hash, whose length is always the same.
_CONTENT = {executable: _pack("file", mark, "0" * _HEX)[:-_HEX] for executable, mark in ((True, "x"), (False, "-"))}


def _head(body: bytes) -> bytes:
    """The first line of the cache: what it is, and a checksum, for half a cache must not pass for a whole one."""
    return b"todo-deploy hashes %d %08x\n" % (_CACHE_VERSION, zlib.crc32(body))


def _load(path: Path) -> dict[str, str]:
    """The cache: a line with the path of each file, and one with its stamp and hash; empty where it is damaged.

    As fast as it can be: that of a large repository has a hundred thousand lines.
    """
    try:
        raw = path.read_bytes()
    except OSError:
        return {}
    head, _, body = raw.partition(b"\n")
    if head + b"\n" != _head(body):
        return {}
    lines = os.fsdecode(body).split("\n")
    return dict(zip(lines[0::2], lines[1::2], strict=False))


def _readable(path: str) -> str:
    if path.startswith("/args/"):
        return f"build argument {path.removeprefix('/args/')}"
    if path.startswith("/secrets/"):
        return f"build secret {path.removeprefix('/secrets/')}"
    if path.startswith("/bases/"):
        return f"base image {path.removeprefix('/bases/')}"
    return {"/Dockerfile": "the Dockerfile", "/target": "the target", "/platform": "the platform"}.get(path, path)
