"""The cluster as it stood when a rollout failed, in files; best effort, piece by piece, until a moment in time."""

from __future__ import annotations

import difflib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from deployer.core.objects import identified
from deployer.core.ports import KubePort, Object, ObjectRef, kind_of
from deployer.core.reading import Malformed
from deployer.core.redact import KNOWN, MASK, SECRET_NAME
from deployer.core.yaml import block_lines, parse_manifest
from deployer.evidence.describe import EXPOSING, describe, event_lines, sorted_events
from deployer.evidence.timeline import Row, image_ids, node_data, node_lines, pod_rows
from deployer.helm import storage
from deployer.helm.storage import Applied, revisions_of, stored_revision
from deployer.kube.rights import listed
from deployer.rollout.stage import Rollout
from deployer.state.runs import RunFolder
from deployer.status import WORKLOAD_KINDS, WorkloadRef
from deployer.status.objects import container_statuses, dig, has_condition, name_of, namespace_of, number, rows, uid_of

CLUSTER, DIFF, NOTES = "cluster", "release.diff", "cluster/not-captured.txt"
_NO_LOG = "unable to retrieve container logs"  # the kubelet's answer for a container that is gone already
_LOG_LINES, _LOG_BYTES, _MOST_PODS = 200, 65536, 40
_DESCRIBED = tuple(kind for kind in WORKLOAD_KINDS if kind not in ("ReplicaSet", "Pod"))  # of those, the telling ones
_CONTEXT_LINES = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run's own files say of the cluster."""

    kubernetes: str = ""
    images: dict[str, str] | None = None
    pods: tuple[Row, ...] = ()


def begun(limit: float, work: Callable[[Callable[[], bool]], Any]) -> Callable[[], bool]:
    """The work has begun; what is returned waits for its end and says whether that came in so many seconds from now.

    Else it is left behind, and knows that it is late. It runs in a thread of its own because an API server that hangs
    can be given up in no other way. An interrupt ends the wait and nothing else: what is being captured explains a
    failure that is still to be reported.
    """
    end = time.monotonic() + limit
    given_up = threading.Event()
    done = threading.Event()

    def late() -> bool:
        return given_up.is_set() or time.monotonic() >= end

    def body() -> None:
        with suppress(Exception):  # a thread's trace on the screen would hide what is shown there
            work(late)
            done.set()

    def wait() -> bool:
        with suppress(KeyboardInterrupt):
            thread.join(max(0.0, end - time.monotonic()))
        given_up.set()
        return done.is_set()

    thread = threading.Thread(target=body, name="evidence", daemon=True)
    with suppress(KeyboardInterrupt):
        thread.start()
    return wait


def capture(folder: RunFolder, rollout: Rollout, now: float, late: Callable[[], bool]) -> Seen:
    """The files of `cluster/` and `release.diff`; what could not be had is named in a file of its own."""
    notes: list[str] = []
    steps = _steps(folder, rollout, now, late)
    seen = Seen()
    while True:
        try:
            if late():
                notes.append("the time for capturing was over")
                break
            seen = next(steps)
        except StopIteration:
            break
        except Exception as error:  # whatever is wrong with a piece, the failure itself must be reported
            notes.append(f"{type(error).__name__}: {error}")
            break
    for name, write in (("diff", write_diff), ("nodes", _nodes)):
        try:
            if not late():
                write(folder, rollout)
        except Exception as error:
            notes.append(f"{name}: {type(error).__name__}: {error}")
    if notes:
        folder.write(NOTES, "".join(f"{note}\n" for note in notes))
    return seen


def _steps(folder: RunFolder, rollout: Rollout, now: float, late: Callable[[], bool]) -> Iterator[Seen]:
    wanted = [ref for one in rollout.releases for ref in one.objects]
    found = gather(rollout.refs, wanted, rollout.kube)
    pods = found.of("Pod")
    seen = Seen(images=image_ids(pods), pods=pod_rows(pods, now))
    yield seen
    folder.write_json(f"{CLUSTER}/objects.json", list(found.objects))
    folder.write_json(f"{CLUSTER}/events.json", list(sorted_events(found.events)))
    folder.write(f"{CLUSTER}/events.txt", "\n".join(event_lines(found.events)) + "\n")
    yield seen
    for one in (*found.of(*_DESCRIBED, *EXPOSING), *_telling_first(pods)[:_MOST_PODS]):
        name = f"{str(one['kind']).lower()}.{name_of(one)}"
        folder.write(f"{CLUSTER}/describe/{name}.txt", describe(one, found.events_of(one)))
    yield seen
    for pod in _telling_first(pods)[:_MOST_PODS]:
        _logs(folder, pod, rollout.kube, late)
        yield seen
    yield Seen(rollout.kube.version(), seen.images, seen.pods)


def _telling_first(pods: Sequence[Object]) -> list[Object]:
    """Pods that are not ready before those that are: the time may not suffice for all."""
    return sorted(pods, key=lambda pod: (has_condition(pod, "Ready"), name_of(pod)))


