"""Files that are never seen half written, and never written outside the folder they are meant for."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from deployer.core.errors import input_error

_APPLICATION = "todo-deploy"


def cache_folder() -> Path:
    """What can be made again: toolchain, staged charts, hashes of files."""
    from platformdirs import user_cache_path

    return user_cache_path(_APPLICATION)


def state_folder() -> Path:
    """What a run leaves for the next one and for a person: run records, locks, notes."""
    from platformdirs import user_state_path

    return user_state_path(_APPLICATION)


PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
_MOST_BYTES = 200  # file systems take 255; what callers add to a name must fit as well
_COMPONENT = re.compile(r"(?!\.)[^/\\:\x00-\x1f\x7f]+")


def path_component(name: str, what: str, where: str = "") -> str:
    """The name, which is one component of a path on every file system; input error NAME_PATH otherwise.

    No separator, colon or control character, no leading dot (`.`, `..`, hidden files), at most 200 bytes.
    """
    if _COMPONENT.fullmatch(name) and len(os.fsencode(name)) <= _MOST_BYTES:
        return name
    raise input_error(
        "NAME_PATH",
        f"{what} cannot be named {name[:_MOST_BYTES]!r}: it would be the name of a file or folder",
        detail="no `/`, `\\`, `:` or control character, no dot at the start, at most 200 bytes",
        where=where,
        hints=("choose another name, then: todo-deploy validate",),
    )


def shown_path(path: Path, root: Path) -> str:
    """The path as a person reads it: relative to the root where it lies below it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def open_lock(path: Path) -> IO[str]:
    """The lock's file, whose text may say who holds it; its folder is made where it is missing. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+")


def take_lock(stream: IO[str]) -> bool:
    """The lock is this process's until the file is closed, or this is False: another one holds it.

    The kernel takes it back from the dead; processes that inherit the descriptor hold it as well.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_private(path: Path, content: str | bytes, mode: int = PRIVATE_FILE, *, sync: bool = False) -> None:
    """The file is as it was or complete; a symbolic link goes on leading to it. Raises OSError.

    Its folder is made where it is missing. `sync`: it is on disk too, so that it survives a crash of the machine.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    _replaced(path, _bytes(content), mode, sync=sync)


def write_within(
    folder: Path, relative: str, content: str | bytes | Callable[[IO[bytes]], object], mode: int = PRIVATE_FILE
) -> Path:
    """The file at `relative` (parts joined by `/`) in the folder is complete and only its owner's; returns its path.

    `content` may be a function that writes it to a stream. Input error PATH_OUTSIDE where the path leads out of the
    folder or through a link. Raises OSError.
    """
    target = _inside(folder, relative)
    _replaced(target, _bytes(content), mode)
    return target


def copy_within(folder: Path, relative: str, source: Path) -> Path:
    """As `write_within`, with the content of a file."""
    target = _inside(folder, relative)

    def copy(stream: IO[bytes]) -> None:
        with source.open("rb") as content:
            shutil.copyfileobj(content, stream)

    _replaced(target, copy)
    return target


def _inside(folder: Path, relative: str) -> Path:
    """Where the file is to be; its folders are there, each a real one and the owner's alone."""
    parts = PurePosixPath(relative).parts
    if not parts or ".." in parts or PurePosixPath(relative).is_absolute() or _is_anchored(relative):
        raise _leads_out(folder, relative)
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    place = folder
    for part in parts[:-1]:
        place = place / part
        if place.is_symlink():
            raise _leads_out(folder, relative)
        place.mkdir(exist_ok=True, mode=PRIVATE_FOLDER)
    return place / parts[-1]


def _is_anchored(relative: str) -> bool:
    return os.name == "nt" and bool(PureWindowsPath(relative).drive or "\\" in relative)


def _leads_out(folder: Path, relative: str) -> Exception:
    return input_error(
        "PATH_OUTSIDE",
        f"{relative!r} would be written outside {folder}",
        hints=("the name of a chart, dependency or object is a path: rename it",),
    )


def _bytes(content: str | bytes | Callable[[IO[bytes]], object]) -> Callable[[IO[bytes]], object]:
    if callable(content):
        return content
    raw = content if isinstance(content, bytes) else content.encode()
    return lambda stream: stream.write(raw)


def _replaced(
    path: Path, write: Callable[[IO[bytes]], object], mode: int = PRIVATE_FILE, *, sync: bool = False
) -> None:
    """What is written takes the place of the file, or of a link of that name, in one step."""
    with draft(path, write, mode, sync=sync) as complete:
        complete.replace(path)


@contextmanager
def draft(
    path: Path, write: Callable[[IO[bytes]], object], mode: int = PRIVATE_FILE, *, sync: bool = False
) -> Iterator[Path]:
    """A complete file beside the path, to be renamed to it; else it is deleted afterwards. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f"{path.name[:100]}.", suffix=".part", dir=path.parent)  # mkstemp: 0600
    complete = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            write(stream)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        if mode != PRIVATE_FILE:
            complete.chmod(mode)
        yield complete
    finally:
        complete.unlink(missing_ok=True)
