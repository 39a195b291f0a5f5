"""Build contexts: which files Docker would send, and a tar of them that is the same bytes for the same files.

The rules of `.dockerignore` are those of `docker build` with BuildKit: moby/patternmatcher, and
`<Dockerfile>.dockerignore` before `.dockerignore`. A folder that is ignored is still searched for files that a
later `!` pattern brings back, which the classic builder does only for patterns that begin with the folder's name.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import posixpath
import re
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Literal

from deployer.core.errors import input_error

# Where a Dockerfile from outside the context is in the tar; a fixed name keeps the builder's cache valid.
OUTSIDE_DOCKERFILE = ".todo-deploy.Dockerfile"
_NEARLY_ALL = 0.8
_IGNORE = ".dockerignore"
# Go's filepath.Match: a class is not empty, and "]" or "-" within it are escaped.
_CLASS = re.compile(r"\[(\^?)((?:(?:\\.|[^\\\]-])(?:-(?:\\.|[^\\\]-]))?)+)\]", re.DOTALL)
_META = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class ContextFile:
    """One entry of a context: its path from the root with `/`, and all of its mode that counts."""

    path: str
    kind: Literal["file", "dir", "symlink"]
    size: int = 0
    executable: bool = False
    target: str = ""
    stamp: str = field(default="", compare=False)
    """Size, times and inode of a file when it was listed (`stamp_of`)."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of `.dockerignore`; `prefix` is what every path that it matches begins with."""

    regex: re.Pattern[str]
    negated: bool
    prefix: str
    literal: bool

    def may_match_below(self, folder: str) -> bool:
        """Whether the pattern can match a path within the folder."""
        inside = f"{folder}/"
        return self.prefix.startswith(inside) or (not self.literal and inside.startswith(self.prefix))


def stamp_of(info: os.stat_result) -> str:
    """What changes whenever a file's content does: size, times of content and status, inode."""
    return f"{info.st_size} {info.st_mtime_ns} {info.st_ctime_ns} {info.st_ino}"


def parse_dockerignore(text: str, source: str = _IGNORE) -> tuple[Pattern, ...]:
    """The patterns in their order, cleaned as Docker cleans them; input error with the line of a bad one."""
    patterns = []
    for number, line in enumerate(re.split(r"\r?\n", text.removeprefix("\ufeff")), start=1):
        if line.startswith("#") or not line.strip():
            continue
        stripped = line.strip()
        mark, body = ("!", stripped[1:].strip()) if stripped.startswith("!") else ("", stripped)
        # Docker cleans twice and looks for the mark after the first time, so "/!a" brings "a" back as well.
        whole = _clean(mark + (_clean(body, strip_slash=True) if body else ""))
        negated = whole.startswith("!")
        try:
            if whole == "!":
                raise ValueError("nothing follows the `!`")
            patterns.append(_pattern(whole.removeprefix("!"), negated))
        except (ValueError, re.error) as error:
            raise input_error(
                "DOCKERIGNORE_PATTERN",
                f"`{stripped}` is not a pattern of .dockerignore",
                detail=str(error),
                hints=("see https://docs.docker.com/build/concepts/context/#dockerignore-files",),
                where=f"{source}:{number}",
            ) from None
    return tuple(patterns)


def ignored(patterns: Sequence[Pattern], path: str, parent: Sequence[bool] = ()) -> tuple[bool, tuple[bool, ...]]:
    """Whether the path is left out, and which patterns matched it: the `parent` argument for what is within it."""
    matched = False
    results = []
    for index, pattern in enumerate(patterns):
        # What matched a folder matches all within it. A pattern that could change nothing is not asked, and
        # counts as no match for what is within: Docker's own (observable) shortcut.
        match = bool(parent) and parent[index]
        if not match and pattern.negated == matched:
            match = pattern.regex.fullmatch(path) is not None
        results.append(match)
        if match:
            matched = not pattern.negated
    return matched, tuple(results)


def context_files(root: Path, dockerfile: Path | None = None) -> tuple[ContextFile, ...]:
    """All that Docker would send of the folder, sorted by path; Dockerfile and `.dockerignore` always are.

    Sockets, pipes and devices are skipped. Input error when the folder, its ignore file or a subfolder cannot be read.
    """
    patterns = _patterns(root, dockerfile)
    found = {entry.path: entry for entry in _walk(root, patterns)}
    own = dockerfile_name(root, dockerfile if dockerfile is not None else root / "Dockerfile")
    for name in (_IGNORE, own):
        if name not in found and name != OUTSIDE_DOCKERFILE and os.path.lexists(root / name):
            entry = entry_of(name, root / name)
            found |= {name: entry} if entry is not None else {}
    return tuple(found[path] for path in sorted(found))


