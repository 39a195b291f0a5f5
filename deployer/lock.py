"""One run at a time for a deployment on this machine: a file lock, which the kernel takes back from the dead."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

from deployer.errors import Problem, refused
from deployer.events import Warned
from deployer.steps import Clock, Steps

T = TypeVar("T")

_PATIENCE_SECONDS = 900.0


def acquire(path: Path, clock: Clock, patience: float = _PATIENCE_SECONDS) -> Steps[IO[str] | None]:
    """The lock is held until the returned file is closed; waits for another holder, saying who it is.

    None on systems without file locks. Refused when the other holder is still there after `patience` seconds.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+")
    try:
        yield from _await(stream, clock, patience)
    except BaseException:
        stream.close()
        raise
    with suppress(OSError):
        stream.truncate(0)
        stream.write(f"pid {os.getpid()}")
        stream.flush()
    return stream


def _await(stream: IO[str], clock: Clock, patience: float) -> Steps[None]:
    import fcntl

    told = False
    deadline = clock.monotonic() + patience
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another run"
            if clock.monotonic() > deadline:
                raise refused("LOCKED", f"another run holds this deployment: {holder}") from None
            if not told:
                told = True
                yield Warned(Problem("LOCK_WAIT", f"waiting for another run of this deployment: {holder}"))
            clock.sleep(0.2)


def locked(folder: Path, clock: Clock, steps: Steps[T]) -> Steps[T]:
    """The steps, while no other run on this machine works on the deployment that keeps its things in the folder."""
    held = yield from acquire(folder / "lock", clock)
    try:
        return (yield from steps)
    finally:
        if held is not None:
            held.close()
