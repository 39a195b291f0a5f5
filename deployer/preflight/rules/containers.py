"""Rules on containers: requests and limits, probes, users."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from deployer.config.spec import Image, Release
from deployer.core.image_ref import parse_ref
from deployer.core.ports import Object
from deployer.core.values import set_at, value_at
from deployer.core.yaml import Location
from deployer.plan import ImagePlan, ReleasePlan, filled
from deployer.preflight.rules.capacity import quantity
from deployer.preflight.rules.model import (
    Container,
    NotBuilt,
    Rendered,
    Subject,
    Violation,
    is_test,
    rule,
    texts_of,
    workload_of,
)
from deployer.sources.dockerfile import last_base

_NO_REGISTRY = ".invalid"


@dataclass(frozen=True, slots=True)
class Mapped:
    """One value that the spec hands over: where the spec says so, its path, and another value to try."""

    location: Location
    path: str
    value: Any
    other: Any

    @property
    def is_image(self) -> bool:
        """Whether it names an image."""
        return self.location[2] == "images"


def mapped_values(name: str, spec: Release, plan: ReleasePlan) -> tuple[Mapped, ...]:
    """Every value that the spec maps into the release, those of parts that are switched off left out."""
    found: list[Mapped] = []
    sides = (("images", spec.images, plan.images), ("secrets", spec.secrets, plan.secrets))
    for kind, mappings, on in sides:
        for source in on:
            for path, template in mappings[source].items():
                mark = f"{len(found) + 1:04d}"
                value = value_at(plan.values, path)
                other = _other(template, value, mark)
                if other != value:
                    found.append(Mapped(("releases", name, kind, source, path), path, value, other))
    return tuple(found)


def verbatim(value: Any, objects: Sequence[Object]) -> bool:
    """Whether the objects contain the text as it is."""
    return isinstance(value, str) and bool(value) and any(value in text for text in texts_of(list(objects)))


def with_others(values: Mapping[str, Any], tried: Sequence[Mapped]) -> dict[str, Any]:
    """The values with each of these replaced by its other one."""
    changed: dict[str, Any] = copy.deepcopy(dict(values))
    for one in tried:
        set_at(changed, one.path, one.other)
    return changed


def without_tags(plan: ReleasePlan, spec: Release, refs: Mapping[str, str]) -> dict[str, Any]:
    """The release's values with the images' tags taken out: what is left decides the shape of what it renders."""
    values = copy.deepcopy(dict(plan.values))
    for image in plan.images:
        for path in spec.images[image]:
            value = value_at(values, path)
            if isinstance(value, str):
                one = Mapped((), path, value, value.replace(refs[image], "TAG"))
                values = with_others(values, (one,))
    return values


def not_built(
    mapped: Sequence[Mapped], changed: Sequence[Object] | None, rendered: Rendered, images: Mapping[str, ImagePlan]
) -> tuple[NotBuilt, ...]:
    """Where a mapped value makes a container use an image that is none of `images`.

    `changed` is what renders with the other values of all that is mapped: they show which value makes which name.
    Where that does not render, a tag that names a content of ours shows it.
    """
    refs = {parse_ref(image.ref).familiar for image in images.values()}
    digests = {(parse_ref(image.repository).short, image.unknown_digest) for image in images.values()}
    ours = [one for one in mapped if one.is_image and isinstance(one.value, str) and one.other]
    found: dict[Location, NotBuilt] = {}
    objects = rendered.objects if changed is None else changed
    for work in filter(None, (workload_of(rendered.release, body) for body in objects)):
        for container in work.containers(init=True) if work.starts and not is_test(work.body) else ():
            used, image = _written_back(str(container.get("image") or ""), ours, images, tried=changed is not None)
            ref = parse_ref(image)
            known = (ref.short, ref.digest) in digests if ref.digest else ref.familiar in refs
            if used is not None and not known:
                built = images[str(used.location[3])].ref
                found.setdefault(used.location, NotBuilt(used.location, work.label, image, built))
    return tuple(found.values())


def _written_back(
    image: str, mapped: Sequence[Mapped], images: Mapping[str, ImagePlan], *, tried: bool
) -> tuple[Mapped | None, str]:
    """The image as it is without trying other values, and the mapped value that decides what it is."""
    if not tried:
        tags = {name: one.tag for name, one in images.items() if one.content[:12] in one.tag}
        tag = parse_ref(image).tag
        return next((one for one in mapped if tag and tags.get(str(one.location[3])) == tag), None), image
    used = [one for one in mapped if one.other in image]
    for one in sorted(used, key=lambda one: -len(one.other)):
        image = image.replace(one.other, one.value)
    return next((one for one in used if not one.other.endswith(_NO_REGISTRY)), None), image


def may_be_misled(objects: Sequence[Object], release: ReleasePlan, images: Mapping[str, ImagePlan]) -> bool:
    """Whether a container has a repository or tag of these images, and is none of them."""
    parts = {one.tag for one in images.values()} | {parse_ref(one.ref).short for one in images.values()}
    refs = {parse_ref(one.ref).familiar for one in images.values()}
    for work in filter(None, (workload_of(release, body) for body in objects)):
        for container in work.containers(init=True):
            ref = parse_ref(str(container.get("image") or ""))
            if (ref.digest or ref.familiar not in refs) and {ref.tag, ref.short} & parts:
                return True
    return False


def _other(template: str, value: Any, mark: str) -> Any:
    if template == "{checksums}":
        return dict.fromkeys(value, f"{mark}00000000") if isinstance(value, Mapping) else value
    tag = f"0.0.0-{mark}00000000"
    known = {
        "registry": f"probe-{mark}{_NO_REGISTRY}", "repository": f"probe-{mark}", "name": f"probe-{mark}", "tag": tag,
        "ref": f"probe-{mark}:{tag}", "checksum": f"{mark}00000000",
        "digest": f"sha256:{mark:0<64}" if "sha256:" in str(value) else "",
    }  # fmt: skip
    return filled(template, known)


_LOWEST_USER = 1000


@rule("REQUESTS_MISSING", "policy", "topology 000 Deployment; topology 004 Resource Constraints",
      hint="resources.requests: {cpu: 100m, memory: 128Mi}")  # fmt: skip
def requests(subject: Subject) -> Iterator[Violation]:
    """Every long-running container requests CPU and memory."""
    yield from _lacking(subject, "requests", "the scheduler cannot tell whether it fits")


@rule("LIMITS_MISSING", "policy", "topology 000 Deployment; topology 004 Resource Constraints",
      hint="resources.limits: {cpu: 500m, memory: 256Mi}")  # fmt: skip
def limits(subject: Subject) -> Iterator[Violation]:
    """Every long-running container has limits for CPU and memory."""
    yield from _lacking(subject, "limits", "it may take what its neighbours need")


@rule("QUANTITY_INVALID", "certain", "Kubernetes docs, Resource Management",
      hint="write 250m or 0.5 for CPU, 512Mi or 1Gi for memory")  # fmt: skip
def quantities(subject: Subject) -> Iterator[Violation]:
    """Requests and limits are quantities."""
    for one in subject.containers(init=True):
        for field in ("requests", "limits"):
            for resource, amount in one.resources(field).items():
                try:
                    quantity(amount)
                except ValueError as error:
                    yield one.violation(f"{field}.{resource}: {error}", "resources", field)


@rule(
    "REQUEST_ABOVE_LIMIT", "certain", "topology 003 Deployment Constraints", hint="lower the request or raise the limit"
)
def request_above_limit(subject: Subject) -> Iterator[Violation]:
    """No request is above its limit."""
    for one, resource, asked, most in _pairs(subject):
        if asked > most:
            what = f"requests more {resource} than its limit allows ({_amounts(one, resource)})"
            yield one.violation(what, "resources", "requests")


@rule("REQUEST_AT_LIMIT", "advice", "topology 003 Deployment Constraints (requests < limits)",
      hint="lower the request: the container may still use up to its limit")  # fmt: skip
def request_at_limit(subject: Subject) -> Iterator[Violation]:
    """A request is below its limit."""
    for one, resource, asked, most in _pairs(subject):
        if asked == most:
            what = f"requests as much {resource} as its limit ({_amounts(one, resource)})"
            yield one.violation(what, "resources", "requests")


@rule("LIVENESS_MISSING", "policy", "topologies 000, 002, 003 and 004",
      hint="livenessProbe: {httpGet: {path: /health, port: http}}")  # fmt: skip
def liveness(subject: Subject) -> Iterator[Violation]:
    """Every long-running container has a liveness probe."""
    yield from _without_probe(subject, "liveness")


@rule("READINESS_MISSING", "policy", "topologies 000, 002, 003 and 004",
      hint="readinessProbe: {httpGet: {path: /ready, port: http}}")  # fmt: skip
def readiness(subject: Subject) -> Iterator[Violation]:
    """Every long-running container has a readiness probe."""
    yield from _without_probe(subject, "readiness")


@rule("PROBE_PORT", "certain", "Kubernetes docs, Probes",
      hint="use a port, or the name of a port, that the container declares")  # fmt: skip
def probe_ports(subject: Subject) -> Iterator[Violation]:
    """Probes that pods wait for ask ports that the container has (any number, or a liveness probe: advice).

    A probe that cannot be asked counts as no answer (kubernetes pkg/kubelet/prober): liveness then never fails.
    """
    for one in subject.containers():
        ports = one.body.get("ports") or ()
        names, numbers = {one.get("name") for one in ports}, {one.get("containerPort") for one in ports}
        for probe in ("startup", "liveness", "readiness"):
            body = one.body.get(f"{probe}Probe") or {}
            for way in ("httpGet", "tcpSocket", "grpc"):
                port = (body.get(way) or {}).get("port")
                if isinstance(port, str) and not port.isdigit() and port not in names:
                    what = f"its {probe} probe asks port `{port}`, which it does not have"
                    waited = probe != "liveness" and one.workload.runs_on and one.workload.starts
                    yield one.violation(what, "probes", probe, severity=None if waited else "warning")
                elif isinstance(port, int) and numbers and port not in numbers:
                    listens = ", ".join(str(one) for one in sorted(filter(None, numbers)))
                    what = f"its {probe} probe asks port {port}; it declares {listens}"
                    yield one.violation(what, "probes", probe, severity="warning")


@rule("PROBE_TIMEOUT", "advice", "topology 004 Health Check Requirements",
      hint="lower timeoutSeconds or raise periodSeconds")  # fmt: skip
def probe_timeouts(subject: Subject) -> Iterator[Violation]:
    """A probe's time-out is not longer than its period."""
    for one in subject.containers():
        for probe in ("liveness", "readiness"):
            body = one.body.get(f"{probe}Probe") or {}
            waits, every = body.get("timeoutSeconds", 1), body.get("periodSeconds", 10)
            if isinstance(waits, int) and isinstance(every, int) and waits > every:
                what = f"its {probe} probe waits {waits} s for an answer and asks every {every} s"
                yield one.violation(what, "probes", probe)


