"""Printers of a run's events that need no rich: plain lines, JSON lines, problems only; and which one is used."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, Protocol, Self, TextIO, assert_never

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
    to_wire,
)
from deployer.core.steps import Clock
from deployer.core.text import clean, duration, elapsed, one_line, progress
from deployer.status import Phase
from deployer.ui.view import StageView, View, evidence, fold, news_of, not_shown, running
from deployer.ui.words import Severity, annotation, defused, further_words, problem_lines, run_words, workload_words

HEARTBEAT_SECONDS = 10.0
_STAGE_COLUMN = 9
_REPEATED = 72
"""Characters that a heartbeat says of each item again: a RUN line may have hundreds, and was printed whole before."""
_AGO = re.compile(r"[\d.]+ s(?= ago)")


class Lines:
    """Whole lines reach the stream at once, from any thread; a reader that went away does not end the run."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._lock = threading.Lock()
        self._gone = False

    def write(self, *lines: str) -> None:
        """The lines are written and flushed; characters the stream cannot carry become `?`."""
        text = "".join(f"{line}\n" for line in lines).encode(self._encoding, "replace").decode(self._encoding)
        with self._lock:
            if self._gone:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except BrokenPipeError:
                self._gone = True


class Sink(Protocol):
    """Takes a run's events, inside a `with`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def __call__(self, event: Event) -> None: ...


class PlainSink:
    """Each change is one line on the stream; after 10 silent seconds a line says what is being waited for.

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

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=2)

    def __call__(self, event: Event) -> None:
        self._view = fold(self._view, event, self._clock.monotonic())
        self._say(*self._shown(event))

    def beat(self) -> None:
        """If nothing was printed for 10 seconds while a stage runs, one line says what it is at."""
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

    def _shown(self, event: Event) -> Iterator[str]:
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
            case Warned():
                shown = not event.further or self._verbosity >= 1
                yield from self._problems((event.problem,), "warning") if shown else ()
            case StageFinished():
                yield self._safe(_prefixed(event.stage, _finish_words(event)))
            case StageFailed():
                yield from self._failure(event)
            case RunFinished():
                yield self._safe(run_words(self._view.command, event))
            case _:
                assert_never(event)

    def _failure(self, event: StageFailed) -> Iterator[str]:
        yield self._safe(_prefixed(event.stage, f"failed after {duration(event.seconds)}"))
        yield from self._log_tails(event)
        yield from self._problems(tuple(news_of(one, self._view) for one in event.problems), "error")
        if self._verbosity < 1 and (more := further_words(not_shown(self._view))):
            yield f"  {more}"

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


def _finish_words(event: StageFinished) -> str:
    text = f": {event.text}" if event.text else ""
    return f"{'done' if event.changed else 'unchanged'} in {duration(event.seconds)}{text}"


def _at(view: View) -> str:
    stages = running(view)
    return stages[-1].name if stages else "-"


def _key(event: Item) -> str:
    """What must differ for an item to be printed again: bytes are printed by quarters, steps one by one, no seconds."""
    amount = progress(event.done, event.total)
    if event.state is ItemState.RUNNING and amount.endswith("%"):
        return f"running {int(amount[:-1]) // 25}"
    return f"{event.state.value} {amount} {_AGO.sub('', event.text)}"


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
        " ".join(filter(None, (item.name, progress(item.done, item.total), one_line(item.text, _REPEATED))))
        for item in stage.items
        if item.state is ItemState.RUNNING
    ]
    if not items and stage.name == _at(view):
        late = (status for status in view.workloads if status.phase is not Phase.AVAILABLE)
        items = [f"{status.ref} {workload_words(status)}" for status in late]
    waiting = f": {'; '.join(items)}" if items else ""
    return clean(_prefixed(stage.name, f"still running after {elapsed(now - stage.began)}{waiting}"))


class QuietSink(Sink):
    """Problems are printed as they come, and nothing else is."""

    def __init__(self, stream: TextIO, *, github: bool = False) -> None:
        self._lines = Lines(stream)
        self._github = github

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageFailed):
            lines = problem_lines(event.problems)
            if self._github:
                lines = [*map(defused, lines), *map(annotation, event.problems)]
            self._lines.write(*lines)


class JsonlSink(Sink):
    """Every event is one line of JSON on the stream, flushed at once."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._lines = Lines(stream)
        self._clock = clock

    def __call__(self, event: Event) -> None:
        at = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds")
        wire = to_wire(event)
        head = {"v": wire.pop("v"), "type": wire.pop("type"), "at": at.replace("+00:00", "Z")}
        self._lines.write(json.dumps({**head, **wire}))


Progress = Literal["auto", "live", "plain", "json", "quiet"]


def choose(progress: Progress, stderr: TextIO, env: Mapping[str, str]) -> Progress:
    """`auto` resolved: live on a terminal that a person looks at, else plain."""
    if progress != "auto":
        return progress
    watched = stderr.isatty() and env.get("TERM", "") not in ("dumb", "unknown") and not _is_ci(env)
    return "live" if watched else "plain"


def make_sink(progress: Progress, stderr: TextIO, env: Mapping[str, str], verbosity: int, clock: Clock) -> Sink:
    """The sink for this run; it prints on `stderr` between its `__enter__` and `__exit__`."""
    github = env.get("GITHUB_ACTIONS") == "true"
    match choose(progress, stderr, env):
        case "json":
            return JsonlSink(stderr, clock)
        case "quiet":
            return QuietSink(stderr, github=github)
        case "live":
            from deployer.ui.console import make_console
            from deployer.ui.live import LiveSink

            return LiveSink(make_console(stderr, env), clock, verbosity=verbosity)
        case _:
            return PlainSink(stderr, clock, verbosity=verbosity, github=github)


def _is_ci(env: Mapping[str, str]) -> bool:
    return env.get("CI", "").lower() not in ("", "0", "false", "no")
