"""A chart read by rendering it: its images, the Secrets that its pods need, and the Services that can be reached.

It is rendered with its own values, with marks for images, for Secrets, and for types of Services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.ports import Object
from deployer.core.values import overlaid
from deployer.init import match
from deployer.init.match import Path, dotted, leaves, nested
from deployer.init.model import Exposed, FoundChart, Reading, Rendered, SecretNeed, dashed
from deployer.plan import ReleasePlan
from deployer.preflight.rules.configuration import references
from deployer.preflight.rules.model import is_test, name_of, workload_of

_HOST = re.compile(r"://(?:[^@/\s]*@)?([a-z][a-z0-9-]*)(?=[:/\"'\s]|$)")
_SECRET_NAME = re.compile(r"existing_?secret|secret_?name|secretref", re.IGNORECASE)
_SERVICE_TYPE = re.compile(r"(^|\.)\w*service\w*\.type$|serviceType$", re.IGNORECASE)
_OUTSIDE = ("NodePort", "LoadBalancer")
_MARK = "draft-secret-"

RenderAs = Callable[[FoundChart, str], Rendered]
"""The chart as the release of this name. Raises DeployError where it does not render."""

Render = Callable[[Mapping[str, Any]], Rendered]
"""The chart with these values over its own. Raises DeployError where it does not render."""


def read(chart: FoundChart, release: str, namespace: str, render: Render) -> Reading:
    """What the chart's pods are made of, need and serve; the reading of a chart that does not render has a problem."""
    plan = ReleasePlan(release, namespace, FilePath(chart.path), {}, "", (), (), (), 0.0)
    paths = match.candidates(chart.values)
    plain, problem = _tried(render, {})
    with_marks, _ = _tried(render, match.marked(chart.values, paths))
    if with_marks is None:
        paths = _taken(render, chart.values, paths, needs_all=plain is None)
        with_marks, _ = _tried(render, match.marked(chart.values, paths))
    base, given = (plain, {}) if plain is not None else (with_marks, match.marked(chart.values, paths))
    if base is None:
        return Reading(chart, release, problem=problem)
    images = match.slots(plain or (), with_marks, paths, chart.values, plan)
    named = secret_needs(base, None, (), plan)
    groups = secret_paths(chart.values, [one.name for one in named])
    moved, _ = _tried(render, overlaid(given, secrets_marked(groups))) if groups else (base, "")
    wanted = secret_needs(base, moved, groups if moved is not None else (), plan)
    reachable = list(exposed(base, plan))
    for path in type_paths(chart.values):
        opened, _ = _tried(render, overlaid(given, as_node_port(path)))
        known = {one.service for one in reachable}
        more = exposed(opened or (), plan, path)
        reachable += [one for one in more if one.service and one.service not in known]
    return Reading(chart, release, images, wanted, tuple(reachable))


def _taken(
    render: Render, values: Mapping[str, Any], paths: Sequence[match.Path], *, needs_all: bool
) -> tuple[match.Path, ...]:
    """The paths that the chart takes a mark at: it may check what it is given.

    `needs_all`: it does not render without its images, so that one path at a time is left out instead.
    """

    def renders(some: Sequence[match.Path]) -> bool:
        return _tried(render, match.marked(values, some))[0] is not None

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


def secret_paths(values: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[Path, ...], ...]:
    """The values that may name a Secret, by their own name or because they hold the name of one that pods need.

    Those that name the same one stand together.
    """
    found: dict[str, list[Path]] = {}
    for at, value in _texts(values):
        if _SECRET_NAME.search(at[-1]) or (value and value in names):
            found.setdefault(value or dotted(at), []).append(at)
    return tuple(tuple(same) for same in found.values())


def secrets_marked(groups: Sequence[Sequence[Path]]) -> dict[str, Any]:
    """Values in which the paths of each group name another Secret."""
    return nested({path: f"{_MARK}{number}" for number, paths in enumerate(groups) for path in paths})


def secret_needs(
    objects: Sequence[Object], with_marks: Sequence[Object] | None, groups: Sequence[Sequence[Path]], plan: ReleasePlan
) -> tuple[SecretNeed, ...]:
    """The Secrets that pods refer to and the chart does not make, or need not make where a value names another one."""
    made = {name_of(body) for body in objects if body.get("kind") == "Secret"}
    plain = _references(objects, plan)
    moved = _references(with_marks, plan) if with_marks is not None else plain
    found: dict[str, SecretNeed] = {}
    for name, keys in moved.items():
        if name.startswith(_MARK):
            group = groups[int(name.removeprefix(_MARK))]
            own = _own_name(keys, plain, group[0])
            found[own] = SecretNeed(own, _keys(keys), _whole(keys), tuple(dotted(path) for path in group))
        elif name not in made:
            found.setdefault(name, SecretNeed(name, _keys(keys), _whole(keys), ()))
    return tuple(found.values())