@rule("RUNS_AS_ROOT", "policy", "topologies 000, 003 (Deployment Constraints) and 004 (Security)",
      hint="securityContext: {runAsNonRoot: true, runAsUser: 1001}")  # fmt: skip
def non_root(subject: Subject) -> Iterator[Violation]:
    """Every container has runAsNonRoot: true and not user 0."""
    for one in subject.containers(init=True):
        context = one.security
        if context.get("runAsUser") == 0:
            yield one.violation("runs as root (runAsUser: 0)", "podSecurityContext")
        elif context.get("runAsNonRoot") is not True:
            yield one.violation("may run as root: runAsNonRoot is not true", "podSecurityContext")


@rule("SYNC_READ_ONLY", "advice", "Kubernetes docs, Security Context (readOnlyRootFilesystem)",
      hint="containerSecurityContext: {readOnlyRootFilesystem: false}, in a profile of the spec for `dev`")  # fmt: skip
def sync_read_only(subject: Subject) -> Iterator[Violation]:
    """Where the spec has `sync`, the container can be written to."""
    for one, image in _synced(subject):
        if one.security.get("readOnlyRootFilesystem") is not True:
            continue
        mounts = [str(mount.get("mountPath") or "").rstrip("/") for mount in one.body.get("volumeMounts") or ()]
        closed = [rule.to for rule in image.sync if not any(f"{rule.to}/".startswith(f"{at}/") for at in mounts)]
        if closed:
            what = f"`dev` cannot copy files to {closed[0]}: its file system is read-only"
            yield one.violation(what, "containerSecurityContext", "readOnlyRootFilesystem")


