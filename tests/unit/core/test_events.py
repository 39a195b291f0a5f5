from __future__ import annotations

import json
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import pytest

from deployer.core import events
from deployer.core.errors import Problem
from deployer.core.events import Event, to_wire
from deployer.status import Phase, WorkloadRef, WorkloadStatus

PROBLEM = Problem("CODE", "title", "detail", "file:1", ("hint",))
STATUS = WorkloadStatus(WorkloadRef("default", "Deployment", "api"), Phase.AVAILABLE, 1, 1, 1, 0, images=("api:1",))
MEMBERS = typing.get_args(Event)
SAMPLES: tuple[Event, ...] = (
    events.RunStarted("up", "todo", ("cluster", "images")),
    events.StageStarted("images"),
    events.Item("images", "api", events.ItemState.RUNNING, "building", 1.0, 4.0),
    events.Log("images", "api", "Step 1/4"),
    events.WorkloadChanged(STATUS),
    events.UrlProven("web", "http://192.0.2.1:30000/", 200),
    events.Warned(PROBLEM),
    events.StageFinished("images", 1.5, True, "1 built"),
    events.StageFailed("images", 1.5, (PROBLEM, PROBLEM)),
    events.RunFinished(6, False, 9.25, "failed"),
)


def test_there_is_a_sample_of_every_event() -> None:
    assert {type(one) for one in SAMPLES} == set(MEMBERS)


def restored(wanted: Any, wire: Any) -> Any:
    """The value of that type from its JSON form, by nothing but the types that the fields are declared with."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is tuple:
        return tuple(restored(arguments[0], one) for one in wire)
    if isinstance(wanted, type) and is_dataclass(wanted):
        hints = typing.get_type_hints(wanted)
        return wanted(**{field.name: restored(hints[field.name], wire[field.name]) for field in fields(wanted)})
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return wanted(wire)
    return wire


@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_json_form(event: Event) -> None:
    wire = json.loads(json.dumps(to_wire(event)))
    assert wire["v"] == 1
    named = {"".join(word.title() for word in wire["type"].split("_")): wire["type"]}
    assert type(event).__name__ in named
    assert restored(type(event), wire) == event


def test_no_two_events_have_one_name_on_the_wire() -> None:
    assert len({to_wire(event)["type"] for event in SAMPLES}) == len(MEMBERS)


def test_the_wire_has_no_time_of_its_own() -> None:
    assert all("at" not in to_wire(event) for event in SAMPLES)


def test_no_field_stands_in_the_way_of_the_wires_own() -> None:
    assert all(not {field.name for field in fields(member)} & {"v", "type", "at"} for member in MEMBERS)


def test_events_cannot_be_changed() -> None:
    for event in SAMPLES:
        with pytest.raises(AttributeError):
            setattr(event, fields(event)[0].name, "other")