def type_paths(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The values that may say of what type a Service is."""
    return tuple(at for at, value in _texts(values) if _SERVICE_TYPE.search(".".join(at)) and value != "NodePort")


def as_node_port(path: Path) -> dict[str, Any]:
    """Values in which this path says NodePort."""
    return nested({path: "NodePort"})


def exposed(objects: Sequence[Object], plan: ReleasePlan, type_path: Path = ()) -> tuple[Exposed, ...]:
    """The Services of what is rendered that have an address outside the cluster, and the hosts of its Ingresses."""
    found = []
    for body in objects:
        spec = body.get("spec") or {}
        if body.get("kind") == "Service" and spec.get("type") in _OUTSIDE:
            ports = spec.get("ports") or [{}]
            several = len(ports) > 1
            port = (ports[0].get("name") or ports[0].get("port")) if several else None
            fixed = ports[0].get("nodePort")
            probe = _probe(objects, spec.get("selector") or {}, plan)
            found.append(Exposed(name_of(body), port, fixed, probe, dotted(type_path)))
        if body.get("kind") == "Ingress":
            hosts = [str(rule["host"]) for rule in spec.get("rules") or () if rule.get("host")]
            found += [Exposed("", None, None, "", host=host) for host in hosts]
    return tuple(found)


def _references(objects: Sequence[Object] | None, plan: ReleasePlan) -> dict[str, list[tuple[str, bool]]]:
    """Secret's name → the keys that pods want of it and whether they must be there; an empty key is all of it."""
    found: dict[str, list[tuple[str, bool]]] = {}
    for body in objects or ():
        work = None if is_test(body) else workload_of(plan, body)
        for one in references(work) if work is not None else ():
            if one.target.kind == "Secret":
                found.setdefault(one.target.name, []).append((one.key, not one.optional))
    return found


def _keys(found: Sequence[tuple[str, bool]]) -> dict[str, bool]:
    keys: dict[str, bool] = {}
    for key, required in found:
        if key:
            keys[key] = keys.get(key, False) or required
    return keys


def _whole(found: Sequence[tuple[str, bool]]) -> bool:
    return any(not key for key, _ in found)


def _own_name(keys: Sequence[tuple[str, bool]], plain: Mapping[str, Any], path: Path) -> str:
    """The Secret's name without the mark; where that is not certain, one made of the value's path."""
    same = [name for name, known in plain.items() if sorted(set(known)) == sorted(set(keys))]
    return same[0] if len(same) == 1 else dashed("-".join(path))


def _probe(objects: Sequence[Object], selector: Mapping[str, str], plan: ReleasePlan) -> str:
    for body in objects:
        work = workload_of(plan, body)
        if work is None or not selector or not selector.items() <= work.pod_labels.items():
            continue
        for container in work.containers():
            path = ((container.get("readinessProbe") or {}).get("httpGet") or {}).get("path")
            if path:
                return str(path)
    return ""


def _texts(values: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    return ((at, value) for at, value in leaves(values) if isinstance(value, str))


def release_names(charts: Sequence[FoundChart], render: RenderAs) -> dict[str, FoundChart]:
    """Release → chart. A release has its chart's name, unless an address in some values leads to a Service of another.

    Charts name their objects after the release, so that `http://lending-catalog:9292` in the values of one chart
    shows the release's name of another. It is taken where that release really makes the Service.
    """
    made: dict[str, FoundChart] = {}
    services = {chart.path: _services_of(chart, chart.name, render) for chart in charts}
    there = set().union(*services.values())
    wanted = {host for chart in charts for host in hosts(chart.values)} - there
    for chart in charts:
        suggested = (one for one in sorted(wanted - made.keys()) if one in _services_of(chart, one, render))
        name = next(suggested, chart.name)
        while name in made:
            name += "-2"
        made[name] = chart
    return made


def hosts(values: Mapping[str, Any]) -> Iterator[str]:
    """Names without a dot that addresses in the values lead to: Services of the same namespace."""
    for value in values.values():
        if isinstance(value, Mapping):
            yield from hosts(value)
        elif isinstance(value, str):
            yield from (match[1] for match in _HOST.finditer(value) if match[1] != "localhost")


def _services_of(chart: FoundChart, release: str, render: RenderAs) -> set[str]:
    try:
        return {name_of(body) for body in render(chart, release) if body.get("kind") == "Service"}
    except DeployError:
        return set()