@rule("SYNC_NO_TAR", "advice", "`sync` of the spec needs `sh`, `head` and `tar` in the container",
      hint="another `target` or base image, in a profile of the spec for `dev`")  # fmt: skip
def sync_without_tar(subject: Subject) -> Iterator[Violation]:
    """Where the spec has `sync`, the image is not made of a base without a shell (`scratch`, distroless)."""
    plans = {image.ref: image for image in subject.plan.images if image.dockerfile.is_file()}
    for one, image in _synced(subject):
        plan = plans.get(one.image)
        if plan is None:
            continue
        base = last_base(plan.dockerfile.read_text(encoding="utf-8", errors="replace"), plan.args, image.target)
        if base == "scratch" or ("distroless" in base and "debug" not in base):
            yield one.violation(f"`dev` cannot copy files into it: its image is made of {base}, without `tar`")


def _synced(subject: Subject) -> Iterator[tuple[Container, Image]]:
    """The containers whose image has `sync` in the spec."""
    images = {plan.ref: subject.loaded.spec.images[plan.name] for plan in subject.plan.images}
    for one in subject.containers(steady=True):
        if one.image in images and images[one.image].sync:
            yield one, images[one.image]


@rule("USER_NOT_NUMERIC", "certain", "topology 003 Deployment Constraints; Kubernetes docs, Security Context",
      hint="runAsUser: 1001 in the pod, or USER 1001 in the Dockerfile")  # fmt: skip
