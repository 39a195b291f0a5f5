"""The core of the pipeline: a stage is a generator that yields events and returns a value.

The next stage takes that value as its argument, so that the order of work is enforced by types. `stage` adds
start, end, failure and time; `merge` runs several bodies at the same time and gives their events to the
caller's thread; `drive` feeds a sink.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

from deployer.core.errors import DeployError, Problem, disk_explained
from deployer.core.events import Event, Item, Log, StageFailed, StageFinished, StageStarted

T = TypeVar("T")
Steps = Generator[Event, None, T]


class Clock(Protocol):
    """Time as a parameter: seconds of a monotonic clock, the wall clock, and sleep."""

    def monotonic(self) -> float: ...
    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """Real time; `now` in seconds since the epoch."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a stage's body returns: its value, whether anything was changed, and a few words on it."""

    value: T
    changed: bool
    text: str = ""


def stage(name: str, body: Steps[Outcome[T]], clock: Clock) -> Steps[Outcome[T]]:
    """The body's events between a start and an end; a failure is reported and raised again."""
    begun = clock.monotonic()
    yield StageStarted(name)
    try:
        with disk_explained():
            outcome = yield from body
    except DeployError as error:
        yield StageFailed(name, clock.monotonic() - begun, error.problems)
        raise
    except KeyboardInterrupt as why:
        hints = () if str(why) else ("the same command again goes on from here",)
        problem = Problem("INTERRUPTED", str(why) or "interrupted", hints=hints)
        yield StageFailed(name, clock.monotonic() - begun, (problem,))
        raise
    yield StageFinished(name, clock.monotonic() - begun, outcome.changed, outcome.text)
    return outcome


def outcome_only(outcome: Outcome[T]) -> Steps[Outcome[T]]:
    """A stage's body that has nothing to do but to say so."""
    yield from ()
    return outcome


def within(name: str, steps: Steps[T]) -> Steps[T]:
    """The steps, whose items and log lines are reported as those of the stage `name`."""
    while True:
        try:
            event = next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield replace(event, stage=name) if isinstance(event, Item | Log) else event


def drive(steps: Steps[T], sink: Callable[[Event], None]) -> T:
    """All events are given to the sink and the value returned; an interrupt reaches the running stage first."""
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            event = next(steps) if interrupt is None else steps.throw(interrupt)
            interrupt = None
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        try:
            sink(event)
        except KeyboardInterrupt as caught:
            interrupt = caught


class _Stop:
    """Callbacks that end what a merged body is waiting for (a child process, a stream)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.requested = False

    def request(self) -> None:
        with self._lock:
            self.requested = True
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def add(self, callback: Callable[[], None]) -> None:
        with self._lock:
            self._callbacks.append(callback)
            late = self.requested
        if late:
            callback()

    def remove(self, callback: Callable[[], None]) -> None:
        with self._lock:
            self._callbacks.remove(callback)


_current_stop: ContextVar[_Stop | None] = ContextVar("current_stop", default=None)


@contextmanager
def on_stop(callback: Callable[[], None]) -> Iterator[None]:
    """While inside, a merge that is being stopped calls `callback` from another thread."""
    stop = _current_stop.get()
    if stop is None:
        yield
        return
    stop.add(callback)
    try:
        yield
    finally:
        stop.remove(callback)


K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class _Ended(Generic[K, T]):
    key: K
    value: T | None
    error: BaseException | None


class _Merge(Generic[K, T]):
    """Bodies at work side by side, each in its own thread; what they yield and how they end arrives in `inbox`."""

    def __init__(self, bodies: Mapping[K, Callable[[], Steps[T]]], limit: int) -> None:
        self.inbox: queue.Queue[Event | _Ended[K, T]] = queue.Queue()
        self._slots = threading.Semaphore(limit)
        self._stops = {key: _Stop() for key in bodies}
        self.threads = [
            threading.Thread(target=copy_context().run, args=(self._run, key, body), name=f"merge-{key}", daemon=True)
            for key, body in bodies.items()
        ]

    def stop(self) -> None:
        for stop in self._stops.values():
            stop.request()

    def _run(self, key: K, body: Callable[[], Steps[T]]) -> None:
        stop = self._stops[key]
        _current_stop.set(stop)
        with self._slots:
            try:
                value = self._value(body, stop)
            except BaseException as error:
                self.inbox.put(_Ended(key, None, error))
                self.stop()  # before the slot is free for a body that must not begin any more
            else:
                self.inbox.put(_Ended(key, value, None))

    def _value(self, body: Callable[[], Steps[T]], stop: _Stop) -> T | None:
        """What the body returned; None where it was stopped before its end."""
        steps: Steps[T] | None = None
        while not stop.requested:
            steps = steps or body()
            try:
                event = next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.inbox.put(event)
        if steps is not None:
            steps.close()
        return None


def merge(bodies: Mapping[K, Callable[[], Steps[T]]], limit: int = 8) -> Steps[dict[K, T]]:
    """All bodies ran, at most `limit` at once; returns their values by key. The first failure stops the rest."""
    work = _Merge(bodies, limit)
    for thread in work.threads:
        thread.start()
    results: dict[K, T] = {}
    failures: list[BaseException] = []
    waiting = len(work.threads)
    try:
        with on_stop(work.stop):  # a merge within a merge stops with it
            while waiting:
                message = work.inbox.get()
                if not isinstance(message, _Ended):
                    yield message
                    continue
                waiting -= 1
                if message.error is not None:
                    failures.append(message.error)
                elif not failures:
                    results[message.key] = message.value  # type: ignore[assignment]
    except BaseException:
        work.stop()
        raise
    finally:
        for thread in work.threads:
            thread.join(timeout=10)
    if failures:
        raise failures[0]
    return results
