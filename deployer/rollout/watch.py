"""A rollout watched: looked at again and again, what is wrong named at once, and judged when it is certain.

Apart from the stage because a run that changes nothing loads none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from deployer import diagnosis
from deployer.config.spec import FailFast
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Event, Item, ItemState, WorkloadChanged
from deployer.core.ports import KubePort
from deployer.core.steps import Clock, Outcome, Steps
from deployer.diagnosis import Finding, Known, Observed
from deployer.diagnosis.causes import CAUSES
from deployer.diagnosis.finding import Scene
from deployer.diagnosis.restarts import ended_since, failing_since, last_log, liveness_finding, restarted, restarts_of
from deployer.kube.outage import retried
from deployer.rollout.hold import Asked, Awaited, awaited, relapse
from deployer.rollout.observe import Key, Pace, Surroundings, Tails, counted, log_end, read_surroundings, read_tails
from deployer.rollout.probes import Early
from deployer.rollout.stage import (
    DONE,
    STAGE,
    Cause,
    Limits,
    Rollout,
    has_restarted,
    in_words,
    is_done,
    take_snapshot,
    works_on,
    worth_showing,
)
from deployer.status import Object, Snapshot, WorkloadRef, WorkloadStatus, is_rollout_complete, workload_status
from deployer.status.objects import dig, find

_TICK_SECONDS = 0.7
_MOMENT_SECONDS = 0.5
_LEAST_SECONDS = 0.1
_NOTED_ROUNDS = 2
_AWAY_SECONDS = 10.0
"""A look that takes longer is one at a cluster that did not answer: its controllers' clocks went on meanwhile."""
_UNREACHED = ("SERVICE_NO_ENDPOINTS",)
"""Workloads that nobody can reach are not done, however Available they are."""


