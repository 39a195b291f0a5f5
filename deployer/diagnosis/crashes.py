"""A container that was created and does not stay: it cannot be started, ends, is killed, or cannot reach another.

Giving up on the first crash is wrong for a service that ends until its database is up: the restarts are then
Kubernetes' ordinary way of waiting (https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace

from deployer.core.text import clean_text, one_line
from deployer.diagnosis.attempts import attempts_of
from deployer.diagnosis.causes import says_itself
from deployer.diagnosis.finding import Finding, Scene, first_time, last_lines, named
from deployer.diagnosis.logs import LastWords, exit_meaning, last_words, log_of, signature, telling_line
from deployer.diagnosis.needs import Container, events_of
from deployer.status import Object, Phase, WorkloadRef, current_pods, workload_status
from deployer.status.objects import (
    condition,
    dig,
    epoch,
    event_time,
    find,
    name_of,
    namespace_of,
    number,
    pod_labels,
    probe_request,
)

CANNOT_RUN = {"ContainerCannotRun", "StartError"}
"""`terminated.reason` of a first process that could not be executed: Docker's word and containerd's."""

_RUNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("EXEC_FORMAT", re.compile(r"exec:? \"?(?P<what>[^\s\":]+)\"?: .{0,400}exec format error|exec format error")),
    ("RUN_NO_SUCH_FILE", re.compile(r"exec:? \"?(?P<what>[^\s\":]+)\"?: .{0,400}executable file not found")),
    ("RUN_NO_SUCH_FILE", re.compile(r"exec:? \"?(?P<what>[^\s\":]+)\"?: .{0,400}no such file or directory")),
    ("RUN_PERMISSION", re.compile(r"exec:? \"?(?P<what>[^\s\":]+)\"?: .{0,400}permission denied")),
)
_RUNTIME = re.compile(r"^.*(?:OCI runtime create failed|Error response from daemon): (?:runc create failed: )?", re.S)


def run_finding(scene: Scene, container: Container, message: str, ended: Object | None = None) -> Finding:
    """Why the container's first process could not be executed."""
    code, what = "RUN_FAILED", _RUNTIME.sub("", clean_text(message))
    for known, pattern in _RUNS:
        if match := pattern.search(message):
            code, what = known, f"`{match['what']}`" if match["what"] else _UNNAMED[known]
            break
    since = epoch(dig(ended, "finishedAt")) or first_time(events_of(scene, container, "Failed"))
    made = named(code, container.words(what=what), workload=container.ref)
    return replace(made, detail=one_line(message), since=since)


def crash_finding(scene: Scene, container: Container) -> Finding | None:
    """Why the container's process ended the last time, if it ended in this run."""
    last = dig(container.status, "lastState", "terminated")
    down = dig(container.status, "state", "running") is None
    ended = last_end(container)
    if ended is None or ended_with_sandbox(scene, container, ended):
        return None
    finished = epoch(ended.get("finishedAt"))
    # Timestamps of the API are cut to whole seconds. What ended before this run and runs again is history.
    if not down and (finished is None or finished + 1 <= scene.since):
        return None
    message = str(ended.get("message") or "")
    if ended.get("reason") in CANNOT_RUN:
        return run_finding(scene, container, message, ended)
    previous = (True, False) if ended is last else (False, True)
    text = log_of(scene.logs, str(dig(container.pod, "metadata", "name")), container.name, *previous)
    exit_code = number(ended, "exitCode")
    made = _named(scene, container, ended, text or message)
    restarts = number(container.status, "restartCount")
    job = find(container.ref, scene.snapshot) if container.ref.kind == "Job" else None
    return replace(
        made,
        detail=made.detail or exit_meaning(exit_code),
        since=finished,
        first=_first_end(scene, container),
        evidence=last_lines(text or message),
        observations=attempts_of(job, restarts) + (made.code == "OOM_KILLED" and down and job is None),
        signature=signature(exit_code, text),
        predates=made.predates or _older_than_run(scene, container),
        ignored=made.ignored or _job_tries_again(container, made.code, job),
    )


def last_end(container: Container) -> Object | None:
    """What the status says of the run of the container that ended last; None where none has."""
    states = (dig(container.status, state, "terminated") for state in ("state", "lastState"))
    return next((ended for ended in states if ended), None)


def ended_with_sandbox(scene: Scene, container: Container, ended: Object) -> bool:
    """Whether that run of the container ended because its pod's sandbox did, as where its node stopped.

    Its exit code says nothing of it then: the kubelet makes another sandbox and starts all containers anew.
    """
    # https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-has-network
    gone = condition(container.pod, "PodReadyToStartContainers").get("status") == "False"
    if gone and dig(container.pod, "status", "phase") not in ("Failed", "Succeeded"):
        return True
    # When the condition is True again says less: the kubelet sets it at a later look than that which made the sandbox.
    anew = max((event_time(one) or 0.0 for one in scene.events_of(container.pod, "SandboxChanged")), default=0.0)
    return (epoch(ended.get("startedAt")) or 0.0) < anew


