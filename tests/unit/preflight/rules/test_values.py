"""Values that a chart neither knows nor uses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from deployer.core.ports import Object
from deployer.preflight.gather import renewed
from deployer.preflight.rules.values import alike, idle, unknown

DEFAULTS = {"replicaCount": 1, "service": {"port": 80}, "resources": {}, "env": {"A": "1"}, "nodeSelector": None}


def config(name: str = "c", **data: str) -> Object:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"replicaCout": 2}, {("replicaCout",): "replicaCount"}),
        ({"service": {"prot": 8}}, {("service", "prot"): "service.port"}),
        ({"replicaCount": 2, "service": {"port": 8}}, {}),
        ({"resources": {"limits": {"cpu": 1}}, "nodeSelector": {"a": "b"}}, {}),
        ({"service": None, "other": None}, {("other",): ""}),
    ],
)
def test_what_the_charts_own_values_do_not_have_is_found_with_the_nearest(values: Any, found: Any) -> None:
    assert dict(unknown(values, DEFAULTS)) == found


def render(values: Mapping[str, Any]) -> list[Object]:
    """A chart that uses `env` whole, `extra` and a switch."""
    made = [config(**{key: str(one) for key, one in values.get("env", {}).items()}, extra=str(values.get("extra")))]
    return made + ([config("on")] if values.get("on", True) else [])


@pytest.mark.parametrize(
    ("values", "without"),
    [
        ({"extra": "x", "typo": 1, "other": {"a": 1}}, {("typo",), ("other",)}),
        ({"env": {"B": "2"}, "extra": "x"}, set()),
        ({"on": True}, set()),  # the same as its default: another value would have an effect
        ({"typo": [1, "a"], "on": False}, {("typo",)}),
    ],
)
def test_only_what_changes_nothing_has_no_effect(values: Any, without: Any) -> None:
    before, base = copy.deepcopy(values), render(values)
    paths = [path for path, _ in unknown(values, {"x": 1, "env": {"A": ""}})]
    assert idle(values, paths, render, lambda trial: alike(base, trial, frozenset())) == without
    assert values == before


def test_a_chart_that_does_not_render_without_a_value_uses_it() -> None:
    assert idle({"needed": 1}, [("needed",)], lambda values: None, lambda trial: True) == set()


@pytest.mark.parametrize(
    ("third", "same"),
    [
        ([config("web", password="r3", tls="no"), config("job-c")], True),
        ([config("web", password="r3", tls="yes"), config("job-c")], False),
        ([config("web", password="r3", tls="no"), config("job-c"), config("more")], False),
        ([config("other", password="r3", tls="no"), config("job-c")], False),
    ],
    ids=["random", "a value", "an object more", "another name"],
)
def test_what_is_random_makes_no_difference(third: list[Object], same: bool) -> None:
    first = [config("web", password="r1", tls="no"), config("job-a")]
    second = [config("web", password="r2", tls="no"), config("job-b")]
    assert alike(first, third, frozenset(renewed(first, second))) is same
