"""A workload whose controller is stuck: pods that cannot be created, a failed Job, no progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from deployer.core.text import one_line
from deployer.diagnosis.containers import START_SECONDS
from deployer.diagnosis.finding import Finding, Scene, first_time, last_lines, named
from deployer.diagnosis.logs import exit_meaning, log_of, telling_line
from deployer.status import Object, WorkloadRef, current_pods, old_pods
from deployer.status.objects import (
    condition,
    container_statuses,
    dig,
    epoch,
    event_time,
    find,
    is_ready,
    is_terminating,
    lags,
    name_of,
    number,
    rows,
)
from deployer.status.workloads import failed_condition, failure_event, last_job, new_replica_set

_STARTING = ("ContainerCreating", "PodInitializing")
# The words of the admission plug-ins, which reach the controller as the API's refusal.
_REFUSALS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern))
    for code, pattern in (
        ("CREATE_FAILED", r"status unknown for quota|failed calling webhook|context deadline exceeded"),
        ("QUOTA", r"exceeded quota: (?P<name>[^,]+)|failed quota: (?P<failed>[^:]+)"),
        ("SERVICE_ACCOUNT", r"serviceaccount \"(?P<name>[^\"]+)\" not found"),
        ("ADMISSION", r"admission webhook \"(?P<name>[^\"]+)\" denied"),
        ("ADMISSION", r"(?P<name>violates PodSecurity) "),
        ("ADMISSION", r"denied request|is forbidden|is invalid"),
    )
)


def controller_findings(scene: Scene, ref: WorkloadRef) -> Iterator[Finding]:
    """What is wrong with the workload beyond its pods."""
    workload = find(ref, scene.snapshot)
    if workload is None and ref.passing and (event := failure_event(ref, scene.snapshot)):
        yield _ended(ref, "JOB_FAILED", str(event.get("message") or event.get("reason")), event_time(event))
    if workload is None or is_terminating(workload):
        return
    if ref.kind == "Job":
        yield from _job(scene, ref, workload)
    elif ref.kind == "CronJob":
        job = last_job(workload, scene.snapshot)
        yield from _job(scene, ref, job) if job is not None else ()
    elif ref.kind == "Pod":
        yield from _pod(scene, ref, workload)
    elif "." in ref.kind:
        yield from _stalled(ref, workload)
        return
    elif lags(workload):
        return  # its status is about an older spec
    yield from _refused(scene, ref, workload)
    yield from _no_progress(scene, ref, workload)
    if ref.kind == "StatefulSet":
        yield from _blocked(scene, ref, workload)


def _refused(scene: Scene, ref: WorkloadRef, workload: Object) -> Iterator[Finding]:
    owner = (new_replica_set(workload, scene.snapshot) or {}) if ref.kind == "Deployment" else workload
    failure = condition(owner, "ReplicaFailure")
    message, since = "", None
    if failure.get("status") == "True":
        message, since = str(failure.get("message") or ""), epoch(failure.get("lastTransitionTime"))
    elif ref.kind == "Deployment":
        stuck = condition(workload, "Progressing")
        if stuck.get("reason") == "ReplicaSetCreateError":
            message, since = str(stuck.get("message") or ""), epoch(stuck.get("lastTransitionTime"))
    else:  # these controllers say it in events only; what has its pods by now is past it
        events = scene.events_of(owner, "FailedCreate")
        if events and not _has_its_pods(ref, workload, scene):
            message, since = str(events[-1].get("message") or ""), first_time(events)
    if message:
        yield _refusal(scene, ref, message, since)


def _has_its_pods(ref: WorkloadRef, workload: Object, scene: Scene) -> bool:
    if ref.kind == "Job":
        done = number(workload, "status", "succeeded") + number(workload, "status", "failed")
        return bool(done or number(workload, "status", "active"))
    wanted = number(workload, "spec", "replicas", default=1)
    if ref.kind == "DaemonSet":
        wanted = number(workload, "status", "desiredNumberScheduled")
    have = current_pods(ref, scene.snapshot)
    # An ordered StatefulSet makes its next pod only once the one before is ready.
    return len(have) >= wanted or (ref.kind == "StatefulSet" and any(not is_ready(pod) for pod in have))


def _refusal(scene: Scene, ref: WorkloadRef, message: str, since: float | None) -> Finding:
    code, match = next(
        ((code, match) for code, pattern in _REFUSALS if (match := pattern.search(message))), ("CREATE_FAILED", None)
    )
    name = next((group for group in match.groups() if group), "") if match else ""
    if name == "violates PodSecurity":
        name = "the namespace's pod security level"
    what = re.sub(r"^(?:.*? error: )?(?:pods \"[^\"]*\" is forbidden: )?", "", message)
    words = {"workload": str(ref), "namespace": ref.namespace, "what": what, "name": name or "the API server"}
    leaving = [name_of(pod) for pod in old_pods(ref, scene.snapshot) if is_terminating(pod)]
    ignored = f"{leaving[0]} is still terminating and will free its share" if leaving and code == "QUOTA" else ""
    made = named(code, words, workload=ref)
    return replace(made, detail=one_line(message), since=since, evidence=(one_line(message),), ignored=ignored)


def _job(scene: Scene, ref: WorkloadRef, job: Object) -> Iterator[Finding]:
    failed = failed_condition(job)
    if failed is None:
        return
    # A hook's Job: https://helm.sh/docs/topics/charts_hooks/
    hook = dig(job, "metadata", "annotations", "helm.sh/hook") is not None
    reason = str(failed.get("reason") or "")
    logs = [log for pod in current_pods(ref, scene.snapshot) for log in _logs(scene, pod)]
    what = telling_line(logs[-1]) if logs else ""
    words = {"workload": str(ref), "namespace": ref.namespace, "what": what or f"{reason}, {failed.get('message')}"}
    yield replace(
        named("HOOK_FAILED" if hook else "JOB_FAILED", words, workload=ref),
        detail=one_line(failed.get("message") or reason),
        since=epoch(failed.get("lastTransitionTime")),
        evidence=last_lines(logs[-1]) if logs else (),
        observations=max(1, number(job, "status", "failed")),
    )


def _ended(ref: WorkloadRef, code: str, what: str, since: float | None) -> Finding:
    made = named(code, {"workload": str(ref), "namespace": ref.namespace, "what": what}, workload=ref)
    return replace(made, detail=one_line(what), since=since)


def _pod(scene: Scene, ref: WorkloadRef, pod: Object) -> Iterator[Finding]:
    """A bare pod that has ended and that nobody starts again."""
    if dig(pod, "status", "phase") != "Failed":
        return
    logs = list(_logs(scene, pod))
    ends = [dig(one, "state", "terminated") for one in container_statuses(pod)]
    bad = next((one for one in ends if number(one, "exitCode")), None)
    what = (telling_line(logs[-1]) if logs else "") or exit_meaning(number(bad, "exitCode"))
    said = str(dig(pod, "status", "message") or dig(pod, "status", "reason") or "") or what
    made = _ended(ref, "POD_FAILED", what if bad else said, epoch(dig(bad, "finishedAt")))
    yield replace(made, evidence=last_lines(logs[-1]) if logs else ())


def _stalled(ref: WorkloadRef, found: Object) -> Iterator[Finding]:
    """A custom resource whose controller says that it cannot go on (kstatus)."""
    row = condition(found, "Stalled")
    if row.get("status") == "True":
        what = str(row.get("message") or row.get("reason") or "its controller does not say why")
        yield _ended(ref, "RESOURCE_STALLED", what, epoch(row.get("lastTransitionTime")))


def _logs(scene: Scene, pod: Object) -> Iterator[str]:
    names = sorted({container for one, container, _ in scene.logs if one == name_of(pod)})
    for name in names:
        if text := log_of(scene.logs, name_of(pod), name, False, True):
            yield text


def _no_progress(scene: Scene, ref: WorkloadRef, workload: Object) -> Iterator[Finding]:
    """The controller's clock goes on while a cluster is stopped: a deadline counts from when it last ran on."""
    progressing = condition(workload, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        words = {"workload": str(ref), "namespace": ref.namespace}
        since = epoch(progressing.get("lastTransitionTime"))
        made = named("PROGRESS_DEADLINE", words, workload=ref)
        allowed = number(workload, "spec", "progressDeadlineSeconds", default=600)
        ignored = "its time began before this run" if scene.now - scene.since < allowed else ""
        if scene.now - scene.known.away_until < allowed:
            ignored = ignored or "its time went on while the cluster did not answer"
        yield replace(made, detail=one_line(progressing.get("message") or ""), since=since, ignored=ignored)


def _blocked(scene: Scene, ref: WorkloadRef, workload: Object) -> Iterator[Finding]:
    """A StatefulSet does not replace a pod of the old revision until that pod is ready."""
    if dig(workload, "status", "currentRevision") == dig(workload, "status", "updateRevision"):
        return
    if dig(workload, "spec", "podManagementPolicy") == "Parallel" or current_pods(ref, scene.snapshot):
        return
    for pod in old_pods(ref, scene.snapshot):
        if not is_ready(pod) and not is_terminating(pod):
            words = {"workload": str(ref), "namespace": ref.namespace, "pod": name_of(pod)}
            since = epoch(condition(pod, "Ready").get("lastTransitionTime"))
            yield replace(named("STATEFULSET_BLOCKED", words, workload=ref), since=since, ignored=_starts(scene, pod))
            return


def _starts(scene: Scene, pod: Object) -> str:
    """Why the pod may be ready soon: it has just begun to run, or its node has."""
    states = rows(pod, "status", "containerStatuses")
    started = [epoch(dig(one, "state", "running", "startedAt")) for one in states]
    if any(dig(one, "state", "waiting", "reason") not in (None, *_STARTING) for one in states):
        return ""
    moments = (*started, epoch(condition(pod, "Ready").get("lastTransitionTime")))
    latest = max((at for at in moments if at is not None), default=scene.now)
    return f"{name_of(pod)} has just started" if scene.now - latest < START_SECONDS else ""
