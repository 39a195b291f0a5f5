"""What can go wrong, as data: a problem that a person can act on, and the process's exit codes."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The process's exit codes; the reference's table is made from `EXIT_MEANINGS`."""

    OK = 0
    BUG = 1
    INPUT = 2
    MACHINE = 3
    BUILD = 4
    PREVIOUS_SERVES = 5
    NOTHING_SERVES = 6
    REFUSED = 7
    DIFFERENCES = 8
    INTERRUPTED = 130


EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done; everything is as the spec says",
    ExitCode.BUG: "a bug in todo-deploy; the trace is in a file (mode 0600), whose path the error shows",
    ExitCode.INPUT: "wrong usage, spec, `.env` or chart; nothing was changed",
    ExitCode.MACHINE: "the machine, Docker, the toolchain or the cluster cannot be used",
    ExitCode.BUILD: "an image could not be built; what ran before still runs",
    ExitCode.PREVIOUS_SERVES: "the rollout failed; the previous version serves",
    ExitCode.NOTHING_SERVES: "the rollout failed; no verified version serves",
    ExitCode.REFUSED: "refused: a foreign cluster or object, a held lock, or data that could be lost",
    ExitCode.DIFFERENCES: "`plan --exit-code`: `up` would change something",
    ExitCode.INTERRUPTED: "interrupted; the next `up` goes on from here",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a stable code, a sentence, where it is, and what to do next."""

    code: str
    title: str
    detail: str = ""
    where: str = ""
    hints: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The problem as the JSON object of the `errors` list."""
        return {**asdict(self), "hints": list(self.hints)}


FOLDER_GONE = Problem("FOLDER_GONE", "this folder is no longer there", hints=("cd to the project",))


class DeployError(Exception):
    """A failure that is explained: one or more problems and the exit code they lead to."""

    def __init__(self, problems: Problem | Iterable[Problem], exit_code: ExitCode) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.exit_code = exit_code
        super().__init__("; ".join(problem.title for problem in self.problems))


def input_error(code: str, title: str, *, detail: str = "", where: str = "", hints: Iterable[str] = ()) -> DeployError:
    """A failure caused by what the user wrote."""
    return DeployError(Problem(code, title, detail, where, tuple(hints)), ExitCode.INPUT)


def machine_error(
    code: str, title: str, *, detail: str = "", where: str = "", hints: Iterable[str] = ()
) -> DeployError:
    """A failure of the machine, Docker, the toolchain or the cluster."""
    return DeployError(Problem(code, title, detail, where, tuple(hints)), ExitCode.MACHINE)


_UNUSABLE = frozenset({
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO,
    errno.ESTALE,
})  # fmt: skip
"""Why a path cannot be used, whatever is done with it; a folder whose link leads nowhere exists already."""


def disk_error(error: OSError) -> DeployError | None:
    """The failure that a file or folder cannot be used, explained; None where the error is about something else."""
    place, reason = str(error.filename2 or error.filename or ""), error.strerror or ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        title = f"the disk is full: {place} could not be written" if place else "the disk is full"
        return machine_error("DISK_FULL", title, detail=reason, where=place, hints=("df -h", "docker system df"))
    if error.errno == errno.ENOENT and "temporary directory" in reason:
        hints = ("df -h", "TMPDIR=/a/folder/of/yours todo-deploy up")
        return machine_error("DISK_FULL", "no folder for temporary files can be written", detail=reason, hints=hints)
    if error.errno in _UNUSABLE and place:
        hints = (f"ls -ld {place}", "or give it folders of yours: XDG_CACHE_HOME, XDG_STATE_HOME, TMPDIR")
        title = f"this user cannot use {place}"
        return machine_error("UNWRITABLE", title, detail=reason, where=place, hints=hints)
    return None


@contextmanager
def disk_explained() -> Iterator[None]:
    """A file or folder that cannot be used inside is raised as of `disk_error`; any other error as it is."""
    try:
        yield
    except OSError as error:
        explained = disk_error(error)
        if explained is None:
            raise
        raise explained from None


def refused(code: str, title: str, *, detail: str = "", where: str = "", hints: Iterable[str] = ()) -> DeployError:
    """A refusal to change what is not of this deployment, or what could not be restored."""
    return DeployError(Problem(code, title, detail, where, tuple(hints)), ExitCode.REFUSED)
