"""Objects and events in words, as `kubectl describe` and `kubectl get events` have them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deployer.core.text import one_line, table_lines
from deployer.diagnosis import exit_meaning
from deployer.diagnosis.finding import first_time
from deployer.status import Object, pod_phase
from deployer.status.objects import (
    container_statuses,
    dig,
    event_time,
    name_of,
    number,
    pod_template,
    probe_request,
    rows,
)

EXPOSING = ("Service", "Ingress", "EndpointSlice")
_HEAD = ("SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")


def sorted_events(events: Iterable[Object]) -> tuple[Object, ...]:
    """The events by the time at which they last happened."""
    return tuple(sorted(events, key=lambda event: (event_time(event) or 0.0, first_time([event]) or 0.0)))


def event_lines(events: Sequence[Object], *, about: bool = True) -> list[str]:
    """One aligned line an event, with its count; `about` names the object."""
    rows = [_HEAD, *(_row(event) for event in sorted_events(events))]
    if len(rows) == 1:
        return ["no events"]
    return table_lines([row if about else (*row[:3], row[4]) for row in rows])


def clock_time(stamp: object) -> str:
    """The time of day of a Kubernetes timestamp, in UTC as it is written."""
    text = str(stamp or "")
    return text[11:19] if len(text) >= 19 else "?"


def _row(event: Object) -> tuple[str, ...]:
    stamp = (
        dig(event, "series", "lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or dig(event, "metadata", "creationTimestamp")
    )
    count = max(number(event, "count", default=1), number(event, "series", "count", default=1))
    first = event.get("firstTimestamp")
    again = f" (x{count} since {clock_time(first)})" if count > 1 and first else f" (x{count})" if count > 1 else ""
    who = dig(event, "involvedObject") or dig(event, "regarding") or {}
    name = f"{str(who.get('kind', '?')).lower()}/{who.get('name', '?')}"
    return (
        clock_time(stamp),
        str(event.get("type") or "?"),
        str(event.get("reason") or "?"),
        name,
        one_line(event.get("message") or event.get("note") or "", 1000) + again,
    )


_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas")
_SOURCES = {
    "configMapKeyRef": "config map",
    "secretKeyRef": "secret",
    "fieldRef": "field",
    "resourceFieldRef": "resource",
}
_VOLUMES = {
    "configMap": ("config map", "name"), "secret": ("secret", "secretName"), "hostPath": ("path of the node", "path"),
    "persistentVolumeClaim": ("claim", "claimName"), "emptyDir": ("empty folder", "sizeLimit"),
}  # fmt: skip


def describe(obj: Object, events: Sequence[Object]) -> str:
    """A workload, a pod or what leads to one, already masked, with its own events."""
    lines = [*_head(obj)]
    if obj.get("kind") == "Pod":
        lines += _pod(obj)
    elif obj.get("kind") in EXPOSING:
        lines += _exposing(obj)
    else:
        lines += _workload(obj)
    lines += ["Events:", *(f"  {line}" for line in event_lines(events, about=False))]
    return "\n".join(lines) + "\n"


def _head(obj: Object) -> Iterator[str]:
    yield f"{str(obj.get('kind', '?')).lower()}/{name_of(obj)}"
    yield from _field("namespace", dig(obj, "metadata", "namespace"))
    yield from _field("created", dig(obj, "metadata", "creationTimestamp"))
    yield from _field("deleted", dig(obj, "metadata", "deletionTimestamp"))
    owners = rows(obj, "metadata", "ownerReferences")
    yield from _field("owner", ", ".join(f"{str(one.get('kind')).lower()}/{one.get('name')}" for one in owners))
    yield from _field("labels", _pairs(dig(obj, "metadata", "labels")))
    yield from _field("annotations", _pairs(dig(obj, "metadata", "annotations")))


def _workload(obj: Object) -> Iterator[str]:
    spec, status = dig(obj, "spec") or {}, dig(obj, "status") or {}
    counts = [f"{one} {status[one]}" for one in _COUNTS if status.get(one) is not None]
    yield from _field("wanted", spec.get("replicas"))
    yield from _field("has", ", ".join(counts) or "nothing yet")
    for name in ("active", "succeeded", "failed"):
        yield from _field(name, status.get(name))
    yield from _field("selector", _pairs(dig(spec, "selector", "matchLabels")))
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    yield from _field("strategy", " ".join([str(strategy.get("type") or ""), _pairs(rolling)]).strip())
    yield from _field("generation", f"{dig(obj, 'metadata', 'generation')}, seen {status.get('observedGeneration')}")
    yield from _conditions(obj)
    yield from _containers(pod_template(obj), {})


def _exposing(obj: Object) -> Iterator[str]:
    parts = {**(obj.get("spec") or {}), **obj}
    for name in ("type", "ingressClassName", "selector", "ports", "rules", "endpoints"):
        value = parts.get(name)
        for one in value if isinstance(value, list) else [value]:
            yield from _field(name, _pairs(one) if isinstance(one, dict) else one)


def _pod(pod: Object) -> Iterator[str]:
    yield from _field("state", pod_phase(pod).value)
    reason, message = dig(pod, "status", "reason"), dig(pod, "status", "message")
    yield from _field("because", ": ".join(str(one) for one in (reason, message) if one))
    yield from _field("node", dig(pod, "spec", "nodeName") or "none yet")
    yield from _field("address", dig(pod, "status", "podIP"))
    yield from _field("service account", dig(pod, "spec", "serviceAccountName"))
    yield from _field("qos", dig(pod, "status", "qosClass"))
    yield from _field("node selector", _pairs(dig(pod, "spec", "nodeSelector")))
    yield from _field("runs as", _pairs(dig(pod, "spec", "securityContext")))
    yield from _conditions(pod)
    statuses = container_statuses(pod)
    yield from _containers(pod, {str(one.get("name")): one for one in statuses})
    volumes = rows(pod, "spec", "volumes")
    if volumes:
        yield "Volumes:"
        yield from (f"  {one.get('name')}: {_volume(one)}" for one in volumes)


def _conditions(obj: Object) -> Iterator[str]:
    conditions = rows(obj, "status", "conditions")
    if conditions:
        yield "Conditions:"
    for row in conditions:
        why = ": ".join(str(row[key]) for key in ("reason", "message") if row.get(key))
        since = clock_time(row.get("lastTransitionTime"))
        yield f"  {row.get('type')!s:<26} {row.get('status')!s:<8} since {since}  {one_line(why, 600)}".rstrip()


def _containers(holder: Object, statuses: Mapping[str, Object]) -> Iterator[str]:
    for title, field in (("Init containers:", "initContainers"), ("Containers:", "containers")):
        specs = rows(holder, "spec", field)
        if specs:
            yield title
        for spec in specs:
            yield f"  {spec.get('name')}"
            yield from (f"    {line}" for line in _container(spec, statuses.get(str(spec.get("name")))))


def _container(spec: Object, status: Object | None) -> Iterator[str]:
    if status is not None:
        yield from _states(status)
    yield from _plain("image", f"{spec.get('image')} (pull policy {spec.get('imagePullPolicy') or 'default'})")
    yield from _plain("image id", dig(status, "imageID"))
    for name in ("command", "args"):
        yield from _plain(name, shlex.join(str(one) for one in spec.get(name) or ()))
    ports = [f"{one.get('containerPort')}/{one.get('protocol', 'TCP')}" for one in rows(spec, "ports")]
    yield from _plain("ports", ", ".join(ports))
    for name in ("requests", "limits"):
        yield from _plain(name, _pairs(dig(spec, "resources", name)))
    for name in ("startup", "liveness", "readiness"):
        probe = dig(spec, f"{name}Probe")
        yield from _plain(f"{name} probe", _probe(probe) if probe else None)
    yield from _plain("security", _pairs(spec.get("securityContext")))
    for one in rows(spec, "envFrom"):
        source = next((f"{_SOURCES.get(key[:-3] + 'KeyRef', key)} {dig(one, key, 'name')}" for key in one), "?")
        yield from _plain("env from", source)
    yield from _plain("env", ", ".join(_variable(one) for one in rows(spec, "env")))
    for one in rows(spec, "volumeMounts"):
        only = ", read only" if one.get("readOnly") else ""
        yield from _plain("mount", f"{one.get('mountPath')} from {one.get('name')}{only}")


def _states(status: Object) -> Iterator[str]:
    yield f"state: {state_words(dig(status, 'state'))}"
    if dig(status, "lastState"):
        yield f"before: {state_words(dig(status, 'lastState'))}"
    ready = "yes" if status.get("ready") is True else "no"
    yield f"ready: {ready}, started: {status.get('started')}, restarts: {number(status, 'restartCount')}"


def state_words(state: Object | None) -> str:
    """A container's state in one line."""
    for kind, value in (state or {}).items():
        if not isinstance(value, dict):
            continue
        if kind == "running":
            return f"running since {clock_time(value.get('startedAt'))}"
        why = ": ".join(one_line(value[key], 600) for key in ("reason", "message") if value.get(key))
        if kind == "terminated":
            code = number(value, "exitCode")
            times = f"{clock_time(value.get('startedAt'))} to {clock_time(value.get('finishedAt'))}"
            return f"ended, {exit_meaning(code)}, {times}" + (f", {why}" if why else "")
        return f"{kind}, {why}" if why else kind
    return "unknown"


