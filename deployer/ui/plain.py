"""Progress as plain lines for pipes and CI: one line a change, and a sign of life when nothing changes (no rich)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TextIO, assert_never

from deployer.core.errors import Problem
from deployer.core.events import (
    Event,
    Item,
    ItemState,
    Log,
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageStarted,
    UrlProven,
    Warned,
    WorkloadChanged,
)
from deployer.core.steps import Clock
from deployer.status import Phase
from deployer.ui.problems import Severity, annotation, defused, problem_lines
from deployer.ui.text import Lines, clean, duration, elapsed, progress
from deployer.ui.view import StageView, View, evidence, fold, running, untold
from deployer.ui.words import run_words, untold_words, workload_words

HEARTBEAT_SECONDS = 15.0
_STAGE_COLUMN = 9


class PlainSink:
    """Each change is one line on the stream; after 15 silent seconds a line says what is being waited for.

    The heartbeat comes from a thread that lives between `__enter__` and `__exit__`.
    """

    def __init__(self, stream: TextIO, clock: Clock, *, verbosity: int = 0, github: bool = False) -> None:
        self._lines = Lines(stream)
        self._clock = clock
        self._verbosity = verbosity
        self._github = github
        self._view = View()
        self._last: dict[tuple[str, str], str] = {}
        self._spoke = clock.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> PlainSink:
        self._thread = threading.Thread(target=self._beat_until_ended, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def __call__(self, event: Event) -> None:
        self._view = fold(self._view, event, self._clock.monotonic())
        self._say(*self._told(event))

    def beat(self) -> None:
        """If nothing was printed for 15 seconds while a stage runs, one line says what it is at."""
        now = self._clock.monotonic()
        if now - self._spoke >= HEARTBEAT_SECONDS:
            view = self._view
            self._say(*(_heartbeat(view, stage, now) for stage in running(view)))

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(1.0):
            self.beat()

    def _say(self, *lines: str) -> None:
        if lines:
            self._spoke = self._clock.monotonic()
            self._lines.write(*lines)

    def _told(self, event: Event) -> Iterator[str]:
        match event:
            case RunStarted():
                yield self._safe(f"{event.command}: {event.application} ({', '.join(event.stages)})")
            case StageStarted():
                yield self._safe(_prefixed(event.stage, "started"))
            case Item():
                yield from self._if_new(event.stage, event.item, _key(event), _item_words(event))
            case Log():
                if self._verbosity >= 1:
                    yield self._safe(_prefixed(event.stage, f"{event.item} | {event.line}"))
            case WorkloadChanged():
                words = workload_words(event.status)
                yield from self._if_new(_at(self._view), str(event.status.ref), words, words)
            case UrlProven():
                words = f"{event.url} answered {event.status}"
                yield from self._if_new(_at(self._view), event.name, words, words)
            case Warned(further=True) if self._verbosity < 1:
                pass
            case Warned():
                yield from self._problems((event.problem,), "warning")
            case StageFinished():
                verb = "done" if event.changed else "unchanged"
                text = f": {event.text}" if event.text else ""
                yield self._safe(_prefixed(event.stage, f"{verb} in {duration(event.seconds)}{text}"))
            case StageFailed():
                yield self._safe(_prefixed(event.stage, f"failed after {duration(event.seconds)}"))
                yield from self._log_tails(event)
                yield from self._problems(event.problems, "error")
                if self._verbosity < 1 and (more := untold_words(untold(self._view))):
                    yield f"  {more}"
            case RunFinished():
                yield self._safe(run_words(self._view.command, event))
            case _:
                assert_never(event)

    def _if_new(self, stage: str, item: str, key: str, words: str) -> Iterator[str]:
        if self._last.get((stage, item)) != key:
            self._last[stage, item] = key
            yield self._safe(_prefixed(stage, f"{item}  {words}"))

    def _problems(self, problems: tuple[Problem, ...], severity: Severity) -> Iterator[str]:
        yield from map(self._safe, problem_lines(problems, severity))
        if self._github:
            yield from (annotation(problem, severity) for problem in problems)

    def _log_tails(self, event: StageFailed) -> Iterator[str]:
        if self._verbosity >= 1:  # every line is above already
            return
        for item in evidence(self._view):
            yield from (self._safe(_prefixed(event.stage, f"{item.name} | {line}")) for line in item.log)

    def _safe(self, line: str) -> str:
        return defused(clean(line)) if self._github else clean(line)


def _prefixed(stage: str, words: str) -> str:
    return f"{clean(stage):<{_STAGE_COLUMN}} {words}"


def _at(view: View) -> str:
    stages = running(view)
    return stages[-1].name if stages else "-"


def _key(event: Item) -> str:
    """What must differ for an item to be told again: bytes are told by quarters, steps one by one."""
    amount = progress(event.done, event.total)
    if event.state is ItemState.RUNNING and amount.endswith("%"):
        return f"running {int(amount[:-1]) // 25}"
    return f"{event.state.value} {amount} {event.text}"


def _item_words(event: Item) -> str:
    amount = progress(event.done, event.total) if event.state is ItemState.RUNNING else ""
    state = "" if event.state is ItemState.RUNNING else event.state.value
    text = "" if event.text == state else event.text
    if amount in text:
        amount = ""
    words = " ".join(word for word in (amount, text) if word)
    return ": ".join(part for part in (state, words) if part) or "running"


def _heartbeat(view: View, stage: StageView, now: float) -> str:
    items = [
        f"{item.name} {' '.join(part for part in (progress(item.done, item.total), item.text) if part)}".strip()
        for item in stage.items
        if item.state is ItemState.RUNNING
    ]
    if not items and stage.name == _at(view):
        late = (status for status in view.workloads if status.phase is not Phase.AVAILABLE)
        items = [f"{status.ref} {workload_words(status)}" for status in late]
    waiting = f": {'; '.join(items)}" if items else ""
    return clean(_prefixed(stage.name, f"still running after {elapsed(now - stage.began)}{waiting}"))