def _first_end(scene: Scene, container: Container) -> float | None:
    """When the container first ended in this run, as far as its status says."""
    ends = (dig(container.status, state, "terminated") for state in ("lastState", "state"))
    times = (epoch(end.get("finishedAt")) for end in ends if end and not ended_with_sandbox(scene, container, end))
    return min((at for at in times if at is not None and at + 1 > scene.since), default=None)


def _named(scene: Scene, container: Container, ended: Object, text: str) -> Finding:
    words, meaning = last_words(text), exit_meaning(number(ended, "exitCode"))
    killer = killed_by(scene, container, ended)
    again = number(ended, "exitCode") == 137 and (name_of(container.pod), container.name) in scene.known.killed
    if ended.get("reason") == "OOMKilled" or (again and killer is None):
        limit = str(dig(container.spec, "resources", "limits", "memory") or "the node")
        made = named("OOM_KILLED", container.words(what=limit), workload=container.ref)
        said = f"OOMKilled, exit code {number(ended, 'exitCode')}, memory limit {limit}"
        return replace(made, detail=f"{said}; {_in_use(scene, container, epoch(ended.get('finishedAt')))}")
    if killer is not None:
        return killer
    if words is None:
        code = "INIT_FAILED" if container.init and not container.sidecar else "CRASH_LOOP"
        line = telling_line(text)
        what = f"exit code {number(ended, 'exitCode')}: {line}" if line else meaning
        made = named(code, container.words(what=what), workload=container.ref)
        return replace(made, detail=meaning)
    if words.code == "DEPENDENCY":
        return dependency_finding(scene, container, words, epoch(ended.get("finishedAt")))
    what = f"`{words.what}`" if words.what else _UNNAMED.get(words.code, "")
    made = named(words.code, container.words(what=what), workload=container.ref)
    return replace(made, detail=f"{meaning}: {one_line(words.line)}")


def _in_use(scene: Scene, container: Container, killed: float | None) -> str:
    """The memory in use before it was killed, as far as the kubelet, which measures every few seconds, saw it."""
    seen = scene.known.memory.get((str(dig(container.pod, "metadata", "name")), container.name))
    if seen is None:
        return "the kubelet measured none of its use"
    before = f", {killed - seen.at:.0f} s before it was killed" if killed is not None and killed > seen.at else ""
    return f"the most that the kubelet measured was {seen.most / 2**20:.1f} MiB{before}"


_UNNAMED = {
    "READ_ONLY_FS": "its root file system",
    "PORT_IN_USE": "a port",
    "ENV_MISSING": "that its log names",
    "MODULE_MISSING": "that its log names",
    "FILE_PERMISSION": "a file that its log names",
    "RUN_NO_SUCH_FILE": "an interpreter",
    "RUN_PERMISSION": "its program",
    "EXEC_FORMAT": "something",
}


_HERE = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104  (an address read in a log, not bound)


def host_of(words: LastWords, scene: Scene, ref: WorkloadRef) -> str:
    """The host's name as the log says it, or the Service's name where it says a cluster address."""
    host = words.what
    service = _service(host, scene, ref)
    return name_of(service) if service and re.fullmatch(r"[\d.]+", host) else host


def _service(host: str, scene: Scene, ref: WorkloadRef) -> Object | None:
    for service in scene.snapshot.services:
        namespace = namespace_of(service) or ref.namespace
        names = {name_of(service) + tail for tail in (f".{namespace}", f".{namespace}.svc", "")}
        short = re.sub(r"\.cluster\.local\.?$", "", host)
        if dig(service, "spec", "clusterIP") == host or (
            short in names and (namespace == ref.namespace or "." in short)
        ):
            return service
    return None


def _candidates(scene: Scene, container: Container, host: str) -> list[WorkloadRef]:
    """The workloads that the host may stand for; none if it stands for nothing of ours."""
    others = [ref for ref in scene.refs if ref != container.ref and ref.kind not in ("Job", "CronJob")]
    if not host:
        return [ref for ref in others if ref.kind == "StatefulSet"] or others
    service = _service(host, scene, container.ref)
    namespace = namespace_of(service) or container.ref.namespace
    others = [ref for ref in others if ref.namespace == namespace]
    selector = dig(service, "spec", "selector") or {}
    if not selector:
        return [ref for ref in others if ref.name == host]
    labels = {ref: pod_labels(find(ref, scene.snapshot)) for ref in others}
    return [ref for ref in others if selector.items() <= labels[ref].items()]


