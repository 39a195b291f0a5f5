"""The live view of `dev`: exactly the screen's lines, and what matters on it."""

from __future__ import annotations

import io
import os
import pty
import termios
from dataclasses import replace

import pytest
from rich.console import Console

from deployer.core.errors import Problem
from deployer.core.events import Event, RunFinished, RunStarted, StageFailed, StageFinished, StageStarted
from deployer.core.text import UNICODE
from deployer.status import Phase, WorkloadRef, WorkloadStatus
from deployer.ui.console import Page
from deployer.ui.dev import DevScreen, DevView, dev_frame, dev_summary, fold_dev
from tests.fakes import FakeClock

LONG = "a" * 400


def status(name: str, phase: Phase = Phase.AVAILABLE) -> WorkloadStatus:
    return WorkloadStatus(WorkloadRef("default", "Deployment", name), phase, 1, 1, 1, 0)


def folded(view: DevView, *events: Event) -> DevView:
    for event in events:
        view = fold_dev(view, event, 0.0, "12:00:00")
    return view


FAILED = folded(
    DevView(),
    RunStarted("dev", "shop", ("sources", "sync")),
    StageStarted("sources"),
    StageFinished("sources", 0.1, False, "api: src/a.py → copied"),
    StageStarted("sync"),
    StageFailed("sync", 0.2, (Problem("SYNC_RESTART", "it failed", "\n".join(["a.py:1", LONG] * 20)),)),
    RunFinished(5, False, 0.3, "failed"),
)
BUSY = replace(
    FAILED,
    workloads=tuple(status(name) for name in ("api", "web", "database")),
    addresses={"web": "http://192.168.49.2:30000"},
    synced=frozenset({"api"}),
    logs={"api": [f"line {number} {LONG}" for number in range(100)], "web": ["only one"], "database": ["one", "two"]},
)


def text(view: DevView, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain for line in dev_frame(view, 1.0, Page(width, UNICODE), height)]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (60, 15), (40, 10)])
@pytest.mark.parametrize("view", [DevView(), FAILED, BUSY, replace(BUSY, problems=())])
def test_a_picture_has_the_screens_lines_and_none_is_too_long(view: DevView, width: int, height: int) -> None:
    lines = text(view, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert "leave" in lines[-1] or width < 60


def test_state_url_why_and_cause_are_on_it() -> None:
    shown = "\n".join(text(BUSY))
    for word in (
        "http://192.168.49.2:30000",
        "copied",
        "api: src/a.py → copied",
        "SYNC_RESTART",
        "a.py:1",
    ):
        assert word in shown


def test_the_end_of_a_long_cause_is_on_it() -> None:
    problem = Problem(
        "SYNC_RESTART", "it failed", "\n".join([*map(str, range(60)), "SyntaxError"]), "pod/api", ("save",)
    )
    shown = text(replace(BUSY, problems=(problem,)))
    assert {"error[SYNC_RESTART]: it failed", "  SyntaxError"} <= {line.rstrip() for line in shown}
    assert any("explain" in line for line in shown)


def test_a_cause_has_the_place_of_earlier_rounds_and_warnings() -> None:
    detail = "\n".join(f"line {number} of the build" for number in range(8))
    problem = Problem("BUILD_FAILED", "it failed", detail, "Dockerfile:3", ("save",))
    many = replace(BUSY, problems=(problem,), rounds=BUSY.rounds * 3)
    many = replace(many, run=replace(many.run, warnings=(Problem("NOTICE", "kept"),) * 2))
    shown = "\n".join(text(many))
    assert "line 0 of" in shown and "line 7 of" in shown
    assert "kept" in "\n".join(text(many, 100, 40))


@pytest.mark.parametrize(("usual", "shown"), [(9.4, "about 8 s left"), (1.2, ""), (0.0, "")])
def test_a_stage_at_work_says_what_is_left_of_its_usual_time(usual: float, shown: str) -> None:
    view = folded(DevView(), RunStarted("dev", "shop", ("sources", "rollout")), StageStarted("rollout"))
    lines = text(replace(view, run=replace(view.run, usual={"rollout": usual})))
    (line,) = [line for line in lines if "rollout" in line]
    assert line.rstrip().endswith(shown or "1 s")


def test_each_service_has_its_last_lines() -> None:
    shown = text(replace(BUSY, problems=()))
    assert [line for line in shown if line.startswith("web ")] == ["web      | only one"]
    assert sum(line.startswith("database ") for line in shown) == 2
    assert any(line.startswith("api      | line 99") for line in shown)
    alone = text(replace(BUSY, problems=(), shown="api"))
    assert not [line for line in alone if line.startswith("web ")]


def test_a_round_that_ends_well_takes_the_cause_away() -> None:
    view = folded(FAILED, RunStarted("dev", "shop", ("sources",)))
    assert view.problems
    assert not folded(view, RunFinished(0, True, 0.1, "ok")).problems


def test_what_was_copied_is_said_at_the_end() -> None:
    shown = "\n".join(line.plain for line in dev_summary(BUSY, Page(120, UNICODE)))
    assert "api" in shown and "not verified" in shown


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_the_terminal_is_as_it_was_on_every_way_out(error: type[BaseException] | None) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as keyboard:
        before = termios.tcgetattr(keyboard)
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=True, width=80, height=24)
        try:
            with DevScreen(console, FakeClock(), keyboard) as screen:
                assert termios.tcgetattr(keyboard) != before
                with screen.round() as sink:
                    sink(RunStarted("dev", "shop", ()))
                if error is not None:
                    raise error
        except (KeyboardInterrupt, RuntimeError):
            assert error is not None
        assert termios.tcgetattr(keyboard) == before
        assert "\x1b[?1049l" in stream.getvalue() and "\x1b[?25h" in stream.getvalue()
    os.close(master)