def watch(rollout: Rollout) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """As `await_rollout` says, look by look until all is done or the cause is certain."""
    watched = _Watched(rollout)
    while True:
        looked, asked = rollout.clock.monotonic(), watched.counter.asked
        seen = yield from watched.tick()
        watched.refuse_restarted(seen)
        if seen.is_done:
            if (yield from watched.held(seen)):
                shown = worth_showing(seen.statuses)
                return Outcome(shown, rollout.changed, in_words(shown))
        else:
            watched.available_at = None
            watched.refuse_failed(seen)
        watched.pace = watched.pace.after(watched.counter.asked - asked, rollout.clock.monotonic() - looked)
        watched.rest(seen)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look showed."""

    snapshot: Snapshot
    statuses: tuple[WorkloadStatus, ...]
    findings: tuple[Finding, ...]
    left: tuple[WorkloadRef, ...]
    """The workloads that are waited for."""

    @property
    def is_available(self) -> bool:
        return not self.left

    @property
    def is_done(self) -> bool:
        return self.is_available and not any(
            finding.code in _UNREACHED and not finding.ignored for finding in self.findings
        )


class _Watched:
    """A rollout that is being watched: what was seen, found and reported of it so far."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self._kube, self.counter = counted(rollout.kube)
        self._begun = rollout.clock.monotonic()
        self._statuses: dict[WorkloadRef, WorkloadStatus] = {}
        self._further: set[Cause] = set()
        self._noted: dict[Cause, tuple[int, str]] = {}
        self._around, self._tails = Surroundings(), Tails()
        self._observed, self._known = Observed(), Known(needed=rollout.needed, makers=rollout.has_makers)
        self._snapshot: Snapshot | None = None
        self._asked: Asked = {}
        self._early = Early()
        self.pace = Pace()
        self.available_at: float | None = None

    def tick(self) -> Steps[_Seen]:
        """One look: what changed is yielded, and what is wrong once it is worth reporting."""
        rollout, clock, looked = self._rollout, self._rollout.clock, self._rollout.clock.monotonic()
        look = partial(take_snapshot, rollout.refs, self._kube, before=self._snapshot)
        snapshot = self._snapshot = yield from retried(look, STAGE, clock)
        self.pace = self.pace.among(len(snapshot.pods))
        statuses = tuple(workload_status(ref, snapshot, clock.now()) for ref in rollout.refs)
        for status in worth_showing(statuses):
            if self._statuses.get(status.ref) != status:
                self._statuses[status.ref] = status
                yield WorkloadChanged(status)
        left = tuple(status.ref for status in statuses if not is_done(status, rollout.limits, clock.now()))
        seen = _Seen(snapshot, statuses, (), left)
        if not rollout.changed and seen.is_available:
            return seen
        if rollout.limits.early_probes:
            self._early.ask(left, snapshot, self._kube, clock.now())
        look_around_us = partial(read_surroundings, self._around, rollout.kinds, snapshot, rollout.refs, self._kube)
        self._around = yield from retried(look_around_us, STAGE, clock)
        read = partial(read_tails, self._tails, snapshot, left, self._kube, self.pace)
        self._tails = yield from retried(read, STAGE, clock)
        if clock.monotonic() - looked >= _AWAY_SECONDS:
            self._known = replace(self._known, away_until=clock.now())
        beside = self._around.beside(snapshot)
        finding_out = partial(_findings, rollout, beside, left, self._tails.texts, self._known)
        self._known, findings = yield from retried(finding_out, STAGE, clock)
        yield from self._reported(findings)
        return replace(seen, snapshot=beside, findings=findings)

    def _reported(self, findings: tuple[Finding, ...]) -> Iterable[Event]:
        """The findings that are worth it and were not reported yet: the first alone, the further ones for who asks."""
        now = self._rollout.clock.now()
        self._observed = self._observed.observe(findings, now)
        yield from notes(findings, self._noted, STAGE)
        for rank, finding in enumerate(worth_reporting(findings, self._observed, self._rollout.limits, now)):
            cause = (finding.code, finding.workload)
            if cause not in self._rollout.reported and (rank == 0 or cause not in self._further):
                (self._further if rank else self._rollout.reported).add(cause)
                yield diagnosis.warned(finding, further=rank > 0)

    def refuse_restarted(self, seen: _Seen) -> None:
        """Returns while every container runs on since all was Available; raises why one did not.

        Where it ended only because it could not yet reach what it needs, or by the profile `patient`,
        the hold begins anew.
        """
        rollout, limits = self._rollout, self._rollout.limits
        if not rollout.restarts:
            return
        wanted = [last_log(one) for one in ended_since(rollout.refs, seen.snapshot, rollout.restarts)]
        logs = {one.key: log_end(one, self._kube) for one in wanted}
        found = restarted(self._scene(seen, logs), rollout.restarts)
        for one in found:
            patient = limits.profile_of(one.workload) is FailFast.PATIENT or one.code == "DEPENDENCY"
            if not one.ignored and not patient:
                raise _failure(one, seen.statuses, limits)
        if found or wanted:
            self.available_at = None
            rollout.restarts.clear()

    def _scene(self, seen: _Seen, logs: Mapping[Key, str]) -> Scene:
        rollout = self._rollout
        return diagnosis.scene_of(seen.snapshot, rollout.refs, logs, rollout.clock.now(), rollout.since)

    def held(self, seen: _Seen) -> Steps[bool]:
        """Whether everything stayed Available for the hold, and until each probe has had its first verdict.

        What was never changed has not to be held.
        """
        rollout, clock, limits = self._rollout, self._rollout.clock, self._rollout.limits
        if not rollout.changed:
            now = clock.now()
            again = has_restarted(rollout.refs, seen.snapshot, now)
            if again and (found := relapse(seen.snapshot, rollout.refs, self._kube, now)):
                raise _failure(found, seen.statuses, limits)
            return True
        if not rollout.restarts:
            rollout.restarts.update(restarts_of(rollout.refs, seen.snapshot))
        if not limits.hold:
            return True
        scene, now = self._scene(seen, {}), clock.monotonic()
        waiting = awaited(scene, self._kube, self._asked)
        if self.available_at is None:
            self.available_at = now
            yield Item(STAGE, "stability", ItemState.RUNNING, _why_held(limits.hold, waiting, scene.now))
        for one in waiting:
            if now - self.available_at < max(limits.hold, limits.timeout_of(one.container.ref)):
                return False
            if failing_since(scene, one.container) is not None:
                raise _failure(liveness_finding(scene, one.container), seen.statuses, limits)
        if now - self.available_at < limits.hold:
            return False
        yield Item(
            STAGE, "stability", ItemState.DONE, f"stable for {max(limits.hold, int(now - self.available_at)):g} s"
        )
        return True

    def refuse_failed(self, seen: _Seen) -> None:
        """Returns while the rollout may yet succeed; raises the cause that is certain."""
        clock, limits = self._rollout.clock, self._rollout.limits
        took = clock.monotonic() - self._begun
        works = {one.ref for one in seen.statuses if works_on(one)}
        late = {ref for ref in seen.left if ref not in works and took > limits.timeout_of(ref)}
        # What is late is the first to be blamed for it.
        weighed = tuple(sorted(seen.findings, key=lambda one: bool(late) and one.workload not in late))
        overrides = {ref: limits.profile_of(ref) for ref in self._rollout.refs}
        verdict = diagnosis.judge(
            weighed, self._observed, clock.now(), limits.profile, deadline_passed=bool(late), overrides=overrides
        )
        if verdict.state == "failed":
            assert verdict.finding is not None
            raise _failure(verdict.finding, seen.statuses, limits)

    def rest(self, seen: _Seen) -> None:
        """The time until the next look is over; it ends early when a workload comes to its end."""
        clock, asked = self._rollout.clock, self.counter.asked
        soon = any(_is_new(finding, self._observed, clock.now()) for finding in seen.findings)
        least = _MOMENT_SECONDS if soon else _TICK_SECONDS
        least = max(min(least, self._early.next(clock.now())), _LEAST_SECONDS)
        pause, rested = self.pace.pause(least, soon=soon), clock.monotonic()
        if pause > least:
            clock.sleep(pause)
        else:
            _rest(seen.statuses, seen.snapshot, self._kube, clock, pause)
        self.pace = self.pace.after(self.counter.asked - asked, clock.monotonic() - rested)


