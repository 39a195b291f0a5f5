"""The ladder for one pod's containers: cannot be created, cannot be started, ends, runs but is not ready.

All containers are looked at, init containers and sidecars included: the first waiting one is often only waiting
for another, and would hide the cause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployer.core.text import clean_text, one_line
from deployer.diagnosis.crashes import (
    crash_finding,
    dependency_finding,
    killed_by,
    probe_advice,
    probe_answers,
    run_finding,
    why_ignored,
)
from deployer.diagnosis.finding import Finding, Scene, first_time, last_lines, named, pod_words
from deployer.diagnosis.logs import last_words, log_of
from deployer.diagnosis.needs import (
    CONFIG_REASONS,
    CREATE_REASONS,
    IMAGE_REASONS,
    Container,
    config_finding,
    create_finding,
    events_of,
    image_finding,
)
from deployer.status import Object, WorkloadRef
from deployer.status.objects import (
    condition,
    dig,
    epoch,
    event_time,
    has_condition,
    name_of,
    number,
    probe_request,
    rows,
)

START_SECONDS = 30.0
"""A server that is not ready so soon after its start is an ordinary sight."""
RETRY_SECONDS = 5.0
"""So long a program may take to try again what it could not reach."""


def container_findings(scene: Scene, ref: WorkloadRef, pod: Object) -> Iterator[Finding]:
    """What is wrong with each of the pod's containers."""
    if dig(pod, "status", "phase") == "Succeeded" or dig(pod, "status", "reason"):
        return  # done, or turned away by the node: that is said of the pod
    for container in containers_of(ref, pod):
        found = _of(scene, container)
        if found is not None:
            yield found
    yield from _gate_findings(ref, pod)


def _gate_findings(ref: WorkloadRef, pod: Object) -> Iterator[Finding]:
    """The readiness gates that keep a pod of ready containers from being ready."""
    row = condition(pod, "Ready")
    if row.get("status") == "True" or not has_condition(pod, "ContainersReady"):
        return
    gates = (str(gate.get("conditionType")) for gate in rows(pod, "spec", "readinessGates"))
    closed = [gate for gate in gates if not has_condition(pod, gate)]
    if closed:
        names = ", ".join(f"`{gate}`" for gate in closed)
        what = f"{names}, which nobody has set" if not any(condition(pod, gate) for gate in closed) else names
        since = epoch(condition(pod, "ContainersReady").get("lastTransitionTime"))
        made = named("READINESS_GATE", pod_words(ref, pod, what=what), workload=ref)
        yield replace(made, detail=one_line(row.get("message") or ""), since=since)


def containers_of(ref: WorkloadRef, pod: Object) -> Iterator[Container]:
    """The pod's containers, init containers first."""
    for init, kind in ((True, "initContainer"), (False, "container")):
        specs = {str(spec.get("name")): spec for spec in rows(pod, "spec", f"{kind}s")}
        for status in rows(pod, "status", f"{kind}Statuses"):
            name = str(status.get("name"))
            spec = specs.get(name, {})
            # https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
            yield Container(ref, pod, name, spec, status, init, init and spec.get("restartPolicy") == "Always")


def _of(scene: Scene, container: Container) -> Finding | None:
    waiting, ended = dig(container.status, "state", "waiting"), dig(container.status, "state", "terminated")
    if waiting:
        return _waiting(scene, container, waiting)
    if ended:
        done = number(ended, "exitCode") == 0 and (_may_end(container) or not _again(container))
        return None if done else crash_finding(scene, container)
    if dig(container.status, "state", "running") is None:
        return None
    if container.init and not container.sidecar:
        return _init_runs(scene, container)
    ready = container.status.get("ready") is True
    return being_killed(scene, container) or (
        None if ready else crash_finding(scene, container) or _not_ready(scene, container)
    )


def being_killed(scene: Scene, container: Container) -> Finding | None:
    """A container that a probe has said to stop may take its whole grace period for it."""
    if not (running := dig(container.status, "state", "running")):
        return None
    killer = killed_by(scene, container, running)
    kills = map(event_time, events_of(scene, container, "Killing"))
    at, started = max(filter(None, kills), default=0.0), _started(container)
    if killer is None or started is None or at <= started:
        return None
    return replace(killer, since=at, observations=number(container.status, "restartCount") + 1)


