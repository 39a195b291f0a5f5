"""What a run came to so far, as frozen data, and the pure fold that makes it from events (no rich, no clock)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, assert_never

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
    plain_fields,
)
from deployer.core.text import clean, clean_lines
from deployer.status import WorkloadStatus

LOG_TAIL = 20


class StageState(Enum):
    """How a stage stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item of a stage: since when it runs, how long it took once it ended, its last lines of output."""

    name: str
    state: ItemState
    began: float
    seconds: float | None = None
    text: str = ""
    done: float | None = None
    total: float | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage: since when it runs, how long it took once it ended, and its items in order of appearance."""

    name: str
    state: StageState = StageState.WAITING
    began: float = 0.0
    seconds: float | None = None
    text: str = ""
    items: tuple[ItemView, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """A run so far."""

    command: str = ""
    application: str = ""
    began: float = 0.0
    stages: tuple[StageView, ...] = ()
    workloads: tuple[WorkloadStatus, ...] = ()
    urls: tuple[UrlProven, ...] = ()
    warnings: tuple[Problem, ...] = ()
    further: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()
    outcome: Literal["ok", "failed", "interrupted"] | None = None
    exit_code: int | None = None
    changed: bool = False
    seconds: float | None = None
    usual: Mapping[str, float] = field(default_factory=dict)
    """How long stages take, as far as earlier runs say."""


def fold(view: View, event: Event, now: float) -> View:
    """The view after one more event, seen at `now` (seconds of a monotonic clock)."""
    match event:
        case RunStarted():
            stages = tuple(_stage(view, name) for name in event.stages)
            return replace(view, command=event.command, application=event.application, began=now, stages=stages)
        case StageStarted():
            return _begun(view, event.stage, now)
        case Item():
            return _with_item(view, event.stage, _item_after(view, event, now))
        case Log():
            item = _item(view, event.stage, event.item, now)
            return _with_item(view, event.stage, replace(item, log=(*item.log[1 - LOG_TAIL :], event.line)))
        case WorkloadChanged():
            others = (status for status in view.workloads if status.ref != event.status.ref)
            return replace(view, workloads=tuple(sorted((*others, event.status), key=lambda status: status.ref)))
        case UrlProven():
            kept = tuple(url for url in view.urls if (url.name, url.url) != (event.name, event.url))
            return replace(view, urls=(*kept, event))
        case Warned(further=True):
            return replace(view, further=_joined(view.further, (event.problem,)))
        case Warned():
            return replace(view, warnings=_joined(view.warnings, (event.problem,)))
        case StageFinished():
            state = StageState.DONE if event.changed else StageState.UNCHANGED
            ended = replace(_stage(view, event.stage), state=state, seconds=event.seconds, text=event.text)
            return replace(_with_stage(view, ended), changed=view.changed or event.changed)
        case StageFailed():
            interrupted = all(problem.code == "INTERRUPTED" for problem in event.problems)
            state = StageState.INTERRUPTED if interrupted and event.problems else StageState.FAILED
            ended = replace(_stage(view, event.stage), state=state, seconds=event.seconds)
            return replace(_with_stage(view, ended), problems=_joined(view.problems, event.problems))
        case RunFinished():
            return replace(
                view,
                outcome=event.outcome,
                exit_code=event.exit_code,
                changed=event.changed,
                seconds=event.seconds,
            )
        case _:
            assert_never(event)


def news_of(problem: Problem, view: View) -> Problem:
    """What the problem says beyond the warning that showed it before; the whole problem where none did."""
    same = [one for one in view.warnings if (one.code, one.where) == (problem.code, problem.where)]
    shown = {line.strip() for one in same for line in (one.title, *one.detail.splitlines(), *one.hints)}
    return replace(
        problem,
        detail="\n".join(line for line in problem.detail.splitlines() if line.strip() not in shown),
        hints=tuple(hint for hint in problem.hints if hint not in shown),
    ) if same else problem  # fmt: skip


def running(view: View) -> tuple[StageView, ...]:
    """The stages at work now."""
    return tuple(stage for stage in view.stages if stage.state is StageState.RUNNING)


def not_shown(view: View) -> int:
    """How many findings are not on a screen that shows the first ones only."""
    shown = {(one.code, one.where) for one in (*view.warnings, *view.problems)}
    return len({(one.code, one.where) for one in view.further} - shown)


def evidence(view: View) -> tuple[ItemView, ...]:
    """The items whose output explains a failure and is not in its detail: those that failed, else those running."""
    shown = {line.strip() for problem in view.problems for line in clean_lines(problem.detail)}
    items = [
        item
        for stage in view.stages
        if stage.state is StageState.FAILED
        for item in stage.items
        if any(clean(line).strip() not in shown for line in item.log)
    ]
    failed = tuple(item for item in items if item.state is ItemState.FAILED)
    return failed or tuple(item for item in items if item.state is ItemState.RUNNING)


def to_data(view: View) -> dict[str, Any]:
    """The `data` object of the envelope: stages with their items, workloads, URLs, warnings."""
    wire = plain_fields(view)
    return {
        "application": wire["application"],
        "changed": wire["changed"],
        "outcome": wire["outcome"],
        "seconds": wire["seconds"],
        "stages": [_stage_data(stage) for stage in wire["stages"]],
        "workloads": list(wire["workloads"]),
        "urls": list(wire["urls"]),
        "warnings": [problem.to_wire() for problem in (*view.warnings, *view.further)],
    }


def envelope(
    command: str, ok: bool, exit_code: int, data: dict[str, Any] | None, problems: Iterable[Problem]
) -> dict[str, Any]:
    """The one JSON object that every command prints under `-o json`."""
    return {
        "schemaVersion": 1,
        "command": command,
        "ok": ok,
        "exitCode": int(exit_code),
        "data": data,
        "errors": [problem.to_wire() for problem in problems],
    }


def _stage(view: View, name: str) -> StageView:
    return next((stage for stage in reversed(view.stages) if stage.name == name), StageView(name))


def _begun(view: View, name: str, now: float) -> View:
    """The view with a stage that runs: its own row, or after a failure a new one, for what follows is a rollback.

    What failed keeps its row, what was never begun has none, and workloads and URLs are those of the later rollout.
    """
    if all(stage.state is not StageState.FAILED for stage in view.stages):
        return _with_stage(view, replace(_stage(view, name), state=StageState.RUNNING, began=now))
    past = tuple(stage for stage in view.stages if stage.state is not StageState.WAITING)
    fresh = replace(view, stages=(*past, StageView(name, StageState.RUNNING, now)))
    return replace(fresh, workloads=(), urls=()) if any(stage.name == name for stage in past) else fresh


def _with_stage(view: View, stage: StageView) -> View:
    at = max((at for at, known in enumerate(view.stages) if known.name == stage.name), default=len(view.stages))
    return replace(view, stages=(*view.stages[:at], stage, *view.stages[at + 1 :]))


def _item(view: View, stage: str, name: str, now: float) -> ItemView:
    known = (item for item in _stage(view, stage).items if item.name == name)
    return next(known, ItemView(name, ItemState.RUNNING, now))


def _item_after(view: View, event: Item, now: float) -> ItemView:
    item = _item(view, event.stage, event.item, now)
    if event.state is ItemState.RUNNING:
        begun_again = item.seconds is not None
        item = replace(item, began=now if begun_again else item.began, seconds=None)
    else:
        item = replace(item, seconds=now - item.began)
    return replace(item, state=event.state, text=event.text, done=event.done, total=event.total)


def _with_item(view: View, stage_name: str, item: ItemView) -> View:
    stage = _stage(view, stage_name)
    if any(known.name == item.name for known in stage.items):
        items = tuple(item if known.name == item.name else known for known in stage.items)
    else:
        items = (*stage.items, item)
    return _with_stage(view, replace(stage, items=items))


def _joined(before: tuple[Problem, ...], more: tuple[Problem, ...]) -> tuple[Problem, ...]:
    return (*before, *(problem for problem in more if problem not in before))


def _stage_data(stage: dict[str, Any]) -> dict[str, Any]:
    kept = {key: stage[key] for key in ("name", "state", "seconds", "text")}
    items = [{key: item[key] for key in ("name", "state", "text")} for item in stage["items"]]
    return {**kept, "changed": stage["state"] == "done", "items": items}
