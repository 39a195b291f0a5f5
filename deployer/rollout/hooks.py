"""Helm's hooks: while helm waits for them they are watched and diagnosed like workloads, and their logs are kept.

Helm waits for hooks even without `--wait`, prints nothing meanwhile, and a delete policy takes a hook's Job
with its log the moment it has ended (https://helm.sh/docs/topics/charts_hooks/).
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Log
from deployer.core.ports import KubePort, ObjectRef
from deployer.core.steps import Clock, Steps, merge
from deployer.core.text import duration, elapsed
from deployer.helm import storage
from deployer.helm.recovery import is_unfinished
from deployer.helm.storage import latest_of, objects_of, stored_revision
from deployer.rollout.stage import Cause, Limits, take_snapshot, workloads_of
from deployer.status import Object, Phase, Snapshot, WorkloadRef, current_pods, workload_status
from deployer.status.objects import container_statuses, dig, epoch, find, name_of, namespace_of

if TYPE_CHECKING:  # most helms run no hook, and a run that changes nothing no helm
    from deployer.diagnosis import Finding, Observed

T = TypeVar("T")
Keep = Callable[[str, str], None]
"""Writes a text into the run's record under a name."""

# Helm sees the end of a hook at once, and its Job may be gone then; a Job's own controller takes a second to tell.
_TICK_SECONDS = 0.3
_OUT_OF_TIME = re.compile(r"timed out waiting|context deadline exceeded", re.IGNORECASE)
_LOG_LINES, _SHOWN_LINES, _LONGEST_LINE = 200, 10, 160
# So far apart it is said anew what a hook is at that does not end.
_SHOWN_SECONDS = 10.0
_REMOVING = "uninstalling"
_STATES = {Phase.AVAILABLE: ItemState.DONE, Phase.FAILED: ItemState.FAILED}
# Helm's time begins a moment after the hook's.
_SLACK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class HelmAtWork:
    """What helm is at work on, in which stage, and how its hooks are judged; `keep` takes their logs.

    `timeout`: how many seconds helm waits for each.
    """

    stage: str
    releases: tuple[tuple[str, str], ...]
    kube: KubePort
    clock: Clock
    limits: Limits
    timeout: float
    keep: Keep


@dataclass(frozen=True, slots=True)
class _Pending:
    """A revision that helm is making: its hooks of this operation, its objects, and since when it exists."""

    hooks: tuple[ObjectRef, ...]
    objects: tuple[ObjectRef, ...]
    since: float
    makers: bool = False
    """Whether a hook is a custom resource, whose controller may make what the others need."""


def watched(helm: Steps[T], at_work: HelmAtWork) -> Steps[T]:
    """Helm's steps, during which its hooks are watched; a hook that cannot succeed ends them with its cause."""
    over = threading.Event()
    hooks = _Hooks(at_work)

    def work() -> Steps[T]:
        try:
            return (yield from helm)
        finally:
            over.set()

    bodies: dict[str, Callable[[], Steps[Any]]] = {"helm": work, "hooks": lambda: hooks.watch(over)}
    try:
        done = yield from merge(bodies)
    except DeployError as error:
        raise hooks.explained(error) from None
    return done["helm"]  # type: ignore[no-any-return]


def pending_hooks(document: Mapping[str, Any], status: str, namespace: str) -> tuple[ObjectRef, ...]:
    """The hooks that helm runs in this operation, of the kinds that it waits for."""
    operation = "delete" if status == _REMOVING else status.removeprefix("pending-")
    events = {f"{when}-{operation}" for when in ("pre", "post")}
    found = []
    for hook in document.get("hooks") or ():
        if events & set(hook.get("events") or ()):
            found += _made_by(hook, namespace)
    return tuple(ref for ref in found if ref.kind in ("Job", "Pod"))


def _made_by(hook: Mapping[str, Any], namespace: str) -> list[ObjectRef]:
    return objects_of(str(hook.get("manifest") or ""), namespace)