def _why_held(hold: float, waiting: Sequence[Awaited], now: float) -> str:
    last = max(waiting, key=lambda one: one.until, default=None)
    if last is None or last.until - now <= hold:
        return f"Available; holding {hold:g} s"
    return f"Available; holding {last.until - now:.0f} s, until {last.why} ({last.container.ref})"


def _rest(statuses: Sequence[WorkloadStatus], snapshot: Snapshot, kube: KubePort, clock: Clock, seconds: float) -> None:
    """So many seconds are over, or a workload that was not done has come to its end before."""
    end = clock.monotonic() + seconds
    left = next((status.ref for status in statuses if status.phase not in DONE), None)
    if left is not None:
        before = dig(find(left, snapshot), "metadata", "resourceVersion")

        def come(workload: Object) -> bool:
            return dig(workload, "metadata", "resourceVersion") != before and is_rollout_complete(left.kind, workload)

        # The last moment is slept: where the clock looks for a reason to give up, it does so at every look.
        if kube.awaited(left.kind, left.namespace, left.name, come, seconds * 0.95):
            return
    if end > clock.monotonic():
        clock.sleep(end - clock.monotonic())


def _findings(
    rollout: Rollout, snapshot: Snapshot, left: Sequence[WorkloadRef], logs: Mapping[Key, str], known: Known
) -> tuple[Known, tuple[Finding, ...]]:
    """What is known by now, and what is wrong; `left` are the workloads that are not done."""
    now, settled = rollout.clock.now(), frozenset(rollout.refs) - frozenset(left)

    def diagnosed(known: Known) -> tuple[Finding, ...]:
        return diagnosis.diagnose(snapshot, rollout.refs, logs, now=now, since=rollout.since, known=known)

    known = known if known.settled == settled else replace(known, settled=settled)
    findings = diagnosed(known)
    more = rollout.look(known, snapshot, left, findings, now) if left else known
    return (known, findings) if more is known else (more, diagnosed(more))


def _is_new(finding: Finding, observed: Observed, now: float) -> bool:
    """Whether the finding is not named yet only because it was seen a moment ago for the first time."""
    seen = observed.seen.get((finding.code, finding.workload))
    return not finding.ignored and seen is not None and now - seen.first_seen < _MOMENT_SECONDS


def take_logs(snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort) -> dict[tuple[str, str, bool], str]:
    """The ends of the container logs that diagnosis of the snapshot needs, by pod, container and whether previous."""
    return {wanted.key: log_end(wanted, kube) for wanted in diagnosis.logs_wanted(snapshot, refs)}


def notes(findings: Sequence[Finding], noted: dict[Cause, tuple[int, str]], stage: str) -> Iterable[Event]:
    """What may still be an ordinary moment is said without alarm once it was seen in two rounds, and as it stands then.

    `noted`: in how many rounds each was seen, and what was said of it last.
    """
    for finding in findings:
        if finding.ignored:
            key = (finding.code, finding.workload)
            rounds, said = noted.get(key, (0, ""))
            title = finding.title.removeprefix(f"{finding.workload}: ")
            text = f"{finding.ignored}: {title}" if rounds + 1 >= _NOTED_ROUNDS else ""
            noted[key] = rounds + 1, text
            if text != said:
                yield Item(stage, str(finding.workload or "cluster"), ItemState.RUNNING, text)
    for key in noted.keys() - {(one.code, one.workload) for one in findings}:
        if noted.pop(key)[1]:
            yield Item(stage, str(key[1] or "cluster"), ItemState.DONE, "passed")


def worth_reporting(findings: Sequence[Finding], observed: Observed, limits: Limits, now: float) -> Iterable[Finding]:
    """Those worth naming: certain ones at once, others once they have outlived an ordinary moment of a rollout."""
    for finding in findings:
        seen = observed.seen.get((finding.code, finding.workload))
        if seen is not None and not finding.ignored:
            certain = CAUSES[finding.code].policy(limits.profile_of(finding.workload)).now
            certain = certain or finding.code in diagnosis.AROUND or _has_happened(finding)
            if certain or now - seen.first_seen >= _MOMENT_SECONDS:
                yield finding


def _has_happened(finding: Finding) -> bool:
    """Whether a container ended and its log says why (a killed one says nothing): a second look shows nothing more."""
    counted = CAUSES[finding.code].balanced.count is not None and finding.code != "DEPENDENCY"
    return counted and (bool(finding.evidence) or finding.code == "OOM_KILLED")


def _failure(finding: Finding, statuses: Sequence[WorkloadStatus], limits: Limits) -> DeployError:
    problem = diagnosis.problem(finding)
    if finding.code == "DEADLINE":  # nothing is known to be wrong: how things stand is all there is to tell
        late = [f"{one.ref}: {one.phase.value} ({one.message}), within {limits.timeout_of(one.ref):g} s"
                for one in statuses if one.phase not in DONE]  # fmt: skip
        problem = replace(problem, detail="\n".join(late), hints=("todo-deploy logs", "todo-deploy status"))
    return DeployError(problem, ExitCode.NOTHING_SERVES)
