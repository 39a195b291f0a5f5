"""What a chart's pods need and what of it can be reached: Secrets that nothing makes, and Services."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployer.core.ports import Object
from deployer.init.model import Exposed, SecretNeed
from deployer.init.naming import dashed
from deployer.init.slots import Path, dotted, leaves, nested
from deployer.plan import ReleasePlan
from deployer.preflight.rules.model import Workload, is_test, name_of, workload_of

_SECRET_NAME = re.compile(r"existing_?secret|secret_?name|secretref", re.IGNORECASE)
_SERVICE_TYPE = re.compile(r"(^|\.)\w*service\w*\.type$|serviceType$", re.IGNORECASE)
_OUTSIDE = ("NodePort", "LoadBalancer")
_MARK = "draft-secret-"


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
        for name, key, required in _of(work) if work is not None else ():
            found.setdefault(name, []).append((key, required))
    return found


def _of(work: Workload) -> Iterator[tuple[str, str, bool]]:
    for container in work.containers(init=True):
        for one in container.get("env") or ():
            ref = (one.get("valueFrom") or {}).get("secretKeyRef")
            if ref:
                yield str(ref.get("name")), str(ref.get("key")), not ref.get("optional")
        for one in container.get("envFrom") or ():
            if ref := one.get("secretRef"):
                yield str(ref.get("name")), "", not ref.get("optional")
    for volume in work.pod.get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            ref = source.get("secret") or {}
            name = str(ref.get("secretName") or ref.get("name") or "")
            if name:
                keys = [str(item.get("key")) for item in ref.get("items") or ()] or [""]
                yield from ((name, key, not ref.get("optional")) for key in keys)


def _keys(found: Sequence[tuple[str, bool]]) -> dict[str, bool]:
    keys: dict[str, bool] = {}
    for key, required in found:
        if key:
            keys[key] = keys.get(key, False) or required
    return keys


def _whole(found: Sequence[tuple[str, bool]]) -> bool:
    return any(not key for key, _ in found)


def _own_name(keys: Sequence[tuple[str, bool]], plain: Mapping[str, Any], path: Path) -> str:
    """What the Secret is called without the mark; where that cannot be told, after the value that names it."""
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
