"""One run at a time for a deployment on this machine: a file lock, which the kernel takes back from the dead.

Programs that write to the cluster inherit it (`held`): where a run is killed and its helm goes on, the next run waits
until that has ended too, and there are never two writers.
"""

from __future__ import annotations

import os
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TypeVar

from deployer.core.errors import Problem, refused
from deployer.core.events import Warned
from deployer.core.process_identity import has_ended
from deployer.core.steps import Clock, Steps

T = TypeVar("T")

_LIMIT_SECONDS = 900.0
_held: ContextVar[tuple[int, ...]] = ContextVar("held", default=())


def held() -> tuple[int, ...]:
    """The descriptors of the locks that this process holds, for programs that must not outlive them unnoticed."""
    return _held.get()


def acquire(path: Path, clock: Clock, limit: float = _LIMIT_SECONDS) -> Steps[IO[str] | None]:
    """The lock is held until the returned file is closed; waits for another holder, saying who it is.

    None on systems without file locks. Refused when the other holder is still there after `limit` seconds.
    """
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+")
    try:
        yield from _await(stream, clock, limit)
    except BaseException:
        stream.close()
        raise
    with suppress(OSError):
        stream.truncate(0)
        stream.write(f"pid {os.getpid()}")
        stream.flush()
    return stream


def _await(stream: IO[str], clock: Clock, limit: float) -> Steps[None]:
    import fcntl

    shown = False
    deadline = clock.monotonic() + limit
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            stream.seek(0)
            holder = stream.read().strip() or "another run"
            if clock.monotonic() > deadline:
                raise refused(
                    "LOCKED", f"another run holds this deployment: {holder}", hints=("wait until it has ended",)
                ) from None
            if not shown:
                shown = True
                yield Warned(Problem("LOCK_WAIT", f"waiting for {_words(holder)}"))
            clock.sleep(0.2)


def _words(holder: str) -> str:
    number = holder.removeprefix("pid ")
    if number.isdigit() and has_ended(int(number)):
        return f"what a run that was killed ({holder}) has started and left at work"
    return f"another run of this deployment: {holder}"


def locked(folder: Path, clock: Clock, steps: Steps[T]) -> Steps[T]:
    """The steps, while no other run on this machine works on the deployment that keeps its things in the folder."""
    stream = yield from acquire(folder / "lock", clock)
    before = _held.get()
    _held.set((*before, stream.fileno()) if stream is not None else before)
    try:
        return (yield from steps)
    finally:
        _held.set(before)
        if stream is not None:
            stream.close()
