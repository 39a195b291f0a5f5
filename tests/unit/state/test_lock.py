from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Warned
from deployer.core.steps import Steps, merge
from deployer.state.lock import acquire, locked, watched_by, watching
from deployer.state.lock import held as descriptors
from tests.fakes import FakeClock
from tests.fakes.play import code, failed, items, played

HOLD = """
import fcntl, sys
stream = open(sys.argv[1], "a+")
fcntl.flock(stream, fcntl.LOCK_EX)
stream.truncate(0); stream.write("pid 12345"); stream.flush()
print("held", flush=True)
sys.stdin.read()
"""


class Holder:
    """Another process that holds the lock until it is let go or killed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def end(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate()


def held(path: Path, clock: FakeClock) -> IO[str]:
    _, stream = played(acquire(path, clock))
    assert stream is not None
    return stream


def test_a_free_lock_is_taken_at_once_with_our_name(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "deployments" / "lock"
    events, stream = played(acquire(path, clock))
    assert stream is not None
    with stream:
        assert path.read_text() == f"pid {os.getpid()}"
    assert (events, clock.elapsed) == ([], 0)


def test_a_held_lock_is_awaited_and_its_holder_reported_once(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lock"
    holder = Holder(path)
    clock.at(5, holder.end)
    events, stream = played(acquire(path, clock))
    assert stream is not None
    stream.close()
    (warning,) = (event for event in events if isinstance(event, Warned))
    ((_, state, words),) = items(events)
    assert (state, f"waiting {words}") == ("running", warning.problem.title)
    assert "pid 12345" in warning.problem.title
    assert 5 <= clock.elapsed < 6


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lock"
    Holder(path).end(kill=True)
    held(path, clock).close()
    assert clock.elapsed == 0


def test_waiting_for_the_lock_ends_with_a_refusal(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lock"
    holder = Holder(path)
    try:
        _, error = failed(acquire(path, clock, limit=30))
    finally:
        holder.end()
    assert (code(error), error.exit_code) == ("LOCKED", ExitCode.REFUSED)
    assert "pid 12345" in error.problems[0].title
    assert 30 < clock.elapsed < 31


def test_the_lock_is_free_again_after_it_was_closed(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lock"
    for _ in range(2):
        held(path, clock).close()
    assert clock.elapsed == 0


def test_two_deployments_do_not_wait_for_each_other(tmp_path: Path) -> None:
    clock = FakeClock()
    with held(tmp_path / "a" / "lock", clock), held(tmp_path / "b" / "lock", clock):
        assert clock.elapsed == 0


def test_an_unlocked_note_of_an_old_holder_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("pid 1")
    with held(path, FakeClock()):
        assert path.read_text() == f"pid {os.getpid()}"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no file locks of this kind")
def test_giving_up_while_waiting_leaves_no_open_file(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "lock"
    holder = Holder(path)
    try:
        steps = acquire(path, clock)
        next(steps)
        steps.close()
    finally:
        holder.end()
    held(path, clock).close()


ORPHAN = """
import subprocess, sys
from pathlib import Path
from deployer.core.steps import SystemClock
from deployer.state.lock import held, locked

def steps():
    child = subprocess.Popen(["sleep", "60"], pass_fds=held(), stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    sys.stdin.read()
    yield

list(locked(Path(sys.argv[1]), SystemClock(), steps()))
"""


def test_what_a_killed_run_left_at_work_holds_the_lock_until_it_has_ended(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    child = int(run.stdout.readline())
    run.kill()
    run.communicate()
    clock = FakeClock()
    clock.at(5, lambda: os.kill(child, signal.SIGKILL))
    events, stream = played(acquire(tmp_path / "lock", clock))
    assert stream is not None
    stream.close()
    (warning,) = (event for event in events if isinstance(event, Warned))
    ((_, state, words),) = items(events)
    assert (state, f"waiting {words}") == ("running", warning.problem.title)
    assert f"a run that was killed (pid {run.pid})" in warning.problem.title
    assert clock.elapsed >= 5


def test_programs_are_given_the_lock_only_while_it_is_held(tmp_path: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def steps() -> Steps[None]:
        yield from ()
        seen.append(descriptors())

    def together() -> Steps[None]:
        yield from steps()
        yield from merge({"a": steps})  # in a thread of its own

    played(locked(tmp_path, FakeClock(), together()))
    assert len(seen[0]) == 1
    assert seen[1] == seen[0]
    assert descriptors() == ()


def test_one_dev_keeps_an_application_at_its_sources(tmp_path: Path) -> None:
    assert watched_by(tmp_path) == ""
    with watching(tmp_path, "shop"):
        assert watched_by(tmp_path) == f"pid {os.getpid()}"
        with pytest.raises(DeployError) as caught, watching(tmp_path, "shop"):
            raise AssertionError
        assert caught.value.problems[0].code == "DEV_RUNNING"
    assert watched_by(tmp_path) == ""