def _may_end(container: Container) -> bool:
    return (container.init and not container.sidecar) or container.ref.kind in ("Job", "CronJob")


def _again(container: Container) -> bool:
    return dig(container.pod, "spec", "restartPolicy") in ("Always", None)


def _waiting(scene: Scene, container: Container, waiting: Object) -> Finding | None:
    reason, message = str(waiting.get("reason") or ""), clean_text(waiting.get("message") or "")
    if reason in IMAGE_REASONS:
        return image_finding(scene, container, reason, message)
    if reason in CONFIG_REASONS:
        return config_finding(scene, container, message)
    if reason in CREATE_REASONS:
        return create_finding(scene, container, message)
    if reason == "RunContainerError":
        return run_finding(scene, container, message)
    return crash_finding(scene, container) if reason == "CrashLoopBackOff" else None


def _init_runs(scene: Scene, container: Container) -> Finding | None:
    """An init container that waits says for what only in its log."""
    text = log_of(scene.logs, name_of(container.pod), container.name, False)
    words = last_words(text) if text else None
    if text is None or words is None or words.code != "DEPENDENCY":
        return None
    made = dependency_finding(scene, container, words, scene.now)
    ignored = made.ignored or "it goes on trying"
    return replace(made, evidence=last_lines(text), since=_started(container), ignored=ignored)


def _not_ready(scene: Scene, container: Container) -> Finding | None:
    starting = container.status.get("started") is False and dig(container.spec, "startupProbe") is not None
    kind, code = ("startup", "STARTUP_PROBE") if starting else ("readiness", "READINESS_PROBE")
    answers, started = probe_answers(scene, container, kind), _started(container)
    age = scene.now - started if started is not None else 0.0
    allowed = _allowance(dig(container.spec, f"{kind}Probe"), starting)
    unhealthy = [event for event in events_of(scene, container, "Unhealthy") if _is(event, kind)]
    if not starting and started is not None and (startup := dig(container.spec, "startupProbe")) is not None:
        # Readiness is asked for once the startup probe has succeeded, which is seen by the first answer alone.
        asked_at = first_time(unhealthy)
        allowed += max(0.0, asked_at - started) if asked_at is not None else _allowance(startup, True)
    text = log_of(scene.logs, name_of(container.pod), container.name, False) or ""
    words = last_words(text)
    says = not starting and words is not None and words.code in ("DEPENDENCY", "DB_PASSWORD")
    if not answers and age < allowed and not says:
        return None
    if words and words.code == "DEPENDENCY" and not starting:
        # It goes on trying, and is asked again only when the probe's period is over.
        soon = number(dig(container.spec, "readinessProbe"), "periodSeconds", default=10) + RETRY_SECONDS
        made = dependency_finding(scene, container, words, scene.now - soon, runs=True)
    elif words and words.code == "DB_PASSWORD" and not starting:
        made = named(words.code, container.words(), workload=container.ref)
    else:
        made = named(code, container.words(), *probe_advice(container, kind, answers), workload=container.ref)
    failures = sum(number(event, "count", default=1) for event in unhealthy)
    ignored = f"it started {age:.0f} s ago" if age < allowed else "not yet killed for it" if starting else ""
    if not ignored and started is not None and started + 1 < scene.since:
        ignored, _ = why_ignored(
            scene, container, "", None
        )  # it was ready before the run: another part of it is not yet
    return replace(
        made,
        detail=" | ".join(filter(None, (probe_request(dig(container.spec, f"{kind}Probe")), *answers[-1:]))),
        since=first_time(unhealthy) or started,
        evidence=last_lines(text),
        # A probe's failures are the deadline's to judge; what counts for a dependency is restarts.
        observations=max(1, failures) if made.code == code else number(container.status, "restartCount"),
        ignored=made.ignored or ignored,
    )


def _is(event: Object, kind: str) -> bool:
    return str(event.get("message") or "").lower().startswith(kind)


def _started(container: Container) -> float | None:
    return epoch(dig(container.status, "state", "running", "startedAt"))


def _allowance(probe: Object | None, starting: bool) -> float:
    """How long a start may take by the probe's own numbers."""
    delay, period = number(probe, "initialDelaySeconds"), number(probe, "periodSeconds", default=10)
    return delay + (number(probe, "failureThreshold", default=3) * period if starting else START_SECONDS)
