from __future__ import annotations

import json

import pytest

from deployer.core.errors import Problem
from deployer.core.events import (
    Item,
    ItemState,
    Log,
    RunFinished,
    RunStarted,
    StageFailed,
    StageFinished,
    StageStarted,
    plain_fields,
)
from deployer.status import Phase
from deployer.ui.view import (
    LOG_TAIL,
    StageState,
    View,
    envelope,
    evidence,
    fold,
    running,
    to_data,
)

from .scenes import (
    ALSO,
    BUILDING,
    CRASH,
    DONE,
    DONE_WELL,
    FAILED,
    FAILED_OF_MANY,
    FAILED_RUN,
    LARGE,
    ROLLING,
    RUNNING,
    Script,
    events,
    viewed,
    workload,
)


@pytest.mark.parametrize("script", [BUILDING, ROLLING, DONE_WELL, FAILED_RUN])
def test_a_view_is_data(script: Script) -> None:
    view, _ = viewed(script)
    assert json.loads(json.dumps(plain_fields(view)))["command"] == "up"


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (StageStarted("images"), StageState.RUNNING),
        (StageFinished("images", 1, True), StageState.DONE),
        (StageFinished("images", 1, False), StageState.UNCHANGED),
        (StageFailed("images", 1, (CRASH,)), StageState.FAILED),
        (StageFailed("images", 1, (Problem("INTERRUPTED", "interrupted"),)), StageState.INTERRUPTED),
    ],
)
def test_a_stage_stands_as_its_last_event_says(event: StageStarted, state: StageState) -> None:
    assert fold(View(), event, 1.0).stages[0].state is state


def test_stages_wait_in_the_order_they_were_announced() -> None:
    view, _ = viewed(BUILDING)
    assert [stage.name for stage in view.stages] == [
        "cluster",
        "images",
        "secrets",
        "releases",
        "rollout",
        "urls",
    ]
    assert [stage.name for stage in running(view)] == ["images"]


def test_a_rollback_has_rows_of_its_own_after_what_failed() -> None:
    view = View()
    broken = workload("new", Phase.STALLED, 0, 1)
    for event in (
        RunStarted("up", "shop", ("releases", "rollout", "urls")),
        StageStarted("releases"), StageFinished("releases", 1, True), StageStarted("rollout"), broken,
        StageFailed("rollout", 9, (CRASH,)),
        StageStarted("rollback"), Item("rollback", "web", ItemState.DONE), StageFinished("rollback", 1, True),
        StageStarted("rollout"),
    ):  # fmt: skip
        view = fold(view, event, 1.0)
    assert [(stage.name, stage.state.value) for stage in view.stages] == [
        ("releases", "done"), ("rollout", "failed"), ("rollback", "done"), ("rollout", "running"),
    ]  # fmt: skip
    assert view.workloads == ()
    view = fold(fold(view, Item("rollout", "stability", ItemState.DONE), 2.0), StageFinished("rollout", 2, True), 2.0)
    assert [(stage.state.value, len(stage.items)) for stage in view.stages][1::2] == [("failed", 0), ("done", 1)]


def test_an_items_time_is_counted_from_its_start_and_from_a_second_start() -> None:
    def after(*moments: tuple[float, Item]) -> float | None:
        view = View()
        for now, event in moments:
            view = fold(view, event, now)
        return view.stages[0].items[0].seconds

    first, end = Item("images", "api", RUNNING), Item("images", "api", DONE)
    assert after((1, first), (2, first), (5, end)) == 4
    assert after((1, first), (5, end), (10, first)) is None
    assert after((1, first), (5, end), (10, first), (12, end)) == 2


def test_only_the_tail_of_a_log_is_kept() -> None:
    view = View()
    for number in range(LOG_TAIL + 5):
        view = fold(view, Log("images", "api", str(number)), 0.0)
    log = view.stages[0].items[0].log
    assert len(log) == LOG_TAIL and log[-1] == str(LOG_TAIL + 4)


def test_workloads_are_kept_by_name_and_in_order() -> None:
    view = View()
    for name, ready in (("web", 0), ("api", 0), ("web", 1)):
        view = fold(view, workload(name, Phase.PROGRESSING, ready, 1), 0.0)
    assert [(status.ref.name, status.ready) for status in view.workloads] == [("api", 0), ("web", 1)]


def test_the_evidence_is_of_what_failed_else_of_what_was_running() -> None:
    def tails(state: object) -> list[str]:
        view = fold(View(), Item("images", "other", RUNNING), 0)
        view = fold(view, Log("images", "other", "a"), 0)
        view = fold(view, Log("images", "api", "b"), 0)
        view = fold(view, Item("images", "api", state), 0)  # type: ignore[arg-type]
        return [item.name for item in evidence(fold(view, StageFailed("images", 1, (CRASH,)), 0))]

    assert tails(FAILED) == ["api"]
    assert tails(RUNNING) == ["other", "api"]


def test_output_that_the_problem_quotes_is_not_shown_again() -> None:
    view = fold(View(), Log("images", "api", "\x1b[31mKeyError: 'DATABASE_URL'"), 0)
    assert evidence(fold(view, StageFailed("images", 1, (CRASH,)), 0)) == ()


def test_a_problem_reported_twice_is_one_problem() -> None:
    failed = StageFailed("rollout", 1, (CRASH,))
    assert fold(fold(View(), failed, 0), failed, 0).problems == (CRASH,)


def test_a_report_is_what_the_run_came_to() -> None:
    view = View()
    for event in events(FAILED_RUN):
        view = fold(view, event, now=0.0)
    assert (view.changed, view.exit_code, view.problems) == (True, 5, (CRASH,))
    data = json.loads(json.dumps(to_data(view)))
    assert [(stage["name"], stage["changed"]) for stage in data["stages"]][:3] == [
        ("cluster", True),
        ("images", True),
        ("secrets", False),
    ]
    assert {"name": "frontend", "state": "unchanged", "text": "as built"} in data["stages"][1]["items"]
    assert data["warnings"] == [LARGE.to_wire()] and data["outcome"] == "failed"
    assert data["workloads"][0]["ref"]["name"] == "backend"


def test_a_report_has_every_finding() -> None:
    view = View()
    for event in events(FAILED_OF_MANY):
        view = fold(view, event, now=0.0)
    assert [one["code"] for one in to_data(view)["warnings"]] == [LARGE.code, ALSO.code, CRASH.code]


def test_changed_is_known_before_the_end() -> None:
    assert fold(View(), StageFinished("images", 1, True), now=0.0).changed
    assert not fold(View(), StageFinished("images", 1, False), now=0.0).changed
    assert fold(View(), RunFinished(0, False, 1, "ok"), now=0.0).exit_code == 0


def test_the_envelope_has_exactly_these_fields() -> None:
    wire = envelope("up", False, 5, None, [CRASH])
    assert list(wire) == ["schemaVersion", "command", "ok", "exitCode", "data", "errors"]
    assert list(wire["errors"][0]) == ["code", "title", "detail", "where", "hints"]
    assert wire["schemaVersion"] == 1 and json.dumps(wire)