def _logs(folder: RunFolder, pod: Object, kube: KubePort, late: Callable[[], bool]) -> None:
    namespace = namespace_of(pod)
    for status in container_statuses(pod):
        if not (dig(status, "state", "running") or dig(status, "state", "terminated") or status.get("lastState")):
            continue  # it never ran: there is no log to wait for
        for previous in (False, True):
            if (previous and not number(status, "restartCount")) or late():
                continue
            name = str(status.get("name"))
            lines = kube.logs(namespace, name_of(pod), name, previous=previous, tail=_LOG_LINES)
            text = "\n".join(lines).encode()[-_LOG_BYTES:].decode("utf-8", "ignore")
            if text and not text.startswith(_NO_LOG):
                end = ".previous.log" if previous else ".log"
                folder.write(f"{CLUSTER}/logs/{name_of(pod)}.{name}{end}", text + "\n")


def _nodes(folder: RunFolder, rollout: Rollout) -> None:
    nodes, pods = listed(rollout.kube, "Node"), listed(rollout.kube, "Pod")
    if nodes is None or pods is None:
        return
    data = node_data(nodes, pods)
    folder.write_json(f"{CLUSTER}/nodes.json", data)
    folder.write(f"{CLUSTER}/nodes.txt", "\n".join(node_lines(data)) + "\n")


def write_diff(folder: RunFolder, rollout: Rollout) -> None:
    """What this run's revisions changed of what ran before; nothing where nothing did."""
    parts = [_release_diff(one, rollout.kube) for one in rollout.releases if one.changed]
    if any(parts):
        folder.write(DIFF, "".join(parts))


def _release_diff(applied: Applied, kube: KubePort) -> str:
    made = revisions_of(applied.name, applied.namespace, kube)
    earlier = [one for one in made if one.revision < applied.revision]
    # The newest that was known to be good: compared with a failed one a fault would not be seen.
    before = next(reversed([one for one in earlier if one.verdict == "verified"] or earlier), None)
    if before is None:
        return ""
    new = _manifest(applied.name, applied.namespace, applied.revision, kube)
    old = _manifest(applied.name, applied.namespace, before.revision, kube)
    names = (f"{applied.name} revision {before.revision}", f"{applied.name} revision {applied.revision}")
    return manifest_diff(old, new, names)


def _manifest(release: str, namespace: str, revision: int, kube: KubePort) -> str:
    secret = stored_revision(release, namespace, revision, kube)
    with suppress(storage.Damaged):
        return storage.manifest_of(secret) if secret is not None else ""
    return ""


def manifest_diff(before: str, after: str, names: tuple[str, str]) -> str:
    """The objects that differ, as YAML in the unified form, secret values masked; empty where none does."""
    old, new = _by_name(before), _by_name(after)
    parts: list[str] = []
    for key in sorted({*old, *new}):
        lines = difflib.unified_diff(
            _lines(old.get(key)), _lines(new.get(key), old.get(key)),
            f"{names[0]}: {key}" if key in old else "/dev/null",
            f"{names[1]}: {key}" if key in new else "/dev/null",
            n=_CONTEXT_LINES, lineterm="",
        )  # fmt: skip
        parts += lines
    return "".join(f"{line}\n" for line in parts)


def _by_name(manifest: str) -> dict[str, Object]:
    found: dict[str, Object] = {}
    documents: list[Object] = []
    with suppress(Malformed):  # a damaged revision has no objects to compare
        documents = [identified(one) for one in parse_manifest(manifest)]
    for one in documents:
        metadata = one.get("metadata") or {}
        where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        found[f"{where}{str(one.get('kind', '?')).lower()}/{metadata.get('name', '?')}"] = one
    return found


def _lines(one: Object | None, before: Object | None = None) -> list[str]:
    if one is None:
        return []
    shown = masked(one)
    for name in ("data", "stringData"):
        data, was = one.get(name), (before or {}).get(name)
        if isinstance(data, dict) and isinstance(was, dict):  # a masked value that differs is still a difference
            shown[name] = {
                key: f"{MASK} (changed)" if said == MASK and key in was and was[key] != data[key] else said
                for key, said in shown[name].items()
            }
    return [line for _, line in block_lines(shown)]


def look_at_pods(rollout: Rollout, now: float) -> Seen:
    """What a rollout that went well leaves: its pods' times and the ids of their images."""
    found = gather(rollout.refs, (), rollout.kube)
    pods = [masked(pod) for pod in found.of("Pod")]
    return Seen(rollout.kube.version(), image_ids(pods), pod_rows(pods, now))


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
    every = [one for kind, namespace in sorted(asked) for one in kube.list(kind, namespace)]
    chosen = [one for one in every if _key(one) in named]
    uids = {uid_of(one) for one in chosen}
    for kind in _OWNED:  # in this order an owner comes before what it owns
        more = [one for one in every if one.get("kind") == kind and _key(one) not in named and _owned(one, uids)]
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
        for one in every
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
