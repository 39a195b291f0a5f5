"""The nouns of diagnosis: a finding, what it is made from, and what it becomes on screen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deployer.core.errors import Problem
from deployer.core.events import Warned
from deployer.core.text import clean_text, one_line
from deployer.diagnosis.causes import CAUSES
from deployer.status import Object, Snapshot, WorkloadRef
from deployer.status.objects import dig, epoch, event_time, name_of

EVIDENCE_LINES = 10
Logs = Mapping[tuple[str, str, bool], str]
"""(pod, container, previous) → the tail of that container's log."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The most memory (bytes, without what can be given back) that a container was seen to use, and when."""

    most: int
    at: float


@dataclass(frozen=True, slots=True)
class Known:
    """What was looked up besides the snapshot: names that exist, where images are, the memory that was in use.

    `images_seen`: both daemons were asked, so that an image that is in neither is nowhere. `memory` is by pod and
    container. `growable`: nodes may be added. `killed`: pods and containers that were seen killed for memory, of which
    the runtime does not say so each time. `away_until`: when the cluster answered again after it had not for long.
    `settled`: workloads that are done, beside which the others are judged. `repositories`: those of the spec's images,
    by their names in it. `needed`: the Services that a URL or CORS check of the spec leads to, by namespace and name,
    and the hosts that it asks an Ingress for, as ("", host). `makers`: whether a release has custom resources, or gives
    its pods rights: a controller may then make what other pods need.
    """

    secrets: Mapping[str, Iterable[str]] = field(default_factory=dict)
    config_maps: Mapping[str, Iterable[str]] = field(default_factory=dict)
    node_images: tuple[str, ...] = ()
    host_images: tuple[str, ...] = ()
    images_seen: bool = False
    memory: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    measured_at: float | None = None
    growable: bool = False
    killed: frozenset[tuple[str, str]] = frozenset()
    away_until: float = 0.0
    settled: frozenset[WorkloadRef] = frozenset()
    needed: frozenset[tuple[str, str]] = frozenset()
    repositories: Mapping[str, str] = field(default_factory=dict)
    makers: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with a workload (or with the cluster, where `workload` is None).

    `since` is when Kubernetes showed it, `first` when it did so first in this run, if that was earlier.
    `observations` is what Kubernetes counted (restarts, kills), of
    which all but the last are older than the run where `predates`. `signature` is equal for two crashes alike.
    `ignored` says why it may still be an ordinary moment: then it is a note on screen and never fails the run.
    """

    code: str
    title: str
    detail: str = ""
    workload: WorkloadRef | None = None
    pod: str = ""
    container: str = ""
    since: float | None = None
    first: float | None = None
    evidence: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    observations: int = 1
    signature: str = ""
    predates: bool = False
    ignored: str = ""


@dataclass(frozen=True, slots=True, order=True)
class LogRequest:
    """A container's log that diagnosis wants the end of."""

    namespace: str
    pod: str
    container: str
    previous: bool

    @property
    def key(self) -> tuple[str, str, bool]:
        """Its place among `Logs`."""
        return self.pod, self.container, self.previous


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything one diagnosis looks at; events older than the run are already left out."""

    snapshot: Snapshot
    refs: tuple[WorkloadRef, ...]
    logs: Logs
    now: float
    since: float
    known: Known
    events: Mapping[str, tuple[Object, ...]]

    def events_of(self, obj: Object, *reasons: str) -> tuple[Object, ...]:
        """The object's events of these reasons, oldest first."""
        found = self.events.get(str(dig(obj, "metadata", "uid")), ())
        return tuple(event for event in found if event.get("reason") in reasons)


def named(code: str, words: Mapping[str, str], *hints: str, workload: WorkloadRef | None = None) -> Finding:
    """A finding of that code whose title and hints are filled in from the table of causes, own hints first."""
    cause = CAUSES[code]
    said = _Words({key: one_line(value, 200) for key, value in words.items()})
    title = one_line(cause.title.format_map(said), 300)
    advice = (*hints, *(hint.format_map(said).rstrip() for hint in cause.hints))
    pod, container = words.get("pod", ""), words.get("container", "")
    return Finding(code, title, workload=workload, pod=pod, container=container, hints=advice)


class _Words(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def last_lines(text: str, count: int = EVIDENCE_LINES) -> tuple[str, ...]:
    """The last lines that say something, cleaned."""
    lines = [one_line(line) for line in clean_text(text).splitlines() if line.strip()]
    return tuple(lines[-count:])


def near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """A hint naming the known name nearest to `name`, or nothing."""
    found = difflib.get_close_matches(name, sorted(set(names) - {name}), n=1, cutoff=0.6)
    return tuple(f"`{one}` exists: did you mean it?" for one in found)


def first_time(events: Iterable[Object]) -> float | None:
    """When the first of these events first happened."""
    times = (
        epoch(event.get("firstTimestamp")) or epoch(event.get("eventTime")) or event_time(event) for event in events
    )
    return min((at for at in times if at is not None), default=None)


def problem(found: Finding) -> Problem:
    """The finding as the problem that a person is shown."""
    where = "/".join(filter(None, (str(found.workload or ""), found.pod, found.container)))
    detail = "\n".join(dict.fromkeys(filter(None, (found.detail, *found.evidence))))
    return Problem(found.code, found.title, detail, where, found.hints)


def warned(found: Finding, *, further: bool = False) -> Warned:
    """The event that reports the finding."""
    return Warned(problem(found), further, found.since if found.first is None else found.first)


def pod_words(ref: WorkloadRef, pod: Object, container: str = "", **more: str) -> dict[str, str]:
    """The words that every title and hint about a pod may use."""
    words = {"workload": str(ref), "namespace": ref.namespace, "pod": name_of(pod), "container": container}
    return {**words, "previous": "", **more}