def why_ignored(
    scene: Scene, container: Container, host: str, at: float | None, *, runs: bool = False
) -> tuple[str, float]:
    """Why failing to reach `host` at `at` is still ordinary ("" if it is not), and since when the host is up.

    `runs`: the container did not end by it, but tries again.
    """
    up = 0.0
    if host in _HERE:
        return "", up
    for ref in _candidates(scene, container, host):
        if workload_status(ref, scene.snapshot, scene.now).phase is not Phase.AVAILABLE:
            return f"{ref} is still starting", up
        up = max((up, *(_ready_since(pod) for pod in current_pods(ref, scene.snapshot))))
    if at is not None and at <= up:
        reason = "what it needs has only just come up"
        return reason if runs else "it ended before what it needs was ready, and will be started again", up
    return "", up


def _ready_since(pod: Object) -> float:
    return epoch(condition(pod, "Ready").get("lastTransitionTime")) or 0.0


def dependency_finding(
    scene: Scene, container: Container, words: LastWords, at: float | None, *, runs: bool = False
) -> Finding:
    """The container says that it cannot reach something; ignored while that is still starting."""
    host = host_of(words, scene, container.ref)
    why, counted_from = why_ignored(scene, container, host, at, runs=runs)
    made = named(
        "DEPENDENCY", container.words(what=f"`{host}`" if host else "a service it needs"), workload=container.ref
    )
    created = epoch(dig(container.pod, "metadata", "creationTimestamp")) or 0.0
    # Restarts from the time when the dependency was still starting do not count.
    return replace(made, detail=one_line(words.line), ignored=why, predates=counted_from > created)


def killed_by(scene: Scene, container: Container, run: Object) -> Finding | None:
    """The probe or postStart hook that had this run of the container killed; the kubelet says so only in an event."""
    started = epoch(run.get("startedAt")) or 0.0
    hook, failures = dig(container.spec, "lifecycle", "postStart"), events_of(scene, container, "FailedPostStartHook")
    if hook and failures and (event_time(failures[-1]) or started) + 1 > started:
        does = probe_request(hook)
        words, command = container.words(what=f"its postStart hook fails ({does})"), does.removeprefix("exec ")
        run_it = f"kubectl exec {words['pod']} -c {container.name} -n {container.ref.namespace} -- {command}"
        return named("RUN_FAILED", words, *([run_it] if command != does else []), workload=container.ref)
    for kind, code in (("startup", "STARTUP_PROBE"), ("liveness", "LIVENESS_PROBE")):
        kills = [
            event
            for event in events_of(scene, container, "Killing")
            if f"failed {kind} probe" in str(event.get("message"))
        ]
        if kills and (event_time(kills[-1]) or started) + 1 > started:
            answers = probe_answers(scene, container, kind)
            advice = probe_advice(container, kind, answers)
            made = named(code, container.words(), *advice, workload=container.ref)
            return replace(
                made,
                detail=" | ".join(filter(None, (probe_request(dig(container.spec, f"{kind}Probe")), *answers[-1:]))),
            )
    return None


def probe_answers(scene: Scene, container: Container, kind: str) -> tuple[str, ...]:
    """What the probe was answered, oldest first."""
    events = events_of(scene, container, "Unhealthy", "ProbeWarning")
    texts = (str(event.get("message") or "") for event in events)
    return tuple(one_line(text) for text in texts if text.lower().startswith(kind))


_LATE = "it answers later than the probe's `timeoutSeconds` ({})"


def probe_advice(container: Container, kind: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    """What to look at for a probe that does not succeed: by what it asks, and what it was answered last."""
    probe, last = dig(container.spec, f"{kind}Probe"), answers[-1] if answers else ""
    if (command := dig(probe, "exec", "command")) is not None:
        words, run = container.words(), shlex.join(map(str, command))
        late = (_LATE.format(number(probe, "timeoutSeconds", default=1)),) if "timed out" in last else ()
        return (*late, f"kubectl exec {words['pod']} -c {container.name} -n {container.ref.namespace} -- {run}")
    if (grpc := dig(probe, "grpc")) is not None:
        service = f", service `{grpc['service']}`" if grpc.get("service") else ""
        return (f"the program must serve grpc.health.v1.Health on port {grpc.get('port')}{service}: it is asked there",)
    if "statuscode" in last:
        return ("compare the probe's path with the program's",)
    if re.search(r"deadline exceeded|Client\.Timeout|i/o timeout", last):
        return (_LATE.format(number(probe, "timeoutSeconds", default=1)),)
    if "refused" in last:
        return ("the program must listen on 0.0.0.0 and the probe's port",)
    return ("compare the probe's path and port with the program's",)


def _older_than_run(scene: Scene, container: Container) -> bool:
    created = epoch(dig(container.pod, "metadata", "creationTimestamp"))
    return created is not None and created + 1 <= scene.since


def _job_tries_again(container: Container, code: str, job: Object | None) -> str:
    """A Job retries by itself until its backoffLimit; then, if its log does not name a cause, it has its verdict."""
    # https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-backoff-failure-policy
    if container.ref.kind not in ("Job", "CronJob") or (job is not None and says_itself(code)):
        return ""
    limit = number(job, "spec", "backoffLimit", default=6)
    return f"one attempt of a Job, which tries again until its `backoffLimit` of {limit}"