def numeric_user(subject: Subject) -> Iterator[Violation]:
    """The user of every container is a number, in the pod or in the image."""
    images = {image.ref: subject.machine.image_users.get(image.name) for image in subject.plan.images}
    for one in subject.containers(init=True):
        context = one.security
        if context.get("runAsUser") is not None or context.get("runAsNonRoot") is not True:
            continue
        user = images.get(one.image)
        if user is not None and user.split(":")[0].isdigit() and user.split(":")[0] != "0":
            continue
        if user is not None:
            what = f"runAsNonRoot needs a number, and its image's user is `{user or 'root'}`"
            yield one.violation(what, "podSecurityContext", severity=None if one.workload.starts else "warning")
        else:
            what = "has no runAsUser: it starts only if its image's user is a number"
            yield one.violation(what, "podSecurityContext", severity="warning")


@rule("USER_BELOW_1000", "advice", "topology 003 Deployment Constraints", hint="runAsUser: 1001")
def low_user(subject: Subject) -> Iterator[Violation]:
    """No container runs as a user below 1000."""
    for one in subject.containers():
        user = one.security.get("runAsUser")
        if isinstance(user, int) and 0 < user < _LOWEST_USER:
            yield one.violation(f"runs as user {user}, below {_LOWEST_USER}", "podSecurityContext")


def _lacking(subject: Subject, field: str, why: str) -> Iterator[Violation]:
    for one in subject.containers(steady=True):
        absent = [resource for resource in ("cpu", "memory") if resource not in one.resources(field)]
        if absent:
            yield one.violation(f"has no {field} for {' and '.join(absent)}: {why}", "resources", field)


def _pairs(subject: Subject) -> Iterator[tuple[Container, str, Fraction, Fraction]]:
    """Every resource of a container that has both a request and a limit."""
    for one in subject.containers(init=True):
        most = one.resources("limits")
        for resource, asked in one.resources("requests").items():
            if resource in most:
                with suppress(ValueError):  # reported by its own rule
                    yield one, resource, quantity(asked), quantity(most[resource])


def _amounts(one: Container, resource: str) -> str:
    return f"{one.resources('requests')[resource]} of {one.resources('limits')[resource]}"


def _without_probe(subject: Subject, probe: str) -> Iterator[Violation]:
    for one in subject.containers(steady=True):
        if not one.body.get(f"{probe}Probe"):
            yield one.violation(f"has no {probe} probe", "probes", probe)
