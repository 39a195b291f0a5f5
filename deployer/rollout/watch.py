"""A rollout watched: looked at again and again, what is wrong named at once, and judged when it is certain.

Apart from the stage because a run that changes nothing loads none of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from deployer import diagnosis
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Event, Item, ItemState, Warned, WorkloadChanged
from deployer.core.ports import KubePort
from deployer.core.steps import Clock, Outcome, Steps
from deployer.diagnosis import Finding, Known, Patience
from deployer.diagnosis.causes import CAUSES
from deployer.kube.outage import sat_out
from deployer.rollout.stage import DONE, STAGE, Cause, Judging, Rollout, in_words, take_snapshot
from deployer.rollout.surroundings import Around, look_around
from deployer.rollout.throttle import Key, Pace, Tails, counted, log_end, read_tails
from deployer.status import Object, Snapshot, WorkloadRef, WorkloadStatus, is_told_done, workload_status
from deployer.status.objects import dig, find

_TICK_SECONDS = 0.7
_MOMENT_SECONDS = 0.5
_NOTED_ROUNDS = 2
_AWAY_SECONDS = 10.0
"""A look that takes longer is one at a cluster that did not answer: its controllers' clocks went on meanwhile."""
_UNREACHED = ("SERVICE_NO_ENDPOINTS",)
"""Workloads that nobody can reach are not done, however Available they are."""


def watch(rollout: Rollout) -> Steps[Outcome[tuple[WorkloadStatus, ...]]]:
    """As `await_rollout` says, look by look until all is done or the cause is certain."""
    refs, clock, judging, changed = rollout.refs, rollout.clock, rollout.judging, rollout.changed
    begun = clock.monotonic()
    told: dict[WorkloadRef, WorkloadStatus] = {}
    named, further = rollout.reported, set[Cause]()
    around = Around()
    noted: dict[Cause, int] = {}
    patience, known = Patience(), Known()
    overrides = {ref: judging.profile_of(ref) for ref in refs}
    available_at: float | None = None
    restarts = 0
    pace, tails, seen = Pace(), Tails(), None
    kube, counter = counted(rollout.kube)
    while True:
        looked, asked = clock.monotonic(), counter.asked
        snapshot = seen = yield from sat_out(partial(take_snapshot, refs, kube, before=seen), STAGE, clock)
        pace = pace.among(len(snapshot.pods))
        statuses = tuple(workload_status(ref, snapshot, clock.now()) for ref in refs)
        yield from _changes(statuses, told)
        available = all(status.phase in DONE for status in statuses)
        findings: tuple[Finding, ...] = ()
        if changed or not available:
            left = tuple(status.ref for status in statuses if status.phase not in DONE)
            around = yield from sat_out(partial(look_around, around, rollout.kinds, snapshot, refs, kube), STAGE, clock)
            tails = yield from sat_out(partial(read_tails, tails, snapshot, left, kube, pace), STAGE, clock)
            if clock.monotonic() - looked >= _AWAY_SECONDS:
                known = replace(known, away_until=clock.now())
            beside = around.beside(snapshot)
            finding_out = partial(_findings, rollout, beside, left, tails.texts, known)
            known, findings = yield from sat_out(finding_out, STAGE, clock)
            patience = patience.observe(findings, clock.now())
            yield from _notes(findings, noted)
            for rank, finding in enumerate(lasting(findings, patience, judging, clock.now())):
                cause = (finding.code, finding.workload)
                if cause not in named and (rank == 0 or cause not in further):
                    (further if rank else named).add(cause)
                    yield Warned(diagnosis.problem(finding), further=rank > 0)
        if available and not any(finding.code in _UNREACHED for finding in findings):
            if available_at is not None and _restarts(statuses) > restarts:
                available_at = None  # a container that was ready once and then crashed is no success
            if available_at is None:
                available_at = clock.monotonic()
                restarts = _restarts(statuses)
                if changed and judging.hold:
                    yield Item(STAGE, "stability", ItemState.RUNNING, f"Available; holding {judging.hold:g} s")
            if not changed or clock.monotonic() - available_at >= judging.hold:
                if changed and judging.hold:
                    yield Item(STAGE, "stability", ItemState.DONE, f"stable for {judging.hold:g} s")
                return Outcome(statuses, changed, in_words(statuses))
        else:
            available_at = None
            took = clock.monotonic() - begun
            late = {one.ref for one in statuses if one.phase not in DONE and took > judging.timeout_of(one.ref)}
            # What is late is the first to be blamed for it.
            weighed = tuple(sorted(findings, key=lambda one: bool(late) and one.workload not in late))
            verdict = diagnosis.judge(
                weighed, patience, clock.now(), judging.profile, deadline_passed=bool(late), overrides=overrides
            )
            if verdict.state == "failed":
                assert verdict.finding is not None
                raise _failure(verdict.finding, statuses, judging)
        soon = any(_is_new(finding, patience, clock.now()) for finding in findings)
        pace = pace.after(counter.asked - asked, clock.monotonic() - looked)
        least = _MOMENT_SECONDS if soon else _TICK_SECONDS
        pause, rested, asked = pace.pause(least, soon=soon), clock.monotonic(), counter.asked
        if pause > least:
            clock.sleep(pause)
        else:
            _rest(statuses, snapshot, kube, clock, pause)
        pace = pace.after(counter.asked - asked, clock.monotonic() - rested)


