"""Rules on containers: requests and limits, probes, users."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from deployer.core.ports import Object
from deployer.preflight.rules.model import Breach, Rule, Subject, Workload, place_of
from deployer.preflight.rules.quantities import quantity

_LOWEST_USER = 1000


def requests(subject: Subject) -> Iterator[Breach]:
    """Long-running containers without requests for CPU and memory."""
    yield from _lacking(subject, "requests", "the scheduler cannot tell whether it fits")


def limits(subject: Subject) -> Iterator[Breach]:
    """Long-running containers without limits for CPU and memory."""
    yield from _lacking(subject, "limits", "it may take what its neighbours need")


def quantities(subject: Subject) -> Iterator[Breach]:
    """Requests and limits that are no quantities."""
    for workload, container in _containers(subject, init=True):
        for field in ("requests", "limits"):
            for resource, amount in ((container.get("resources") or {}).get(field) or {}).items():
                try:
                    quantity(amount)
                except ValueError as error:
                    yield _breach(workload, container, f"{field}.{resource}: {error}", "resources", field)


def request_above_limit(subject: Subject) -> Iterator[Breach]:
    """Requests above their limits, which the API server refuses."""
    for workload, container, resource, asked, most in _pairs(subject):
        if asked > most:
            told = f"requests more {resource} than its limit allows ({_told(container, resource)})"
            yield _breach(workload, container, told, "resources", "requests")


def request_at_limit(subject: Subject) -> Iterator[Breach]:
    """Requests that equal their limits: nothing is left for a burst."""
    for workload, container, resource, asked, most in _pairs(subject):
        if asked == most:
            told = f"requests as much {resource} as its limit ({_told(container, resource)})"
            yield _breach(workload, container, told, "resources", "requests")


def liveness(subject: Subject) -> Iterator[Breach]:
    """Long-running containers that nobody would notice to hang."""
    yield from _without_probe(subject, "liveness")


def readiness(subject: Subject) -> Iterator[Breach]:
    """Long-running containers that get traffic before they can serve it."""
    yield from _without_probe(subject, "readiness")


def probe_ports(subject: Subject) -> Iterator[Breach]:
    """Probes that ask a port by a name that the container does not have, or by a number it does not declare."""
    for workload, container in _containers(subject):
        ports = container.get("ports") or ()
        names, numbers = {one.get("name") for one in ports}, {one.get("containerPort") for one in ports}
        for probe in ("startup", "liveness", "readiness"):
            body = container.get(f"{probe}Probe") or {}
            for way in ("httpGet", "tcpSocket", "grpc"):
                port = (body.get(way) or {}).get("port")
                if isinstance(port, str) and not port.isdigit() and port not in names:
                    told = f"its {probe} probe asks port `{port}`, which it does not have"
                    yield _breach(workload, container, told, "probes", probe)
                elif isinstance(port, int) and numbers and port not in numbers:
                    listens = ", ".join(str(one) for one in sorted(filter(None, numbers)))
                    told = f"its {probe} probe asks port {port}; it declares {listens}"
                    yield _breach(workload, container, told, "probes", probe, warn=True)


def probe_timeouts(subject: Subject) -> Iterator[Breach]:
    """Probes that may still be waiting when the next one is due; while it starts, nobody waits for the next."""
    for workload, container in _containers(subject):
        for probe in ("liveness", "readiness"):
            body = container.get(f"{probe}Probe") or {}
            waits, every = body.get("timeoutSeconds", 1), body.get("periodSeconds", 10)
            if isinstance(waits, int) and isinstance(every, int) and waits > every:
                told = f"its {probe} probe waits {waits} s for an answer and asks every {every} s"
                yield _breach(workload, container, told, "probes", probe)


def non_root(subject: Subject) -> Iterator[Breach]:
    """Containers that may run as root."""
    for workload, container in _containers(subject, init=True):
        context = _security(workload, container)
        if context.get("runAsUser") == 0:
            yield _breach(workload, container, "runs as root (runAsUser: 0)", "podSecurityContext")
        elif context.get("runAsNonRoot") is not True:
            yield _breach(workload, container, "may run as root: runAsNonRoot is not true", "podSecurityContext")


def numeric_user(subject: Subject) -> Iterator[Breach]:
    """Containers of which Kubernetes cannot know that their user is not root."""
    images = {image.ref: subject.machine.image_users.get(image.name) for image in subject.plan.images}
    for workload, container in _containers(subject, init=True):
        context = _security(workload, container)
        if context.get("runAsUser") is not None or context.get("runAsNonRoot") is not True:
            continue
        user = images.get(str(container.get("image")))
        if user is not None and user.split(":")[0].isdigit() and user.split(":")[0] != "0":
            continue
        if user is not None:
            told = f"runAsNonRoot needs a number, and its image's user is `{user or 'root'}`"
            yield _breach(workload, container, told, "podSecurityContext")
        else:
            told = "has no runAsUser: it starts only if its image's user is a number"
            yield _breach(workload, container, told, "podSecurityContext", warn=True)


def low_user(subject: Subject) -> Iterator[Breach]:
    """Containers that run as a user of the system."""
    for workload, container in _containers(subject):
        user = _security(workload, container).get("runAsUser")
        if isinstance(user, int) and 0 < user < _LOWEST_USER:
            yield _breach(workload, container, f"runs as user {user}, below {_LOWEST_USER}", "podSecurityContext")


def _containers(subject: Subject, *, init: bool = False) -> Iterator[tuple[Workload, Object]]:
    for workload in subject.workloads():
        for container in workload.containers(init=init):
            yield workload, container


def _lacking(subject: Subject, field: str, why: str) -> Iterator[Breach]:
    for workload, container in _containers(subject):
        given = (container.get("resources") or {}).get(field) or {}
        absent = [one for one in ("cpu", "memory") if one not in given]
        if workload.runs_on and absent:
            told = f"has no {field} for {' and '.join(absent)}: {why}"
            yield _breach(workload, container, told, "resources", field)


def _pairs(subject: Subject) -> Iterator[tuple[Workload, Object, str, Fraction, Fraction]]:
    for workload, container in _containers(subject, init=True):
        resources = container.get("resources") or {}
        most = resources.get("limits") or {}
        for resource, asked in (resources.get("requests") or {}).items():
            if resource not in most:
                continue
            try:
                yield workload, container, resource, quantity(asked), quantity(most[resource])
            except ValueError:  # told by its own rule
                continue


def _told(container: Object, resource: str) -> str:
    resources = container["resources"]
    return f"{resources['requests'][resource]} of {resources['limits'][resource]}"


def _without_probe(subject: Subject, probe: str) -> Iterator[Breach]:
    for workload, container in _containers(subject):
        if workload.runs_on and not container.get(f"{probe}Probe"):
            yield _breach(workload, container, f"has no {probe} probe", "probes", probe)


def _security(workload: Workload, container: Object) -> Object:
    """What holds for the container: its own settings over its pod's."""
    return {**(workload.pod.get("securityContext") or {}), **(container.get("securityContext") or {})}