def _probe(probe: Object) -> str:
    """What a probe asks, and how often."""
    every, wait = number(probe, "periodSeconds", default=10), number(probe, "timeoutSeconds", default=1)
    delay, bad = number(probe, "initialDelaySeconds"), number(probe, "failureThreshold", default=3)
    return f"{probe_request(probe) or '?'}, every {every} s after {delay} s, answer within {wait} s, {bad} failures"


def _variable(one: Object) -> str:
    name, source = one.get("name"), dig(one, "valueFrom")
    for key, what in _SOURCES.items():
        if found := dig(source, key):
            where = found.get("key") or found.get("fieldPath") or found.get("resource")
            return f"{name} from {what} {found.get('name', '')}".rstrip() + f" {where}"
    return f"{name}={one_line(one.get('value') or '', 200)}"


def _volume(one: Object) -> str:
    for key, (what, name) in _VOLUMES.items():
        if key in one:
            return f"{what} {dig(one, key, name) or ''}".rstrip()
    return ", ".join(str(key) for key in one if key != "name")


def _pairs(values: Any) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in (values or {}).items())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace('"', "")
    return one_line(text, 200)


def _field(name: str, value: Any) -> Iterable[str]:
    return [f"  {name}: {value}"] if value not in (None, "", "none") else []


def _plain(name: str, value: Any) -> Iterable[str]:
    return [f"{name}: {value}"] if value not in (None, "") else []
