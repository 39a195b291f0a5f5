"""A chart read by rendering it: with its own values, with marks for images, for Secrets, and for types of Services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.values import overlaid
from deployer.init import needs, slots
from deployer.init.model import FoundChart, Reading, Rendered
from deployer.plan import ReleasePlan

Render = Callable[[Mapping[str, Any]], Rendered]
"""The chart with these values over its own. Raises DeployError where it does not render."""


def read(chart: FoundChart, release: str, namespace: str, render: Render) -> Reading:
    """What the chart's pods are made of, need and serve; a chart that does not render at all is told as a problem."""
    plan = ReleasePlan(release, namespace, Path(chart.path), {}, "", (), (), (), 0.0)
    paths = slots.candidates(chart.values)
    plain, problem = _tried(render, {})
    with_marks, _ = _tried(render, slots.marked(chart.values, paths))
    if with_marks is None:
        paths = _taken(render, chart.values, paths, needs_all=plain is None)
        with_marks, _ = _tried(render, slots.marked(chart.values, paths))
    base, given = (plain, {}) if plain is not None else (with_marks, slots.marked(chart.values, paths))
    if base is None:
        return Reading(chart, release, problem=problem)
    images = slots.slots(plain or (), with_marks, paths, chart.values, plan)
    named = needs.secret_needs(base, None, (), plan)
    secret_paths = needs.secret_paths(chart.values, [one.name for one in named])
    moved, _ = _tried(render, overlaid(given, needs.secrets_marked(secret_paths))) if secret_paths else (base, "")
    wanted = needs.secret_needs(base, moved, secret_paths if moved is not None else (), plan)
    reachable = list(needs.exposed(base, plan))
    for path in needs.type_paths(chart.values):
        opened, _ = _tried(render, overlaid(given, needs.as_node_port(path)))
        known = {one.service for one in reachable}
        more = needs.exposed(opened or (), plan, path)
        reachable += [one for one in more if one.service and one.service not in known]
    return Reading(chart, release, images, wanted, tuple(reachable))


def _taken(
    render: Render, values: Mapping[str, Any], paths: Sequence[slots.Path], *, needs_all: bool
) -> tuple[slots.Path, ...]:
    """The paths that the chart takes a mark at: it may check what it is given.

    `needs_all`: it does not render without its images, so that one path at a time is left out instead.
    """

    def renders(some: Sequence[slots.Path]) -> bool:
        return _tried(render, slots.marked(values, some))[0] is not None

    if not needs_all:
        return tuple(one for one in paths if renders((one,)))
    rests = ([other for other in paths if other != one] for one in paths)
    return tuple(next((rest for rest in rests if renders(rest)), ()))


def _tried(render: Render, values: Mapping[str, Any]) -> tuple[Rendered | None, str]:
    try:
        return render(values), ""
    except DeployError as error:
        first = error.problems[0]
        return None, first.detail.strip() or first.title