def ignore_file(root: Path, dockerfile: Path) -> tuple[bytes, str]:
    """Content and name of the ignore file that counts for the Dockerfile; both empty where there is none."""
    for path in (dockerfile.with_name(f"{dockerfile.name}{_IGNORE}"), root / _IGNORE):
        if path.is_file():
            try:
                return path.read_bytes(), path.name
            except OSError as error:
                raise _unreadable(path, error) from None
    return b"", ""


def dockerfile_name(root: Path, dockerfile: Path) -> str:
    """The Dockerfile's name in the context, or `OUTSIDE_DOCKERFILE` for one that is not a file within it."""
    path = Path(os.path.normpath(dockerfile))
    base = Path(os.path.normpath(root))
    if not path.is_relative_to(base) or path.is_symlink():
        return OUTSIDE_DOCKERFILE  # a link may lead out of the context, where the builder cannot follow it
    return path.relative_to(base).as_posix()


def context_tar(
    root: Path,
    files: Iterable[ContextFile],
    dockerfile: Path | bytes | None = None,
    packed_as: Callable[[ContextFile, str], None] = lambda file, sha256: None,
) -> IO[bytes]:
    """A tar of the files, at its start: the same bytes whenever the files are the same, on whatever machine.

    A `dockerfile` is added as `OUTSIDE_DOCKERFILE`, hidden from `COPY` as the docker command hides it. The file is
    temporary, gone when closed, and written in chunks. Input error when a file cannot be read.

    Files may change meanwhile: of one that grows, what it had when it was listed is packed; one that is gone is left
    out. `packed_as` gets the sha256 of what was packed of each, empty for one that was left out.
    """
    extra = _outside(root, dockerfile)
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with tarfile.open(fileobj=spool, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
            for file in sorted((file for file in files if file.path not in extra), key=lambda file: file.path):
                packed_as(file, _add(tar, root, file))
            for name, content in sorted(extra.items()):
                header = _header(ContextFile(name, "file", len(content)))
                tar.addfile(header, io.BytesIO(content))
    except BaseException:
        spool.close()
        raise
    spool.seek(0)
    return spool


def packed(files: Mapping[str, tuple[ContextFile, bytes]]) -> bytes:
    """A tar of the files with their contents, each under its key."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name, (file, content) in sorted(files.items()):
            tar.addfile(_header(replace(file, path=name, size=len(content))), io.BytesIO(content))
    return raw.getvalue()


def total_size(files: Iterable[ContextFile]) -> int:
    """The bytes of all files."""
    return sum(file.size for file in files)


def biggest(files: Iterable[ContextFile], count: int) -> tuple[tuple[str, int], ...]:
    """What holds the most bytes, largest first: (path, bytes).

    A folder of which one entry is nearly all is reported as that entry: `data/models/big.bin`, not `data`.
    """
    sizes: dict[str, int] = {}
    below: dict[str, set[str]] = {}
    for file in files:
        parts = file.path.split("/")
        for depth in range(len(parts)):
            path = "/".join(parts[: depth + 1])
            sizes[path] = sizes.get(path, 0) + file.size
            below.setdefault("/".join(parts[:depth]), set()).add(path)

    def weightiest(path: str) -> str:
        largest = max(below.get(path, ()), key=lambda one: (sizes[one], one), default=None)
        return weightiest(largest) if largest is not None and sizes[largest] >= _NEARLY_ALL * sizes[path] else path

    top = sorted(below.get("", ()), key=lambda path: (-sizes[path], path))[:count]
    return tuple((path, sizes[path]) for path in map(weightiest, top))


def _clean(pattern: str, *, strip_slash: bool = False) -> str:
    # Go's filepath.Clean; normpath alone would keep a leading "//".
    cleaned = posixpath.normpath(re.sub(r"/+", "/", pattern))
    return cleaned[1:] if strip_slash and len(cleaned) > 1 and cleaned.startswith("/") else cleaned


def _pattern(body: str, negated: bool) -> Pattern:
    first = _META.search(body)
    prefix = body[: first.start()] if first else body
    return Pattern(re.compile(_translate(body), re.DOTALL), negated, prefix, literal=first is None)


def _translate(body: str) -> str:
    """The regular expression of a cleaned pattern; ValueError for one that Docker refuses."""
    parts: list[str] = []
    at = 0
    # "**name" at the very start, with nothing special after it, is any path that ends so.
    if body.startswith("**") and not body.startswith("**/") and not _META.search(body, 2):
        parts, at = [".*"], 2
    while at < len(body):
        if body.startswith("**", at):
            at += 3 if body.startswith("**/", at) else 2
            parts.append(".*" if at >= len(body) else "(?:.*/)?")
        elif body[at] in "*?":
            parts.append("[^/]*" if body[at] == "*" else "[^/]")
            at += 1
        elif body[at] == "[":
            match = _CLASS.match(body, at)
            if match is None:
                raise ValueError("its `[…]` is empty, not closed or has a bare `-`")
            parts.append(f"[{match[1]}{_class_items(match[2])}]")
            at = match.end()
        elif body[at] == "\\":
            if at + 1 == len(body):
                raise ValueError("it ends with a backslash")
            parts.append(re.escape(body[at + 1]))
            at += 2
        else:
            parts.append(re.escape(body[at]))
            at += 1
    return "".join(parts)


def _class_items(items: str) -> str:
    tokens = re.findall(r"\\.|.", items, re.DOTALL)
    return "".join(token if token == "-" else re.escape(token[-1]) for token in tokens)  # noqa: S105 - no password


def _patterns(root: Path, dockerfile: Path | None) -> tuple[Pattern, ...]:
    content, name = ignore_file(root, dockerfile if dockerfile is not None else root / "Dockerfile")
    return parse_dockerignore(content.decode("utf-8", "surrogateescape"), name)


def _walk(root: Path, patterns: Sequence[Pattern]) -> Iterator[ContextFile]:
    pending: list[tuple[str, str, tuple[bool, ...]]] = [(str(root), "", ())]
    while pending:
        place, inside, parent = pending.pop()
        try:
            children = list(os.scandir(place))
        except FileNotFoundError as error:
            if inside:  # gone since it was listed
                continue
            raise _unreadable(root, error) from None
        except OSError as error:
            raise _unreadable(Path(place), error) from None
        for child in children:
            path = inside + child.name
            left_out, results = ignored(patterns, path, parent) if patterns else (False, ())
            is_folder = child.is_dir(follow_symlinks=False)
            if is_folder and not (left_out and _none_comes_back(patterns, path)):
                pending.append((child.path, f"{path}/", results))
            if not left_out and (entry := ContextFile(path, "dir") if is_folder else entry_of(path, child)) is not None:
                yield entry


def _none_comes_back(patterns: Sequence[Pattern], folder: str) -> bool:
    return not any(pattern.negated and pattern.may_match_below(folder) for pattern in patterns)


def entry_of(path: str, file: Path | os.DirEntry[str]) -> ContextFile | None:
    """The file as an entry of a context under that path; None for a socket, pipe or device, and for what is gone."""
    try:
        info = file.stat(follow_symlinks=False)
        if stat.S_ISLNK(info.st_mode):
            return ContextFile(path, "symlink", target=os.readlink(file))  # noqa: PTH115 - of many thousand files
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(Path(file), error) from None
    if stat.S_ISREG(info.st_mode):
        return ContextFile(path, "file", info.st_size, bool(info.st_mode & 0o100), "", stamp_of(info))
    return ContextFile(path, "dir") if stat.S_ISDIR(info.st_mode) else None


def _outside(root: Path, dockerfile: Path | bytes | None) -> dict[str, bytes]:
    if dockerfile is None:
        return {}
    try:
        content = dockerfile if isinstance(dockerfile, bytes) else dockerfile.read_bytes()
        ignore = (root / _IGNORE).read_bytes() if (root / _IGNORE).is_file() else _IGNORE.encode()
    except OSError as error:
        raise _unreadable(dockerfile if isinstance(dockerfile, Path) else root / _IGNORE, error) from None
    # The daemon takes ignored build files out again once it has read them, so that COPY does not find ours.
    return {OUTSIDE_DOCKERFILE: content, _IGNORE: ignore + f"\n{OUTSIDE_DOCKERFILE}\n".encode()}


class _Hashed:
    """A file whose content is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self._file.read(size)
        self.sha256.update(chunk)
        return chunk


def _add(tar: tarfile.TarFile, root: Path, file: ContextFile) -> str:
    if file.kind != "file":
        tar.addfile(_header(file))
        return ""
    try:
        # A file that has become a link since it was listed is not followed.
        opened = os.open(root / file.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(opened, "rb") as content:
            hashed = _Hashed(content)
            size = min(file.size, os.fstat(content.fileno()).st_size)
            tar.addfile(_header(replace(file, size=size)), hashed)
            return hashed.sha256.hexdigest()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # not the file: the folder for temporary ones
            raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
        raise _unreadable(root / file.path, error) from None


def _header(file: ContextFile) -> tarfile.TarInfo:
    """A header without owner and time: neither is part of what a build sees as content."""
    header = tarfile.TarInfo(file.path)
    header.type = {"file": tarfile.REGTYPE, "dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE}[file.kind]
    header.size = file.size
    header.mode = 0o755 if file.executable or file.kind == "dir" else 0o777 if file.kind == "symlink" else 0o644
    header.linkname = file.target
    return header


def _unreadable(path: Path, error: OSError) -> Exception:
    return input_error(
        "CONTEXT_UNREADABLE", f"cannot read `{path}`", detail=error.strerror or str(error), hints=(f"ls -ld {path}",)
    )
