"""A chart read by rendering it: its images, the Secrets that its pods need, and the Services that can be reached.

It is rendered with its own values, with marks for images, for Secrets, and for types of Services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.ports import Object
from deployer.core.values import dotted, overlaid, value_at
from deployer.init import match
from deployer.init.match import Path, leaves, nested
from deployer.init.model import Exposed, FoundChart, Reading, Rendered, SecretNeed, dashed
from deployer.plan import ReleasePlan
from deployer.preflight.rules.configuration import references
from deployer.preflight.rules.model import is_custom, is_test, texts_of, workload_of
from deployer.status.objects import dig, name_of, rows

_HOST = re.compile(r"://(?:[^@/\s]*@)?([a-z][a-z0-9-]*)(?=[:/\"'\s]|$)")
# `existingSecretPasswordKey` is a key within one.
_SECRET_NAME = re.compile(r"secret(?!.*keys?$)", re.IGNORECASE)
_SERVICE_TYPE = re.compile(r"(^|\.)\w*service\w*\.type$|serviceType$", re.IGNORECASE)
_OUTSIDE = ("NodePort", "LoadBalancer")
_TYPES = ("ClusterIP", "LoadBalancer")
_OTHER = re.compile(r"grpc|sql|postgres|redis|mongo|amqp|kafka|mqtt|dns|ssh|smtp|ldap|nats|etcd|memcache|^tcp|^db$")
# Of databases, queues, mail and games: PostgreSQL, MySQL, Redis, MongoDB, AMQP, Kafka, ZooKeeper, SSH, SMTP, DNS …
OTHER_PORTS = {
    21, 22, 25, 53, 110, 143, 389, 445, 465, 587, 636, 993, 995, 1025, 1433, 1521, 1883, 2181, 2379, 3306, 3389, 4222,
    4317, 5044, 5432, 5433, 5672, 6379, 6380, 7233, 7687, 8125, 9042, 9092, 9094, 9300, 11211, 14250, 25565, 26257,
    27017, 33060, 50051, 61616,
}  # fmt: skip
_NODE_PORTS = {None, 0, *range(30000, 32768)}
"""Those that a cluster can give, or it chooses one itself."""
# A chart that wants values makes names without them that Kubernetes does not allow.
_OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
_AT_ONCE = 4
_SECRET = re.compile(r"draft-secret-(\d+)x")
_TYPE = re.compile(r"draft-type-(\d+)x")

# Words of the names of charts that are another state of one beside them.
REPLACED = frozenset({"alpha", "backup", "bak", "beta", "deprecated", "legacy", "new", "next", "old", "v1", "v2", "v3"})

RenderAs = Callable[[FoundChart, str], Rendered]
"""The chart as the release of this name. Raises DeployError where it does not render."""

Render = Callable[[Mapping[str, Any]], Rendered]
"""The chart with these values over its own. Raises DeployError where it does not render."""


def read(chart: FoundChart, release: str, namespace: str, whole: Render) -> Reading:
    """What the chart's pods are made of, need and serve; the reading of a chart that does not render has a problem."""
    plan = ReleasePlan(release, namespace, FilePath(chart.path), {}, "", (), (), (), 0.0)

    def render(values: Mapping[str, Any]) -> Rendered:
        return [body for body in whole(values) if _has_its_shape(body, plan)]

    paths = match.candidates(chart.values)
    (plain, problem), (with_marks, other) = _all(render, [{}, match.marked(chart.values, paths)])
    # What fails alike without an image and with all of them does not fail for one of them.
    if with_marks is None and (plain is not None or problem != other):
        paths = _taken(render, chart.values, paths, needs_all=plain is None)
        with_marks, _ = _tried(render, match.marked(chart.values, paths))
    base, given = (plain, {}) if plain is not None else (with_marks, match.marked(chart.values, paths))
    if base is None:
        return Reading(chart, release, problem=problem)
    images = match.slots(plain or (), with_marks, paths, chart.values, plan)
    named = secret_needs(base, None, (), plan)
    groups = secret_paths(chart.values, [one.name for one in named])
    moved, _ = _tried(render, overlaid(given, secrets_marked(groups, chart.values))) if groups else (base, "")
    wanted = secret_needs(base, moved, groups if moved is not None else (), plan)
    reachable = exposed(base, plan)
    reachable += _opened(lambda texts: render(overlaid(given, texts)), chart.values, plan, reachable)
    made = [body for body in base if not is_test(body)]
    kinds = frozenset(str(body.get("kind")) for body in made)
    spaces = frozenset(str(space) for body in made if (space := dig(body, "metadata", "namespace")))
    return Reading(chart, release, images, wanted, reachable, kinds, spaces - {namespace})


