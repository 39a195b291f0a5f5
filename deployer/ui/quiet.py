"""No progress: only what a run failed of (no rich)."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

from deployer.core.events import Event, StageFailed
from deployer.ui.problems import annotation, defused, problem_lines
from deployer.ui.text import Lines


class QuietSink:
    """Problems are printed as they are told, and nothing else is."""

    def __init__(self, stream: TextIO, *, github: bool = False) -> None:
        self._lines = Lines(stream)
        self._github = github

    def __enter__(self) -> QuietSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageFailed):
            lines = problem_lines(event.problems)
            if self._github:
                lines = [*map(defused, lines), *map(annotation, event.problems)]
            self._lines.write(*lines)
