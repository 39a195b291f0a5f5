"""Records the evidence of a run; what reads and writes the evidence is loaded when there is something to keep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from deployer.core.errors import DeployError, Problem
from deployer.core.events import Warned
from deployer.core.steps import Steps
from deployer.helm.storage import Applied
from deployer.rollout.stage import Rollout
from deployer.state.history import Verdict
from deployer.state.runs import RunFolder

if TYPE_CHECKING:
    from deployer.evidence.recorder import Recorder

T = TypeVar("T")

ROLLOUT = "rollout.json"
"""What the rollout leaves for the run's own summary, which takes it in and away."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """Where a run's evidence is kept, and what is still being written there."""

    folder: RunFolder
    begun: deque[Callable[[], None]] = field(default_factory=deque)

    def finish(self) -> None:
        """All that was begun is written."""
        while self.begun:
            self.begun.popleft()()


# The folder belongs to the run as a whole; handing it through every function between would say nothing more.
_kept: ContextVar[_Kept | None] = ContextVar("run_folder", default=None)


@contextmanager
def recording_in(folder: RunFolder) -> Iterator[None]:
    """While inside, the evidence of rollouts is kept in this folder; all of it is there afterwards."""
    kept = _Kept(folder)
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        kept.finish()


def text_writer() -> Callable[[str, str], None]:
    """Writes a text into the record of this run under a name; nothing is written where the run has none.

    The folder is looked up here, because threads that a run starts do not see whose run they belong to.
    """
    kept = _kept.get()

    def keep(name: str, text: str) -> None:
        if kept is not None:
            with suppress(OSError):
                kept.folder.write(name, text)

    return keep


def recorded(body: Steps[T], rollout: Rollout, *, success: bool = True) -> Steps[T]:
    """The body as it is; a failure is raised on once the rollout's evidence is kept, and its first problem says where.

    `success`: what a rollout that changed something leaves when it goes well is kept, too.
    """
    kept = _kept.get()
    if kept is None:
        return (yield from body)
    folder = kept.folder
    recorder: Recorder | None = None

    def opened() -> Recorder:
        """The recorder, which a rollout that is well and new to nobody never needs."""
        nonlocal recorder
        if recorder is None:
            from deployer.evidence.recorder import Recorder

            recorder = Recorder(folder, rollout)
        return recorder

    try:
        while True:
            try:
                event = next(body)
            except StopIteration as stop:
                value: T = stop.value
                break
            yield event
            if isinstance(event, Warned) and not event.further:
                opened().note(event)
    except DeployError as error:
        kept.finish()  # what went well before it comes first
        for problem in opened().unreported(error.problems):
            warning = Warned(problem)  # capturing takes a moment, and a cause is named at once
            yield warning
            opened().note(warning)
        error.problems = opened().keep_failure(error.problems)
        raise
    finally:
        body.close()
    if success and any(one.changed for one in rollout.releases):
        kept.begun.append(opened().begin_success())  # the run goes on meanwhile
    return value


def note_verdict(releases: Sequence[Applied], given: Verdict) -> None:
    """The run's record gives the releases the verdict that Helm's revisions and the history have."""
    kept = _kept.get()
    if kept is not None and (given == "failed" or any(one.changed for one in releases)):
        from deployer.evidence.recorder import write_verdict

        write_verdict(kept.folder, releases, given)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, as the command line knows it."""

    command: str
    application: str
    outcome: str
    exit_code: int
    changed: bool
    seconds: float
    problems: tuple[Problem, ...]
    spec: Path | None
    profile: str | None


def summarize(folder: RunFolder, ended: Ended) -> None:
    """The run's summary and timeline are in its folder; a run that changed nothing and went well has neither."""
    if ended.outcome == "ok" and not ended.changed:
        with suppress(OSError):
            (folder.path / ROLLOUT).unlink(missing_ok=True)
        return
    from deployer.evidence.recorder import write_summary

    write_summary(folder, ended)
