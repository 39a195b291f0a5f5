"""What releases are called: like their charts, unless an address in some values leads to a Service of another name.

Helm charts name their objects after the release, so that `http://lending-catalog:9292` in the values of one chart says
how the release of another is to be called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deployer.core.errors import DeployError
from deployer.init.model import FoundChart, Rendered
from deployer.preflight.rules.model import name_of

_HOST = re.compile(r"://(?:[^@/\s]*@)?([a-z][a-z0-9-]*)(?=[:/\"'\s]|$)")

Render = Callable[[FoundChart, str], Rendered]
"""The chart as the release of this name. Raises DeployError where it does not render."""


def release_names(charts: Sequence[FoundChart], render: Render) -> dict[str, FoundChart]:
    """Release → chart. A name that an address suggests is taken where that release really makes the Service."""
    made: dict[str, FoundChart] = {}
    services = {chart.path: _services(chart, chart.name, render) for chart in charts}
    there = set().union(*services.values())
    wanted = {host for chart in charts for host in hosts(chart.values)} - there
    for chart in charts:
        suggested = (one for one in sorted(wanted - made.keys()) if one in _services(chart, one, render))
        name = next(suggested, chart.name)
        while name in made:
            name += "-2"
        made[name] = chart
    return made


def dashed(text: str) -> str:
    """The text in the characters of names, in small letters with dashes between its words; it may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def hosts(values: Mapping[str, Any]) -> Iterator[str]:
    """Names without a dot that addresses in the values lead to: Services of the same namespace."""
    for value in values.values():
        if isinstance(value, Mapping):
            yield from hosts(value)
        elif isinstance(value, str):
            yield from (match[1] for match in _HOST.finditer(value) if match[1] != "localhost")


def _services(chart: FoundChart, release: str, render: Render) -> set[str]:
    try:
        return {name_of(body) for body in render(chart, release) if body.get("kind") == "Service"}
    except DeployError:
        return set()