class _Hooks:
    """What was seen of the hooks of one helm at work."""

    def __init__(self, at_work: HelmAtWork) -> None:
        self._helm = at_work
        self._since = at_work.clock.now()
        self._known: dict[tuple[str, int], _Pending] = {}
        self._logs: dict[tuple[str, str], str] = {}
        self._shown: dict[WorkloadRef, tuple[ItemState, str, int]] = {}
        self._reported: set[Cause] = set()
        self._noted: dict[Cause, tuple[int, str]] = {}
        self._running: dict[WorkloadRef, float] = {}
        self._observed: Observed | None = None
        self._findings: tuple[Finding, ...] = ()
        self._present: tuple[Finding, ...] = ()

    def watch(self, over: threading.Event) -> Steps[None]:
        """Returns when helm has ended, or when nothing it does has a hook; raises what is certain to fail."""
        # The real time on purpose: helm's end must not wait for a tick to pass.
        while not over.wait(_TICK_SECONDS):
            # Whoever waits for helm will watch a rollout: what that takes is loaded meanwhile.
            import deployer.rollout.watch  # noqa: F401

            verdict = None
            with suppress(DeployError):  # an API server that is away for a moment is helm's to judge
                every = [self._pending(name, namespace) for name, namespace in self._helm.releases]
                if all(one is not None and not one.hooks for one in every):
                    return
                for one in every:
                    if one is not None and one.hooks:
                        verdict = verdict or (yield from self._look(one))
            if verdict is not None:
                from deployer import diagnosis

                raise DeployError(diagnosis.problem(verdict), ExitCode.NOTHING_SERVES)

    def explained(self, error: DeployError) -> DeployError:
        """Helm's failure in the words of the hook that caused it, with the end of its log."""
        first, *rest = error.problems
        if first.code not in ("HOOK_FAILED", "HELM_FAILED") or not (self._findings or self._logs or self._running):
            return error
        better = first
        if self._running and not self._present and _OUT_OF_TIME.search(first.detail):
            better = self._out_of_time()
        elif self._findings:
            from deployer import diagnosis

            cause = diagnosis.problem(self._findings[0])
            title = cause.title if cause.code == "HOOK_FAILED" else f"a hook failed: {cause.title}"
            better = replace(cause, code="HOOK_FAILED", title=title)
        log = next(reversed(self._logs.values()), "")
        lines = [line for line in log.splitlines()[-_SHOWN_LINES:] if line not in better.detail]
        text = "\n".join(filter(None, (better.detail, *lines)))
        return DeployError((replace(better, detail=text), *rest), ExitCode.NOTHING_SERVES)

    def _out_of_time(self) -> Problem:
        """The hook that still ran when helm gave up waiting for it, which is all that helm says."""
        from deployer import diagnosis
        from deployer.diagnosis.finding import named

        ref, since = next(reversed(self._running.items()))
        ran = self._helm.clock.now() - since
        words = {"workload": str(ref), "namespace": ref.namespace, "what": duration(self._helm.timeout)}
        found = replace(
            named("HOOK_TIMEOUT", words, workload=ref), detail=f"it began {duration(ran)} before and went on"
        )
        return diagnosis.problem(found)

    def _pending(self, release: str, namespace: str) -> _Pending | None:
        """The revision that helm is making of the release; None while there is none."""
        kube = self._helm.kube
        latest = latest_of(release, namespace, kube)
        if latest is None or not is_unfinished(latest.status):
            return None
        key = (release, latest.revision)
        if key not in self._known:
            # A release that goes has the revision, and maybe the Jobs, of before.
            since = math.floor(self._since) if latest.status == _REMOVING else 0.0
            secret = stored_revision(release, namespace, latest.revision, kube)
            if secret is None:
                return None
            document = storage.decode(secret)
            self._known[key] = _Pending(
                pending_hooks(document, latest.status, namespace),
                tuple(objects_of(str(document.get("manifest") or ""), namespace)),
                max(since, epoch(dig(secret, "metadata", "creationTimestamp")) or self._since),
                any("." in ref.kind for hook in document.get("hooks") or () for ref in _made_by(hook, namespace)),
            )
        return self._known[key]

    def _look(self, pending: _Pending) -> Steps[Finding | None]:
        """Logs are kept and findings reported; returns the one that ends the wait."""
        from deployer import diagnosis
        from deployer.rollout.watch import notes, take_logs, worth_reporting

        helm, now = self._helm, self._helm.clock.now()
        jobs, workloads = tuple(sorted(workloads_of(pending.hooks))), workloads_of(pending.objects)
        snapshot = take_snapshot((*jobs, *workloads), helm.kube)
        # A Job of this name from an earlier revision stays until helm makes the new one.
        fresh = tuple(ref for ref in jobs if _born(find(ref, snapshot)) >= pending.since)
        yield from self._keep_logs(tuple(pod for ref in fresh for pod in current_pods(ref, snapshot)))
        yield from self._show(fresh, snapshot)
        logs = take_logs(snapshot, fresh, helm.kube)
        known = diagnosis.Known(makers=pending.makers)
        found = diagnosis.diagnose(snapshot, (*fresh, *workloads), logs, now=now, since=self._since, known=known)
        findings = tuple(self._weighed(one, pending, snapshot) for one in found if one.workload in fresh)
        self._findings, self._present = findings or self._findings, findings
        observed = self._observed = (self._observed or diagnosis.Observed()).observe(findings, now)
        for one in worth_reporting(findings, observed, helm.limits, now):
            if (one.code, one.workload) not in self._reported:
                self._reported.add((one.code, one.workload))
                yield diagnosis.warned(one)
        yield from notes(findings, self._noted, helm.stage)
        own = {ref: helm.limits.profile_of(ref) for ref in fresh}
        verdict = diagnosis.judge(findings, observed, now, helm.limits.profile, overrides=own)
        return verdict.finding if verdict.state == "failed" else None

    def _weighed(self, found: Finding, pending: _Pending, snapshot: Snapshot) -> Finding:
        """The finding; the hook's failure where no further attempt can succeed in the time that helm waits."""
        from deployer.diagnosis.finding import named

        ref = found.workload
        if not found.ignored or ref is None or ref.kind != "Job":
            return found
        why = self._out_of_reach(found, pending) or self._too_late(ref, snapshot)
        if not why:
            return found
        what = found.title.removeprefix(f"{ref}: ")
        made = named("HOOK_FAILED", {"workload": str(ref), "namespace": ref.namespace, "what": what}, workload=ref)
        return replace(made, detail=why, since=found.since, evidence=found.evidence)

    def _out_of_reach(self, found: Finding, pending: _Pending) -> str:
        """That what the hook cannot reach is a Service that helm makes once its hooks are done."""
        if found.code != "DEPENDENCY":
            return ""
        for one in pending.objects:
            host = re.search(rf"`{re.escape(one.name)}(?:\.{re.escape(one.namespace)}[\w.]*)?`", found.title)
            if one.kind == "Service" and host and self._helm.kube.get("Service", one.namespace, one.name) is None:
                return f"helm makes service/{one.name} only after these hooks: a `post-` hook can reach it"
        return ""

    def _too_late(self, ref: WorkloadRef, snapshot: Snapshot) -> str:
        """That the Job is tried again only when helm has given it up."""
        from deployer.diagnosis.attempts import next_attempt

        job = find(ref, snapshot)
        again = next_attempt(job, current_pods(ref, snapshot)) if job is not None else None
        over = _born(job) + self._helm.timeout
        if again is None or again <= over + _SLACK_SECONDS:
            return ""
        return (
            f"the Job is tried again in {duration(again - self._helm.clock.now())}, after helm's time limit "
            f"of {duration(self._helm.timeout)} (`releases.*.timeout`)"
        )

    def _show(self, jobs: Sequence[WorkloadRef], snapshot: Snapshot) -> Steps[None]:
        for ref in jobs:
            status = workload_status(ref, snapshot, self._helm.clock.now())
            state, ran, words = _STATES.get(status.phase, ItemState.RUNNING), 0.0, f"hook: {status.message}"
            if ref.kind == "Pod" and status.phase is Phase.AVAILABLE and status.reason != "Succeeded":
                state = ItemState.RUNNING  # helm waits until it has ended
            if state is ItemState.RUNNING:
                ran = self._helm.clock.now() - self._running.setdefault(ref, _born(find(ref, snapshot)))
            else:
                self._running.pop(ref, None)
            shown = state, words, int(ran // _SHOWN_SECONDS)
            if self._shown.get(ref) != shown:
                self._shown[ref] = shown
                more = self._so_far(ref, ran, snapshot) if state is ItemState.RUNNING else ""
                yield Item(self._helm.stage, str(ref), state, words + more)

    def _so_far(self, ref: WorkloadRef, ran: float, snapshot: Snapshot) -> str:
        """How long the hook has run, how long helm waits for it, and the last line of its log."""
        names = {name_of(pod) for pod in current_pods(ref, snapshot)}
        logs = [text for (name, _), text in self._logs.items() if name in names]
        last = logs[-1].rstrip().rpartition("\n")[2].strip() if logs else ""
        line = f"; its log ends with: {last[:_LONGEST_LINE]}" if last else ""
        return f", for {elapsed(ran)} of at most {elapsed(self._helm.timeout)}{line}"

    def _keep_logs(self, pods: Sequence[Object]) -> Steps[None]:
        for pod in pods:
            for status in container_statuses(pod):
                if not (dig(status, "state", "running") or dig(status, "state", "terminated")):
                    continue
                name, container = name_of(pod), str(status.get("name"))
                namespace = namespace_of(pod)
                text = "\n".join(self._helm.kube.logs(namespace, name, container, tail=_LOG_LINES))
                before = self._logs.get((name, container), "")
                if text and text != before:
                    self._logs[name, container] = text
                    self._helm.keep(f"hooks/{name}.{container}.log", text + "\n")
                    for line in _new_lines(before.splitlines(), text.splitlines()):
                        yield Log(self._helm.stage, name, line)


def _new_lines(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of a log's end that an earlier end of it did not have."""
    for start in range(max(len(before) - len(now), 0), len(before)):
        if before[start:] == now[: len(before) - start]:
            return now[len(before) - start :]
    return now


def _born(one: Object | None) -> float:
    return epoch(dig(one, "metadata", "creationTimestamp")) or 0.0
