"""Helm's hooks: while helm waits for them they are watched and diagnosed like workloads, and their logs are kept.

Helm waits for hooks even without `--wait`, prints nothing meanwhile, and a delete policy takes a hook's Job
with its log the moment it has ended (https://helm.sh/docs/topics/charts_hooks/).
"""

from __future__ import annotations

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
from deployer.core.text import duration
from deployer.helm import storage
from deployer.helm.storage import objects_of, revisions_of, stored_revision
from deployer.rollout.stage import Limits, take_snapshot, workloads_of
from deployer.status import Object, Phase, Snapshot, WorkloadRef, current_pods, workload_status
from deployer.status.objects import container_statuses, dig, epoch, find, name_of

if TYPE_CHECKING:  # most helms run no hook, and a run that changes nothing no helm
    from deployer.diagnosis import Finding, Observed

T = TypeVar("T")
Keep = Callable[[str, str], None]
"""Writes a text into the run's record under a name."""

# Helm sees the end of a hook at once, and its Job may be gone then; a Job's own controller takes a second to tell.
_TICK_SECONDS = 0.3
_OUT_OF_TIME = re.compile(r"timed out waiting|context deadline exceeded", re.IGNORECASE)
_LOG_LINES, _SHOWN_LINES = 200, 10


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
    """A revision that helm is making: its hooks of this operation, its workloads, and since when it exists."""

    hooks: tuple[ObjectRef, ...]
    workloads: tuple[WorkloadRef, ...]
    since: float


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
    events = {f"{when}-{status.removeprefix('pending-')}" for when in ("pre", "post")}
    found = []
    for hook in document.get("hooks") or ():
        if events & set(hook.get("events") or ()):
            found += objects_of(str(hook.get("manifest") or ""), namespace)
    return tuple(ref for ref in found if ref.kind in ("Job", "Pod"))


class _Hooks:
    """What was seen of the hooks of one helm at work."""

    def __init__(self, at_work: HelmAtWork) -> None:
        self._helm = at_work
        self._since = at_work.clock.now()
        self._known: dict[tuple[str, int], _Pending] = {}
        self._logs: dict[tuple[str, str], str] = {}
        self._shown: dict[str, str] = {}
        self._reported: set[tuple[str, WorkloadRef | None]] = set()
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
            better = replace(cause, code="HOOK_FAILED", title=f"a hook failed: {cause.title}")
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
        made = revisions_of(release, namespace, kube)
        if not made or not made[-1].status.startswith("pending-"):
            return None
        key = (release, made[-1].revision)
        if key not in self._known:
            secret = stored_revision(release, namespace, made[-1].revision, kube)
            if secret is None:
                return None
            document = storage.decode(secret)
            self._known[key] = _Pending(
                pending_hooks(document, made[-1].status, namespace),
                workloads_of(objects_of(str(document.get("manifest") or ""), namespace)),
                epoch(dig(secret, "metadata", "creationTimestamp")) or self._since,
            )
        return self._known[key]

    def _look(self, pending: _Pending) -> Steps[Finding | None]:
        """Logs are kept and findings reported; returns the one that ends the wait."""
        from deployer import diagnosis
        from deployer.rollout.watch import take_logs, worth_reporting

        helm, now = self._helm, self._helm.clock.now()
        jobs = tuple(sorted(workloads_of(pending.hooks)))
        snapshot = take_snapshot((*jobs, *pending.workloads), helm.kube)
        # A Job of this name from an earlier revision stays until helm makes the new one.
        fresh = tuple(ref for ref in jobs if _born(find(ref, snapshot)) >= pending.since)
        yield from self._keep_logs(tuple(pod for ref in fresh for pod in current_pods(ref, snapshot)))
        yield from self._show(fresh, snapshot)
        logs = take_logs(snapshot, fresh, helm.kube)
        refs = (*fresh, *pending.workloads)
        found = diagnosis.diagnose(snapshot, refs, logs, now=now, since=self._since)
        findings = tuple(one for one in found if one.workload in fresh)
        self._findings, self._present = findings or self._findings, findings
        observed = self._observed = (self._observed or diagnosis.Observed()).observe(findings, now)
        for one in worth_reporting(findings, observed, helm.limits, now):
            if (one.code, one.workload) not in self._reported:
                self._reported.add((one.code, one.workload))
                yield diagnosis.warned(one)
        own = {ref: helm.limits.profile_of(ref) for ref in fresh}
        verdict = diagnosis.judge(findings, observed, now, helm.limits.profile, overrides=own)
        return verdict.finding if verdict.state == "failed" else None

    def _show(self, jobs: Sequence[WorkloadRef], snapshot: Snapshot) -> Steps[None]:
        for ref in jobs:
            status = workload_status(ref, snapshot, self._helm.clock.now())
            words = f"hook: {status.message}"
            if status.phase in (Phase.AVAILABLE, Phase.FAILED):
                self._running.pop(ref, None)
            else:
                self._running.setdefault(ref, _born(find(ref, snapshot)))
            if self._shown.get(str(ref)) != words:
                self._shown[str(ref)] = words
                states = {Phase.AVAILABLE: ItemState.DONE, Phase.FAILED: ItemState.FAILED}
                yield Item(self._helm.stage, str(ref), states.get(status.phase, ItemState.RUNNING), words)

    def _keep_logs(self, pods: Sequence[Object]) -> Steps[None]:
        for pod in pods:
            for status in container_statuses(pod):
                if not (dig(status, "state", "running") or dig(status, "state", "terminated")):
                    continue
                name, container = name_of(pod), str(status.get("name"))
                namespace = str(dig(pod, "metadata", "namespace"))
                text = "\n".join(self._helm.kube.logs(namespace, name, container, tail=_LOG_LINES))
                before = self._logs.get((name, container), "")
                if text and text != before:
                    self._logs[name, container] = text
                    self._helm.keep(f"hooks/{name}.{container}.log", text + "\n")
                    for line in text.removeprefix(before).splitlines():
                        yield Log(self._helm.stage, name, line)


def _born(one: Object | None) -> float:
    return epoch(dig(one, "metadata", "creationTimestamp")) or 0.0