def _breach(workload: Workload, container: Object, told: str, *path: str, warn: bool = False) -> Breach:
    name = str(container.get("name") or "")
    who = f"{workload.label}:" if name == workload.name else f"{workload.label}, container `{name}`:"
    place = place_of(workload.release, workload.body, *path)
    return Breach(f"{who} {told}", place, severity="warning" if warn else None)


RULES = (
    Rule("REQUESTS_MISSING", "S0 Deployment; S4 Resource Constraints", "error",
         "Every long-running container requests CPU and memory.", requests),
    Rule("LIMITS_MISSING", "S0 Deployment; S4 Resource Constraints", "error",
         "Every long-running container has limits for CPU and memory.", limits),
    Rule("QUANTITY_INVALID", "Kubernetes docs, Resource Management", "error",
         "Requests and limits are quantities.", quantities),
    Rule("REQUEST_ABOVE_LIMIT", "S3 Deployment Constraints", "error",
         "No request is above its limit.", request_above_limit),
    Rule("REQUEST_AT_LIMIT", "S3 Deployment Constraints (requests < limits)", "warning",
         "A request is below its limit.", request_at_limit),
    Rule("LIVENESS_MISSING", "S0 Deployment; S2 Validation Rules; S3; S4", "error",
         "Every long-running container has a liveness probe.", liveness),
    Rule("READINESS_MISSING", "S0 Deployment; S2 Validation Rules; S3; S4", "error",
         "Every long-running container has a readiness probe.", readiness),
    Rule("PROBE_PORT", "Kubernetes docs, Probes", "error",
         "Probes ask ports that the container has (a number that is not declared is a warning).", probe_ports),
    Rule("PROBE_TIMEOUT", "S4 Health Check Requirements", "warning",
         "A probe's time-out is not longer than its period.", probe_timeouts),
    Rule("RUNS_AS_ROOT", "S0 Container Image; S3 Deployment Constraints; S4 Security", "error",
         "Every container has runAsNonRoot: true and not user 0.", non_root),
    Rule("USER_NOT_NUMERIC", "S3 Deployment Constraints; Kubernetes docs, Security Context", "error",
         "The user of every container is a number, in the pod or in the image.", numeric_user),
    Rule("USER_BELOW_1000", "S3 Deployment Constraints", "warning",
         "No container runs as a user below 1000.", low_user),
)  # fmt: skip
