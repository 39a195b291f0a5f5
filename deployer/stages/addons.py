"""The addons stage: every addon that the spec asks for is in the cluster and ready.

Addons belong to the cluster, not to the application: they stay until the cluster is deleted. A ConfigMap for each
remembers what was applied, so that a cluster which has them costs a few reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from deployer.cluster.addons import table
from deployer.core.errors import DeployError, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.ports import LABEL_PREFIX, OWNER, KubePort, Object, ObjectRef, ref_of
from deployer.core.steps import Clock, Outcome, Steps, merge

STAGE = table.STAGE
MARKERS = "kube-system"

_READY_SECONDS = 180.0
_SERVED_SECONDS = 15.0
# Above it a cause is looked for, again and again: pods of an addon are ready within a few seconds.
_ORDINARY_SECONDS = 10.0
_TICK_SECONDS = 0.5

WATCHED = ("APIService", "DaemonSet", "Deployment")
"""Kinds that may stop being ready after they once were."""

Waves = tuple[tuple[Object, ...], ...]


@dataclass(frozen=True, slots=True)
class WantedAddon:
    """An addon as it is to be: `inputs` decides whether it was applied, `make` prepares it and returns its objects.

    Each wave of objects is applied when the one before is ready; `watched` must be ready in the end.
    """

    name: str
    text: str
    inputs: str
    watched: tuple[ObjectRef, ...]
    make: Callable[[], Steps[Waves]]


@dataclass(frozen=True, slots=True)
class AddonState:
    """Whether an addon is ready, what it lacks, and whether the cluster has it at all."""

    name: str
    ready: bool
    text: str
    present: bool = True


def ensure_addons(
    wanted: Sequence[WantedAddon],
    kube: KubePort,
    clock: Clock,
    supply: Callable[[Sequence[str]], Steps[None]],
    explain: Callable[[ObjectRef], str],
) -> Steps[Outcome[tuple[AddonState, ...]]]:
    """Every addon is applied and ready; machine error with what `explain` knows of the one that is not.

    `supply` sees to the images of those that are new, changed or not ready, before any of them is applied.
    """
    unready = [one.name for one in wanted if not look(one, kube).ready]
    new = [one.name for one in wanted if _applied(one, kube) != one.inputs or _is_damaged(one, kube)]
    if unready:
        yield from supply(unready)
    done = yield from merge({one.name: partial(_ensure, one, one.name in new, kube, clock, explain) for one in wanted})
    text = ", ".join(new) if new else f"{len(wanted)} unchanged"
    return Outcome(tuple(done[one.name] for one in wanted), bool(new), text)


def look(wanted: WantedAddon, kube: KubePort) -> AddonState:
    """The addon as the cluster has it; nothing is changed."""
    applied = _applied(wanted, kube)
    if applied is None:
        return AddonState(wanted.name, False, "not in the cluster yet", present=False)
    if applied != wanted.inputs:
        return AddonState(wanted.name, False, "not up to date")
    for ref in wanted.watched:
        lack = lacking(kube.get(ref.kind, ref.namespace, ref.name))
        if lack:
            return AddonState(wanted.name, False, f"{ref.kind} {ref.name}: {lack}")
    return AddonState(wanted.name, True, wanted.text)


def _ensure(
    wanted: WantedAddon, new: bool, kube: KubePort, clock: Clock, explain: Callable[[ObjectRef], str]
) -> Steps[AddonState]:
    if new:
        yield Item(STAGE, wanted.name, ItemState.RUNNING, "preparing")
        for wave in (yield from wanted.make()):
            for body in wave:
                _apply(body, kube, clock)
            yield from _await(wanted.name, [ref_of(body) for body in wave], kube, clock, explain)
    yield from _await(wanted.name, wanted.watched, kube, clock, explain)
    if new:
        kube.apply(_marker(wanted))
    yield Item(STAGE, wanted.name, ItemState.DONE if new else ItemState.UNCHANGED, wanted.text)
    return AddonState(wanted.name, True, wanted.text)


def _apply(body: Object, kube: KubePort, clock: Clock) -> None:
    """The object is as given; a kind that was just defined may take the API server a moment to serve."""
    deadline = clock.monotonic() + _SERVED_SECONDS
    while True:
        try:
            kube.apply(body)
            return
        except DeployError as error:
            if error.problems[0].code != "API_NOTFOUND" or clock.monotonic() > deadline:
                raise
        clock.sleep(_TICK_SECONDS)


def _await(
    name: str, refs: Sequence[ObjectRef], kube: KubePort, clock: Clock, explain: Callable[[ObjectRef], str]
) -> Steps[None]:
    begun = clock.monotonic()
    shown = ""
    for ref in refs:
        ask_at = begun + _ORDINARY_SECONDS
        while lack := lacking(kube.get(ref.kind, ref.namespace, ref.name)):
            now = clock.monotonic()
            text, late = f"{ref.kind} {ref.name}: {lack}", now - begun > _READY_SECONDS
            if now >= ask_at or late:
                ask_at = now + _ORDINARY_SECONDS
                text = "\n".join(filter(None, (text, explain(ref))))
                if "\n" in text and text != shown:
                    yield Item(STAGE, name, ItemState.RUNNING, text.replace("\n", "; "))
                    shown = text
            elif not shown:
                yield Item(STAGE, name, ItemState.RUNNING, text)
                shown = text
            if late:
                raise machine_error(
                    "ADDON_NOT_READY",
                    f"the addon {name} is not ready after {_READY_SECONDS:g} s",
                    detail=text,
                    hints=("todo-deploy up", "todo-deploy doctor"),
                )
            clock.sleep(_TICK_SECONDS)
        shown = ""


def lacking(body: Object | None) -> str:
    """What an object still lacks to be ready; "" where it is, or where its kind is ready once it is there."""
    if body is None:
        return "not there"
    status, spec, kind = body.get("status") or {}, body.get("spec") or {}, body["kind"]
    if kind in ("Deployment", "DaemonSet") and status.get("observedGeneration", 0) < body["metadata"].get(
        "generation", 0
    ):
        return "not seen by its controller yet"
    if kind == "Deployment":
        wanted = spec.get("replicas", 1)
        return _pods(wanted, min(status.get("availableReplicas") or 0, status.get("updatedReplicas") or 0))
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled") or 0
        if not wanted:
            return "scheduled on no node"
        return _pods(wanted, min(status.get("numberAvailable") or 0, status.get("updatedNumberScheduled") or 0))
    wanted_condition = {"CustomResourceDefinition": "Established", "APIService": "Available"}.get(kind)
    if wanted_condition is None:
        return ""
    found: Object = next((one for one in status.get("conditions") or () if one.get("type") == wanted_condition), {})
    if found.get("status") == "True":
        return ""
    return str(found.get("message") or f"not {wanted_condition} yet")


def _pods(wanted: int, available: int) -> str:
    return "" if available >= wanted else f"{available} of {wanted} pods available"


def _applied(wanted: WantedAddon, kube: KubePort) -> str | None:
    """The inputs that the cluster remembers of this addon, or None where it does not have it."""
    marker = kube.get("ConfigMap", MARKERS, _marker_name(wanted.name))
    return None if marker is None else str((marker.get("data") or {}).get("inputs", ""))


def _is_damaged(wanted: WantedAddon, kube: KubePort) -> bool:
    """Whether something of the addon is gone; what is there and not ready is its controller's matter."""
    return any(kube.get(ref.kind, ref.namespace, ref.name) is None for ref in wanted.watched)


def _marker(wanted: WantedAddon) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": _marker_name(wanted.name),
            "namespace": MARKERS,
            "labels": {f"{LABEL_PREFIX}/addon": wanted.name},
        },
        "data": {"inputs": wanted.inputs, "text": wanted.text},
    }


def _marker_name(addon: str) -> str:
    return f"{OWNER}.addon.{addon}"
