from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from deployer.core.errors import DeployError, input_error
from deployer.core.events import Event, Log, StageFailed, StageFinished, StageStarted
from deployer.core.steps import Outcome, Steps, drive, merge, on_stop, stage
from tests.fakes import FakeClock
from tests.fakes.play import failed, played

WAIT = 20.0


def line(text: str) -> Log:
    return Log("s", "i", text)


def says(*texts: str, value: str = "value") -> Callable[[], Steps[str]]:
    def body() -> Steps[str]:
        for text in texts:
            yield line(text)
        return value

    return body


def fails(code: str = "BAD", after: threading.Event | None = None) -> Callable[[], Steps[str]]:
    def body() -> Steps[str]:
        yield line("about to fail")
        if after is not None:
            assert after.wait(WAIT)
        raise input_error(code, "wrong")

    return body


class Endless:
    """A body that has something to say until it is given up."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.closed = threading.Event()

    def __call__(self) -> Steps[str]:
        try:
            while True:
                yield line("endless")
                self.began.set()
                time.sleep(0.001)
        finally:
            self.closed.set()


class Blocked:
    """A body that waits for something outside, as for a child process, and is woken by `on_stop`."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.woken = threading.Event()

    def __call__(self) -> Steps[str]:
        yield line("blocked")
        with on_stop(self.woken.set):
            self.began.set()
            assert self.woken.wait(WAIT)
        return "woken"


def test_drive_gives_every_event_and_the_value() -> None:
    events: list[Event] = []
    assert drive(says("a", "b")(), events.append) == "value"
    assert events == [line("a"), line("b")]


def test_an_interrupt_in_the_sink_reaches_the_running_body() -> None:
    seen: list[str] = []

    def body() -> Steps[None]:
        try:
            yield line("one")
        finally:
            seen.append("cleaned up")

    def sink(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(body(), sink)
    assert seen == ["cleaned up"]


def test_an_interrupted_stage_is_reported_as_failed() -> None:
    clock, events = FakeClock(), []

    def body() -> Steps[Outcome[None]]:
        yield line("one")
        return Outcome(None, False)

    def sink(event: Event) -> None:
        events.append(event)
        if isinstance(event, Log):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(stage("s", body(), clock), sink)
    assert [type(one) for one in events] == [StageStarted, Log, StageFailed]
    assert events[-1].problems[0].code == "INTERRUPTED"


def test_a_stage_is_reported_from_start_to_end_with_its_time() -> None:
    clock = FakeClock()

    def body() -> Steps[Outcome[int]]:
        yield line("one")
        clock.sleep(3)
        return Outcome(7, True, "seven")

    events, outcome = played(stage("s", body(), clock))
    assert events == [StageStarted("s"), line("one"), StageFinished("s", 3.0, True, "seven")]
    assert outcome.value == 7


def test_a_failed_stage_is_reported_and_raised_on() -> None:
    def body() -> Steps[Outcome[str]]:
        yield from fails("BAD")()
        return Outcome("", False)

    events, error = failed(stage("s", body(), FakeClock()))
    assert events[-1] == StageFailed("s", 0.0, error.problems)


def test_a_bug_in_a_stage_is_not_dressed_up() -> None:
    def body() -> Steps[Outcome[None]]:
        yield line("one")
        raise ZeroDivisionError

    events: list[Event] = []
    with pytest.raises(ZeroDivisionError):
        drive(stage("s", body(), FakeClock()), events.append)
    assert not any(isinstance(one, StageFailed) for one in events)


def test_merge_returns_every_value_by_its_key_in_order() -> None:
    bodies = {"b": says("1", "2", value="B"), "a": says("3", value="A")}
    events, values = played(merge(bodies))
    assert values == {"a": "A", "b": "B"}
    assert sorted(one.line for one in events if isinstance(one, Log)) == ["1", "2", "3"]
    ours = [one.line for one in events if isinstance(one, Log) and one.line in "12"]
    assert ours == ["1", "2"]


def test_merge_of_nothing_is_nothing() -> None:
    assert played(merge({})) == ([], {})


def test_merged_bodies_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=WAIT)

    def body() -> Steps[str]:
        barrier.wait()
        yield line("met")
        return "ok"

    _, values = played(merge(dict.fromkeys("abc", body)))
    assert list(values.values()) == ["ok"] * 3