def _taken(
    render: Render, values: Mapping[str, Any], paths: Sequence[match.Path], *, needs_all: bool
) -> tuple[match.Path, ...]:
    """The paths that the chart takes a mark at: it may check what it is given.

    `needs_all`: it does not render without its images, so that one path at a time is left out instead.
    """

    if not needs_all:
        return _taken_of_each_kind(render, values, paths)
    rests = [tuple(other for other in paths if other != one) for one in paths]
    for at in range(0, len(rests), _AT_ONCE):
        some = rests[at : at + _AT_ONCE]
        made = _each(render, [match.marked(values, rest) for rest in some])
        if found := [rest for rest, objects in zip(some, made, strict=True) if objects is not None]:
            return found[0]
    return ()


def _taken_of_each_kind(
    render: Render, values: Mapping[str, Any], paths: Sequence[match.Path]
) -> tuple[match.Path, ...]:
    """The paths that the chart takes a mark at, found by halves; none of a kind (registries, tags) where no quarter is
    taken: a chart that checks one checks all."""
    kinds: dict[str, list[match.Path]] = {}
    for one in paths:
        kinds.setdefault(str(one[-1]), []).append(one)
    taken: set[match.Path] = set()
    left = list(kinds.values())
    for halved in range(len(paths)):
        made = _each(render, [match.marked(values, some) for some in left])
        taken.update(*(some for some, objects in zip(left, made, strict=True) if objects is not None))
        failed = [some for some, objects in zip(left, made, strict=True) if objects is None and len(some) > 1]
        if halved > 1:
            failed = [some for some in failed if taken & {*kinds[str(some[0][-1])]}]
        left = [half for some in failed for half in (some[: len(some) // 2], some[len(some) // 2 :])]
        if not left:
            break
    return tuple(one for one in paths if one in taken)


def _opened(
    render: Render, values: Mapping[str, Any], plan: ReleasePlan, reachable: Sequence[Exposed]
) -> tuple[Exposed, ...]:
    """The further Services that a value would expose, each with the first value that does."""
    types = type_paths(values)
    texts = [dict.fromkeys(types, "NodePort"), {path: f"draft-type-{at}x" for at, path in enumerate(types)}]
    known = {one.service for one in reachable if not one.host}

    def new(objects: Rendered | None, path: Path = ()) -> list[Exposed]:
        found = exposed(objects or (), plan, dotted(path))
        return [one for one in found if not one.host and one.service not in known]

    if len(types) > len(texts):
        # Both say of all values at once what each would say by itself, where the chart takes them together. An empty
        # value may stand back behind another one.
        opened, marked = _each(render, [nested(some, values) for some in texts])
        marks = {
            name_of(body): str(dig(body, "spec", "type")) for body in marked or () if body.get("kind") == "Service"
        }
        by = {name: types[int(one[1])] for name, mark in marks.items() if (one := _TYPE.fullmatch(mark))}
        sure = [name for name, path in by.items() if value_at(values, dotted(path))]
        if opened is not None and all(one.service in sure for one in new(opened)):
            ordered = sorted(new(opened), key=lambda one: types.index(by[one.service]))
            return tuple(replace(one, type_path=dotted(by[one.service])) for one in ordered)
    found: list[Exposed] = []
    for path, objects in zip(types, _each(render, [nested({path: "NodePort"}, values) for path in types]), strict=True):
        more = new(objects, path)
        found += more
        known |= {one.service for one in more}
    return tuple(found)


def _each(render: Render, some: Sequence[Mapping[str, Any]]) -> list[Rendered | None]:
    """The chart with each of the values, some at a time; None where it does not render."""
    return [objects for objects, _ in _all(render, some)]


def _all(render: Render, some: Sequence[Mapping[str, Any]]) -> list[tuple[Rendered | None, str]]:
    """As `_each`, with why it does not."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda values: _tried(render, values), some))


_BESIDE: tuple[Object, ...] = (
    {"kind": "Service", "metadata": {"name": "s"}, "spec": {"type": "NodePort", "selector": {"a": "b"}}},
    {"kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": []}}}},
)


def _has_its_shape(body: Object, plan: ReleasePlan) -> bool:
    """Whether the object has the fields of its kind as Kubernetes wants them: others are the API server's to refuse."""
    try:
        match.ports_of([body], plan)
        _references([body], plan)
        _names_none([body], plan)
        _comes_by_itself("", [body], plan)
        exposed([body, *_BESIDE], plan)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return False
    return True


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
        if _SECRET_NAME.search(str(at[-1])) or (value and value in names):
            found.setdefault(value or dotted(at), []).append(at)
    return tuple(tuple(same) for same in found.values())


def secrets_marked(groups: Sequence[Sequence[Path]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in which the paths of each group name another Secret."""
    return nested({path: f"draft-secret-{number}x" for number, paths in enumerate(groups) for path in paths}, values)


def secret_needs(
    objects: Sequence[Object], with_marks: Sequence[Object] | None, groups: Sequence[Sequence[Path]], plan: ReleasePlan
) -> tuple[SecretNeed, ...]:
    """The Secrets that pods refer to and the chart does not make, or need not make where a value names another one."""
    made = {name_of(body) for body in objects if body.get("kind") == "Secret"}
    plain = _references(objects, plan)
    moved = _references(with_marks, plan) if with_marks is not None else plain
    can_lack = not _names_none(objects, plan)
    found: dict[str, SecretNeed] = {}
    for name, keys in moved.items():
        mark = _SECRET.search(name)
        group = groups[int(mark[1])] if mark else ()
        own = _own_name(keys, plain, group[0]) if group else name
        if mark and mark[0] == name:
            paths = tuple(dotted(path) for path in group)
            found[own] = SecretNeed(own, _keys(keys), _whole(keys), paths, own in made, can_lack and own not in plain)
        # Where a template adds something to a value's name, the value cannot name another one.
        elif own in (plain if mark else moved) and _is_lacking(own, made, objects, plan):
            found.setdefault(own, SecretNeed(own, _keys(keys), _whole(keys), ()))
    return tuple(found.values())


def _is_lacking(name: str, made: set[str], objects: Sequence[Object], plan: ReleasePlan) -> bool:
    """Whether the name is one that Kubernetes allows, and nothing makes a Secret of it."""
    return bool(_OBJECT_NAME.fullmatch(name)) and name not in made and not _comes_by_itself(name, objects, plan)


def _comes_by_itself(name: str, objects: Sequence[Object], plan: ReleasePlan) -> bool:
    """Whether a hook seems to make the Secret, or the controller of a custom resource."""
    word = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])")
    for body in objects:
        work, own = workload_of(plan, body), name_of(body)
        if work is not None and work.kind == "Job":
            said = [text for one in work.containers(init=True) for key in ("command", "args")
                    for text in texts_of(one.get(key) or [])]  # fmt: skip
            said += [str(one.get("value")) for pod in work.containers(init=True) for one in pod.get("env") or ()]
        elif work is None and is_custom(body):
            said = list(texts_of(body))
            if own and name.startswith(f"{own}-"):
                return True
        else:
            continue
        if any(word.search(text) for text in said):
            return True
    return False


def type_paths(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The values that may say of what type a Service is."""
    return tuple(
        at for at, value in _texts(values)
        if value in _TYPES or (_SERVICE_TYPE.search(".".join(str(key) for key in at)) and value != "NodePort")
    )  # fmt: skip


def exposed(objects: Sequence[Object], plan: ReleasePlan, type_path: str = "") -> tuple[Exposed, ...]:
    """The Services of what is rendered that have an address outside the cluster, and the hosts of its Ingresses."""
    found = []
    made = [body for body in objects if body.get("kind") == "Service"]
    services = {name_of(body): body for body in made if _OBJECT_NAME.fullmatch(name_of(body))}
    for name, body in services.items():
        ports = rows(body, "spec", "ports") or [{}]
        there = dig(body, "spec", "type") in _OUTSIDE and dig(body, "spec", "clusterIP") != "None"
        if there and all(port.get("nodePort") in _NODE_PORTS for port in ports):
            best = next((port for port in ports if _is_web(port)), ports[0])
            port = (best.get("name") or best.get("port")) if len(ports) > 1 else None
            probe = _probe(objects, body, plan)
            number, web = best.get("nodePort") or None, bool(probe) or _is_web(best)
            found.append(Exposed(name, port, number, probe, type_path, web=web))
    for body in objects:
        if body.get("kind") == "Ingress":
            found += _hosts_of(body, services, objects, plan)
    return tuple(found)


def _hosts_of(
    body: Object, services: Mapping[str, Object], objects: Sequence[Object], plan: ReleasePlan
) -> Iterator[Exposed]:
    """Each host of the Ingress, with the Service that answers its first path, and a path that it should answer."""
    named = dig(body, "metadata", "annotations", "kubernetes.io/ingress.class")
    which = str(dig(body, "spec", "ingressClassName") or named or "")
    for rule in rows(body, "spec", "rules"):
        first = next(iter(rows(rule, "http", "paths")), {})
        service = str(dig(first, "backend", "service", "name") or "")
        at = str(first.get("path") or "/")
        path = _probe(objects, services[service], plan) or at if at == "/" and service in services else at
        if rule.get("host"):
            asked = path if re.fullmatch(r"/[\w./-]*", path) else ""
            yield Exposed(service, None, None, asked, "", str(rule["host"]), which)


def _is_web(port: Mapping[str, Any]) -> bool:
    """Whether the port may speak HTTP: neither its name nor its number says otherwise."""
    name = str(port.get("name") or port.get("appProtocol") or "").lower()
    numbers = {port.get("port"), port.get("targetPort")}
    return port.get("protocol", "TCP") == "TCP" and not _OTHER.search(name) and not numbers & OTHER_PORTS


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


def _names_none(objects: Sequence[Object], plan: ReleasePlan) -> bool:
    """Whether pods refer to a Secret without a name: a value has to give one."""
    works = [work for body in objects if not is_test(body) and (work := workload_of(plan, body)) is not None]
    rows_of = [row for work in works for one in work.containers(init=True) for row in
               (*(one.get("env") or ()), *(one.get("envFrom") or ()))]  # fmt: skip
    found = [(row.get("valueFrom") or row) for row in rows_of]
    found += [source for work in works for source in work.sources]
    refs = [source[key] or {} for source in found for key in ("secretRef", "secretKeyRef", "secret") if key in source]
    return any(not (one.get("name") or one.get("secretName")) for one in refs)


def _own_name(keys: Sequence[tuple[str, bool]], plain: Mapping[str, Any], path: Path) -> str:
    """The Secret's name without the mark; where that is not certain, one made of the value's path."""
    same = [name for name, known in plain.items() if name and sorted(set(known)) == sorted(set(keys))]
    return same[0] if len(same) == 1 else dashed("-".join(str(key) for key in path))


def _probe(objects: Sequence[Object], service: Object, plan: ReleasePlan) -> str:
    """The path that the probes of the Service's pods ask, that of readiness before others."""
    selector = dig(service, "spec", "selector") or {}
    works = [work for body in objects if (work := workload_of(plan, body)) is not None and selector]
    containers = [one for work in works if selector.items() <= work.pod_labels.items() for one in work.containers()]
    asked = (dig(one, f"{kind}Probe", "httpGet", "path") for kind in ("readiness", "liveness", "startup")
             for one in containers)  # fmt: skip
    return next((str(path) for path in asked if path), "")


def _texts(values: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    return ((at, value) for at, value in leaves(values) if isinstance(value, str))


def release_names(charts: Sequence[FoundChart], render: RenderAs) -> dict[str, FoundChart]:
    """Release → chart. A release has its chart's name, unless an address in some values leads to a Service of another.

    Charts name their objects after the release, so that `http://lending-catalog:9292` in the values of one chart
    shows the release's name of another. It is taken where that release really makes the Service.
    """
    made: dict[str, FoundChart] = {}
    services = {chart.path: _services_of(chart, _release_name(chart), render) for chart in charts}
    there = set().union(*services.values())
    wanted = {host for chart in charts for host in hosts(chart.values)} - there
    for chart in sorted(charts, key=lambda one: age(one.path)):
        own = _release_name(chart)
        # Only a Service that has the name of the release has another name in a release of another one.
        follows = own in services[chart.path]
        name = _suggested(chart, sorted(wanted - made.keys()), render) if follows else own
        while name in made:
            name += "-2"
        made[name] = chart
    return made


def _suggested(chart: FoundChart, names: Sequence[str], render: RenderAs) -> str:
    """The first of the names under which a release of the chart makes a Service of that name, or the chart's own."""
    own = _release_name(chart)
    for one in names:
        made = _services_of(chart, one, render)
        if one in made:
            return one
        if own in made:  # its template has the name, whatever the release is
            break
    return own


def _release_name(chart: FoundChart) -> str:
    """The chart's name, in the characters of a release's."""
    return dashed(chart.name) or "chart"


def age(path: str) -> tuple[int, int, str]:
    """Of two charts that are states of one, the path of the one that is current comes first."""
    return sum(word in REPLACED for word in re.split(r"[^a-z0-9]+", path.lower())), len(path), path


def hosts(values: Mapping[str, Any]) -> Iterator[str]:
    """Names without a dot that addresses in the values lead to: Services of the same namespace."""
    for _, value in _texts(values):
        yield from (found[1] for found in _HOST.finditer(value) if found[1] != "localhost")


def _services_of(chart: FoundChart, release: str, render: RenderAs) -> set[str]:
    try:
        return {name_of(body) for body in render(chart, release) if body.get("kind") == "Service"}
    except DeployError:
        return set()
