from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import Object, ObjectRef
from deployer.core.steps import Steps
from deployer.stages.addons import WantedAddon, Waves, ensure_addons, lacking, look
from tests.fakes import FakeClock, FakeKube
from tests.fakes.play import code, failed, items, played

CONTROLLER = ObjectRef("Deployment", "default", "controller")


def deployment(available: int = 1) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": "controller", "namespace": "default"},
        "spec": {"replicas": 1},
        "status": {"availableReplicas": available, "updatedReplicas": available},
    }


def settings(name: str) -> Object:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"a": "1"}}


class Made:
    """An addon `lights` of two waves, and what was asked of it."""

    def __init__(self, inputs: str = "1") -> None:
        self.supplied: list[str] = []
        self.made = 0
        body = {key: value for key, value in deployment().items() if key != "status"}
        self.waves: Waves = ((body,), (settings("lights"),))
        self.wanted = WantedAddon("lights", "v1", inputs, (CONTROLLER,), self.make)

    def make(self) -> Steps[Waves]:
        self.made += 1
        yield from ()
        return self.waves

    def supply(self, names: Sequence[str]) -> Steps[None]:
        self.supplied += names
        yield from ()


def ensured(made: Made, kube: FakeKube) -> tuple[list[tuple[str, str, str]], Any]:
    events, outcome = played(ensure_addons([made.wanted], kube, kube.clock, made.supply, lambda ref: f"cause of {ref}"))
    return items(events), outcome


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube(FakeClock())


def ready_at(kube: FakeKube, seconds: float) -> None:
    kube.clock.at(seconds, lambda: kube.put(deployment()))


def test_an_addon_is_applied_wave_by_wave_and_then_remembered(kube: FakeKube) -> None:
    made = Made()
    ready_at(kube, 3)
    shown, outcome = ensured(made, kube)
    assert [(verb, kind, name) for verb, kind, _, name in kube.writes] == [
        ("apply", "Deployment", "controller"),
        ("apply", "ConfigMap", "lights"),
        ("apply", "ConfigMap", "todo-deploy.addon.lights"),
    ]
    assert kube.clock.elapsed >= 3, "the second wave waits for the first"
    assert (outcome.changed, outcome.text, outcome.value[0].ready) == (True, "lights", True)
    assert shown == [
        ("lights", "running", "preparing"),
        ("lights", "running", "Deployment controller: 0 of 1 pods available"),
        ("lights", "done", "v1"),
    ]


def test_a_cluster_that_has_it_is_only_read(kube: FakeKube) -> None:
    ready_at(kube, 1)
    ensured(Made(), kube)
    before, again = list(kube.writes), Made()
    shown, outcome = ensured(again, kube)
    assert (kube.writes, again.supplied, again.made) == (before, [], 0)
    assert (outcome.changed, outcome.text) == (False, "1 unchanged")
    assert shown == [("lights", "unchanged", "v1")]


def test_other_inputs_are_applied_anew(kube: FakeKube) -> None:
    ready_at(kube, 1)
    ensured(Made(), kube)
    newer = Made("2")
    assert look(newer.wanted, kube).text == "not up to date"
    _, outcome = ensured(newer, kube)
    assert (outcome.changed, newer.supplied, newer.made) == (True, ["lights"], 1)
    assert look(newer.wanted, kube).ready


def test_one_that_stopped_being_ready_is_waited_for(kube: FakeKube) -> None:
    ready_at(kube, 1)
    ensured(Made(), kube)
    kube.put(deployment(0))
    assert look(Made().wanted, kube).text == "Deployment controller: 0 of 1 pods available"
    kube.clock.at(kube.clock.elapsed + 4, lambda: kube.put(deployment()))
    again = Made()
    _, outcome = ensured(again, kube)
    assert (outcome.changed, kube.clock.elapsed >= 5) == (False, True)
    assert (again.supplied, again.made) == (["lights"], 0), "its image may be gone from the node"


def test_one_that_is_gone_is_applied_again(kube: FakeKube) -> None:
    ready_at(kube, 1)
    ensured(Made(), kube)
    kube.drop("Deployment", "default", "controller")
    again = Made()
    assert look(again.wanted, kube).text == "Deployment controller: not there"
    ready_at(kube, kube.clock.elapsed + 2)
    _, outcome = ensured(again, kube)
    assert (outcome.changed, again.made) == (True, 1)


def test_one_that_never_becomes_ready_is_named_with_its_cause_and_not_remembered(kube: FakeKube) -> None:
    made = Made()
    events, error = failed(
        ensure_addons([made.wanted], kube, kube.clock, made.supply, lambda ref: f"cause of {ref.name}")
    )
    assert [text for _, state, text in items(events) if state == "running"] == [
        "preparing",
        "Deployment controller: 0 of 1 pods available",
        "Deployment controller: 0 of 1 pods available; cause of controller",
    ]
    assert code(error) == "ADDON_NOT_READY"
    assert error.problems[0].detail == "Deployment controller: 0 of 1 pods available\ncause of controller"
    assert look(made.wanted, kube).text == "not in the cluster yet"


def test_a_kind_that_is_not_served_yet_is_applied_a_moment_later(kube: FakeKube) -> None:
    made = Made()
    ready_at(kube, 1)
    apply, refusals = kube.apply, 2

    def late(body: Object) -> Object:
        nonlocal refusals
        if body["metadata"]["name"] == "lights" and refusals:
            refusals -= 1
            raise DeployError(Problem("API_NOTFOUND", "no such kind"), ExitCode.MACHINE)
        return apply(body)

    kube.apply = late  # type: ignore[method-assign]
    _, outcome = ensured(made, kube)
    assert outcome.changed
    assert refusals == 0


def test_a_refusal_is_not_tried_again(kube: FakeKube) -> None:
    made = Made()

    def refuse(body: Object) -> Object:
        raise DeployError(Problem("API_FORBIDDEN", body["kind"]), ExitCode.REFUSED)

    kube.apply = refuse  # type: ignore[method-assign]
    _, error = failed(ensure_addons([made.wanted], kube, kube.clock, made.supply, lambda ref: ""))
    assert code(error) == "API_FORBIDDEN"


CONDITION = {"type": "Available", "status": "False", "message": "no endpoints"}


@pytest.mark.parametrize(
    ("body", "lack"),
    [
        (None, "not there"),
        (deployment(), ""),
        (deployment(0), "0 of 1 pods available"),
        ({**deployment(), "metadata": {"name": "x", "generation": 2}}, "not seen by its controller yet"),
        ({"kind": "DaemonSet", "metadata": {}}, "scheduled on no node"),
        ({"kind": "DaemonSet", "metadata": {}, "status": {"desiredNumberScheduled": 2, "numberAvailable": 2,
                                                          "updatedNumberScheduled": 1}}, "1 of 2 pods available"),
        ({"kind": "DaemonSet", "metadata": {}, "status": {"desiredNumberScheduled": 1, "numberAvailable": 1,
                                                          "updatedNumberScheduled": 1}}, ""),
        ({"kind": "APIService", "metadata": {}}, "not Available yet"),
        ({"kind": "APIService", "metadata": {}, "status": {"conditions": [CONDITION]}}, "no endpoints"),
        ({"kind": "APIService", "metadata": {}, "status": {"conditions": [{**CONDITION, "status": "True"}]}}, ""),
        ({"kind": "CustomResourceDefinition", "metadata": {}}, "not Established yet"),
        ({"kind": "ConfigMap", "metadata": {}}, ""),
    ],
)  # fmt: skip
def test_what_an_object_lacks(body: Object | None, lack: str) -> None:
    assert lacking(body) == lack