def test_no_more_than_the_limit_run_at_once() -> None:
    lock, running, most = threading.Lock(), 0, 0

    def body() -> Steps[None]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        for _ in range(5):
            time.sleep(0.001)
            yield line("x")
        with lock:
            running -= 1

    played(merge(dict.fromkeys(range(8), body), limit=2))
    assert most == 2


def test_the_first_failure_stops_the_others_and_is_raised() -> None:
    endless, blocked = Endless(), Blocked()

    def bad() -> Steps[str]:
        assert endless.began.wait(WAIT) and blocked.began.wait(WAIT)
        yield from fails("BAD")()
        return ""

    _, error = failed(merge({"endless": endless, "blocked": blocked, "bad": bad}))
    assert error.problems[0].code == "BAD"
    assert endless.closed.is_set()
    assert blocked.woken.is_set()


def test_what_has_not_begun_never_begins_after_a_failure() -> None:
    begun: list[int] = []

    def late(number: int) -> Callable[[], Steps[str]]:
        def body() -> Steps[str]:
            begun.append(number)
            yield line("late")
            return ""

        return body

    failed(merge({"bad": fails(), **{f"late-{number}": late(number) for number in range(5)}}, limit=1))
    assert begun == []


def test_a_bug_in_a_body_is_raised_as_it_is() -> None:
    def bug() -> Steps[None]:
        yield line("one")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        played(merge({"bug": bug}))


def test_a_merge_within_a_merge_is_given_up_with_it() -> None:
    inner_endless, inner_blocked = Endless(), Blocked()

    def nested() -> Steps[str]:
        yield from merge({"endless": inner_endless, "blocked": inner_blocked})
        return ""

    def bad() -> Steps[str]:
        assert inner_endless.began.wait(WAIT) and inner_blocked.began.wait(WAIT)
        yield from fails("BAD")()
        return ""

    _, error = failed(merge({"nested": nested, "bad": bad}))
    assert error.problems[0].code == "BAD"
    assert inner_endless.closed.is_set() and inner_blocked.woken.is_set()


def test_an_interrupt_in_the_sink_stops_all_merged_bodies() -> None:
    endless, blocked = Endless(), Blocked()

    def sink(event: Event) -> None:
        if blocked.began.is_set() and endless.began.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(merge({"endless": endless, "blocked": blocked}), sink)
    assert endless.closed.is_set() and blocked.woken.is_set()


def test_giving_up_a_merge_leaves_no_thread_behind() -> None:
    endless = Endless()
    steps = merge({"endless": endless})
    next(steps)
    steps.close()
    assert endless.closed.wait(WAIT)
    assert not [thread for thread in threading.enumerate() if thread.name == "merge-endless" and thread.is_alive()]


def test_a_callback_that_comes_late_is_called_at_once() -> None:
    stopping, called = threading.Event(), threading.Event()

    def slow() -> Steps[str]:
        yield line("slow")
        with on_stop(stopping.set):
            assert stopping.wait(WAIT)
            with on_stop(called.set):
                assert called.wait(WAIT)
        return ""

    def bad() -> Steps[str]:
        yield line("bad")
        raise input_error("BAD", "wrong")

    with pytest.raises(DeployError):
        played(merge({"slow": slow, "bad": bad}))
    assert called.is_set()


def test_outside_a_merge_nothing_is_stopped() -> None:
    called = threading.Event()
    with on_stop(called.set):
        pass
    assert not called.is_set()