def _rest(statuses: Sequence[WorkloadStatus], snapshot: Snapshot, kube: KubePort, clock: Clock, seconds: float) -> None:
    """So many seconds are over, or a workload that was not done has come to its end before."""
    end = clock.monotonic() + seconds
    left = next((status.ref for status in statuses if status.phase not in DONE), None)
    if left is not None:
        before = dig(find(left, snapshot), "metadata", "resourceVersion")

        def come(workload: Object) -> bool:
            return dig(workload, "metadata", "resourceVersion") != before and is_told_done(left.kind, workload)

        if kube.awaited(left.kind, left.namespace, left.name, come, seconds):
            return
    if end > clock.monotonic():
        clock.sleep(end - clock.monotonic())


def _findings(
    rollout: Rollout, snapshot: Snapshot, left: Sequence[WorkloadRef], logs: Mapping[Key, str], known: Known
) -> tuple[Known, tuple[Finding, ...]]:
    """What is known by now, and what is wrong; `left` are the workloads that are not done."""
    now, settled = rollout.clock.now(), frozenset(rollout.refs) - frozenset(left)

    def diagnosed(known: Known) -> tuple[Finding, ...]:
        return diagnosis.diagnose(
            snapshot, rollout.refs, logs, now=now, since=rollout.since, known=known, settled=settled
        )

    findings = diagnosed(known)
    more = rollout.look(known, snapshot, left, findings, now) if left else known
    return (known, findings) if more is known else (more, diagnosed(more))


def _is_new(finding: Finding, patience: Patience, now: float) -> bool:
    """Whether the finding is not named yet only because it was seen a moment ago for the first time."""
    seen = patience.seen.get((finding.code, finding.workload))
    return not finding.excused and seen is not None and now - seen.first_seen < _MOMENT_SECONDS


def take_logs(snapshot: Snapshot, refs: Sequence[WorkloadRef], kube: KubePort) -> dict[tuple[str, str, bool], str]:
    """The ends of the container logs that diagnosis of the snapshot needs, by pod, container and whether previous."""
    return {wanted.key: log_end(wanted, kube) for wanted in diagnosis.logs_wanted(snapshot, refs)}


def _notes(findings: Sequence[Finding], noted: dict[Cause, int]) -> Iterable[Event]:
    """What may still be an ordinary moment is said without alarm once it was seen in two rounds."""
    for finding in findings:
        key = (finding.code, finding.workload)
        if finding.excused:
            noted[key] = noted.get(key, 0) + 1
            if noted[key] == _NOTED_ROUNDS:
                text = f"{finding.title} ({finding.excused})"
                yield Item(STAGE, str(finding.workload or "cluster"), ItemState.RUNNING, text)


def lasting(findings: Sequence[Finding], patience: Patience, judging: Judging, now: float) -> Iterable[Finding]:
    """Those worth naming: certain ones at once, others once they have outlived an ordinary moment of a rollout."""
    for finding in findings:
        seen = patience.seen.get((finding.code, finding.workload))
        if seen is not None and not finding.excused:
            certain = CAUSES[finding.code].policy(judging.profile_of(finding.workload)).now
            certain = certain or finding.code in diagnosis.AROUND or _has_happened(finding)
            if certain or now - seen.first_seen >= _MOMENT_SECONDS:
                yield finding


def _has_happened(finding: Finding) -> bool:
    """Whether a container ended and its log says why (a killed one says nothing): no second look tells more of it."""
    counted = CAUSES[finding.code].balanced.count is not None and finding.code != "DEPENDENCY"
    return counted and (bool(finding.evidence) or finding.code == "OOM_KILLED")


def _changes(statuses: Sequence[WorkloadStatus], told: dict[WorkloadRef, WorkloadStatus]) -> Iterable[Event]:
    for status in statuses:
        if told.get(status.ref) != status:
            told[status.ref] = status
            yield WorkloadChanged(status)


def _restarts(statuses: Sequence[WorkloadStatus]) -> int:
    return sum(status.restarts for status in statuses)


def _failure(finding: Finding, statuses: Sequence[WorkloadStatus], judging: Judging) -> DeployError:
    problem = diagnosis.problem(finding)
    if finding.code == "DEADLINE":  # nothing is known to be wrong: how things stand is all there is to tell
        late = [f"{one.ref}: {one.phase.value} ({one.message}), within {judging.timeout_of(one.ref):g} s"
                for one in statuses if one.phase not in DONE]  # fmt: skip
        problem = replace(problem, detail="\n".join(late), hints=("todo-deploy logs", "todo-deploy status"))
    return DeployError(problem, ExitCode.NOTHING_SERVES)
