"""Fields that Kubernetes does not let change: found before an upgrade of Helm fails on them.

The fields are those of the API's own validation (kubernetes pkg/apis/*/validation: ValidateImmutableField and the
StatefulSet's and claim's "forbidden" rules). What a chart leaves to a default is not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.ports import KINDS, KubePort, Object, ObjectRef, ref_of
from deployer.preflight.rules.capacity import quantity

FIELDS: Mapping[str, tuple[str, ...]] = {
    "DaemonSet": ("spec.selector",),
    "Deployment": ("spec.selector",),
    "Job": ("spec.selector", "spec.completions", "spec.completionMode", "spec.template.spec"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName", "spec.volumeMode", "spec.volumeName"),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"),
    "StorageClass": ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
}
_FROZEN = ("ConfigMap", "Secret")
"""Immutable only where the object says so of itself."""

_ORPHANS = "--cascade=orphan"
_RECREATE: Mapping[str, str] = {
    "StatefulSet": f"kubectl -n {{namespace}} delete statefulset {{name}} {_ORPHANS}, then: todo-deploy up "
    "(its pods and volumes stay)",
    "PersistentVolumeClaim": "copy its data first: a claim made anew is empty",
}
_RECREATE_DEFAULT = "kubectl -n {namespace} delete {kind} {name}, then: todo-deploy up (it is gone for that moment)"


@dataclass(frozen=True, slots=True)
class Change:
    """A field that cannot change in place, with the values that it has and that it would get."""

    path: str
    now: Any
    wanted: Any


def changes(wanted: Object, now: Object) -> tuple[Change, ...]:
    """The fields of the object that Kubernetes would refuse to change."""
    kind = str(wanted.get("kind"))
    fields = ("data", "stringData") if kind in _FROZEN and now.get("immutable") else FIELDS.get(kind, ())
    found = []
    for path in fields:
        asked, has = _at(wanted, path), _at(now, path)
        if asked is not None and not _agrees(asked, has):
            found += [Change(*one) for one in _differing(asked, has, path)][:1]
    return tuple(found)


def refuse(objects: Iterable[tuple[str, Object]], ours: Collection[ObjectRef], kube: KubePort) -> None:
    """Returns when no object that is there already (`objects` with their releases' namespaces) would be refused.

    Refused otherwise with each field and the way to recreate the object; hooks are recreated by helm itself.
    """
    problems = []
    for namespace, body in objects:
        ref = ref_of(body, namespace)
        hook = "helm.sh/hook" in (body["metadata"].get("annotations") or {})
        if hook or ref not in ours or ref.kind not in KINDS or not (ref.kind in FIELDS or ref.kind in _FROZEN):
            continue
        now = kube.get(ref.kind, ref.namespace, ref.name)
        problems += [_problem(ref, one) for one in (changes(body, now) if now is not None else ())]
    if problems:
        raise DeployError(problems, ExitCode.REFUSED)


def _problem(ref: ObjectRef, change: Change) -> Problem:
    kind = ref.kind.lower()
    secret = ref.kind == "Secret"
    detail = "" if secret else f"it is {_short(change.now)} and would become {_short(change.wanted)}"
    way = _RECREATE.get(ref.kind, _RECREATE_DEFAULT).format(namespace=ref.namespace, kind=kind, name=ref.name)
    title = f"{kind}/{ref.name}: Kubernetes does not let `{change.path}` change"
    return Problem("FIELD_IMMUTABLE", title, detail, where=f"{kind}/{ref.name}", hints=(way,))


def _agrees(asked: Any, has: Any) -> bool:
    """Whether what is asked for is there; what only the server filled in does not count."""
    if isinstance(asked, Mapping):
        return isinstance(has, Mapping) and all(_agrees(value, has.get(key)) for key, value in asked.items())
    if isinstance(asked, list):
        same = isinstance(has, list) and len(asked) == len(has)
        return same and all(_agrees(one, other) for one, other in zip(asked, has, strict=True))
    return asked in (None, "", has) or (isinstance(asked, str | int) and _same_amount(asked, has))


def _same_amount(asked: Any, has: Any) -> bool:
    try:
        return quantity(asked) == quantity(has)
    except ValueError:
        return False


def _differing(asked: Any, has: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost paths at which the two differ, with what is there and what is asked for."""
    if isinstance(asked, Mapping) and isinstance(has, Mapping):
        pairs = [(f"{path}.{key}", value, has.get(key)) for key, value in asked.items()]
    elif isinstance(asked, list) and isinstance(has, list) and len(asked) == len(has):
        pairs = [(f"{path}[{at}]", one, other) for at, (one, other) in enumerate(zip(asked, has, strict=True))]
    else:
        yield path, has, asked
        return
    for place, one, other in pairs:
        if not _agrees(one, other):
            yield from _differing(one, other, place)


def _at(obj: Any, path: str) -> Any:
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"
