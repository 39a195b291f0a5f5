"""What of the cluster belongs to a run, fit for a file: no Secret's data, no value under a secret-looking name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.core.ports import KubePort, Object, ObjectRef, kind_of
from deployer.core.redact import KNOWN, MASK, SECRET_NAME
from deployer.status import WorkloadRef
from deployer.status.objects import dig, name_of, namespace_of, rows, uid_of

_URL_PASSWORD = re.compile(r"(://[^/\s:@\"']*:)[^@\s/\"']+@")
_LONGEST_TEXT = 16384
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def masked(obj: Object) -> Object:
    """The object without what nobody may read and what nobody wants to read."""
    made: Object = _masked(KNOWN.data(obj))
    metadata = {key: value for key, value in (made.get("metadata") or {}).items() if key != "managedFields"}
    if isinstance(metadata.get("annotations"), dict):
        metadata["annotations"] = {key: one for key, one in metadata["annotations"].items() if key != _APPLIED}
    made = {**made, "metadata": metadata}
    for name in ("data", "stringData", "binaryData"):
        data = made.get(name)
        if isinstance(data, dict):
            everything = made.get("kind") == "Secret" or name == "binaryData"
            made[name] = {key: MASK if everything or SECRET_NAME.search(key) else one for key, one in data.items()}
    return made


def without_password(text: str) -> str:
    """The text with the password of each URL in it masked, and cut where it is endless."""
    text = _URL_PASSWORD.sub(rf"\1{MASK}@", text) if "://" in text else text
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, list):
        return [_masked(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _masked(one) for key, one in value.items()}
    name = made.get("name")
    if isinstance(name, str) and isinstance(made.get("value"), str) and SECRET_NAME.search(name):
        made["value"] = MASK if made["value"] else ""
    return made


# Secrets are never read for the record, and a Lease says nothing of a rollout.
_OWNED = ("ReplicaSet", "Job", "Pod", "EndpointSlice")
_NEVER = frozenset({"Secret", "Lease", "Event", "Node", "Namespace"})


@dataclass(frozen=True, slots=True)
class Gathered:
    """Masked objects, and the events about them."""

    objects: tuple[Object, ...]
    events: tuple[Object, ...]

    def of(self, *kinds: str) -> tuple[Object, ...]:
        """The objects of these kinds, by name."""
        return tuple(sorted((one for one in self.objects if one.get("kind") in kinds), key=name_of))

    def events_of(self, obj: Object) -> tuple[Object, ...]:
        """The events about one object."""
        return tuple(event for event in self.events if _about(event) == uid_of(obj))


def gather(refs: Sequence[WorkloadRef], wanted: Iterable[ObjectRef], kube: KubePort) -> Gathered:
    """One LIST per kind and namespace; nothing of other applications in the same namespace."""
    named = {(one.kind, one.namespace, one.name) for one in wanted if one.kind not in _NEVER}
    named |= {(ref.kind, ref.namespace, ref.name) for ref in refs}
    namespaces = sorted({namespace for _, namespace, _ in named if namespace})
    asked = {(kind, namespace) for kind, namespace, _ in named}
    asked |= {(kind, namespace) for kind in (*_OWNED, "PersistentVolumeClaim") for namespace in namespaces}
    listed = [one for kind, namespace in sorted(asked) for one in kube.list(kind, namespace)]
    chosen = [one for one in listed if _key(one) in named]
    uids = {uid_of(one) for one in chosen}
    for kind in _OWNED:  # in this order an owner comes before what it owns
        more = [one for one in listed if one.get("kind") == kind and _key(one) not in named and _owned(one, uids)]
        chosen += more
        uids |= {uid_of(one) for one in more}
    claims = {
        (namespace_of(pod), dig(volume, "persistentVolumeClaim", "claimName"))
        for pod in chosen
        if pod.get("kind") == "Pod"
        for volume in rows(pod, "spec", "volumes")
    }
    chosen += [
        one
        for one in listed
        if one.get("kind") == "PersistentVolumeClaim"
        and _key(one) not in named
        and (namespace_of(one), name_of(one)) in claims
    ]
    known = {uid_of(one) for one in chosen}
    places = {(str(one.get("kind")), name_of(one)) for one in chosen}
    events = [one for namespace in namespaces for one in kube.list("Event", namespace)]
    ours = (event for event in events if _about(event) in known or _place(event) in places)
    return Gathered(tuple(masked(one) for one in chosen), tuple(masked(one) for one in ours))


def _key(one: Object) -> tuple[str, str, str]:
    return kind_of(one), namespace_of(one), name_of(one)


def _owned(one: Object, uids: set[str]) -> bool:
    return any(owner.get("uid") in uids for owner in rows(one, "metadata", "ownerReferences"))


def _about(event: Object) -> str:
    return str(dig(event, "involvedObject", "uid") or dig(event, "regarding", "uid") or "?")


def _place(event: Object) -> tuple[str, str]:
    """Pods that are gone belong to the story of their owner, too: they are known by kind and name only."""
    who = dig(event, "involvedObject") or dig(event, "regarding") or {}
    return str(who.get("kind")), str(who.get("name"))
