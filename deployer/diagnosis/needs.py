"""A container that cannot be created: its image, its configuration, its user."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from deployer.core.image_ref import parse_ref
from deployer.core.text import one_line
from deployer.diagnosis.finding import Finding, Known, Scene, first_time, named, near, pod_words
from deployer.status import Object, WorkloadRef, is_rollout_complete
from deployer.status.objects import dig, epoch, find

# Reasons of `state.waiting` are the kubelet's (pkg/kubelet/images/types.go, kuberuntime_container.go).
IMAGE_REASONS = {
    "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "ErrImagePullBackOff", "InvalidImageName",
    "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed",
}  # fmt: skip
CONFIG_REASONS = {"CreateContainerConfigError"}
CREATE_REASONS = {"CreateContainerError", "PreCreateHookError", "PreStartHookError", "PostStartHookError"}

# The first match decides; the words are the registries' and the Docker daemon's.
_PULLS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("IMAGE_NAME_INVALID", r"InvalidImageName|invalid reference format|couldn't parse image"),
        ("IMAGE_RATE_LIMIT", r"toomanyrequests|429 Too Many|pull rate limit"),
        ("IMAGE_PLATFORM", r"no match(?:ing manifest)? for (?:platform|\w+/\w+)|does not match the specified platform"),
        ("IMAGE_HTTP", r"server gave HTTP response to HTTPS client|first record does not look like a TLS handshake"),
        ("IMAGE_CERTIFICATE", r"x509:|tls: failed to verify|certificate signed by|remote error: tls"),
        ("IMAGE_NETWORK", r"no such host|timeout|TLS handshake|connection refused|network is unreachable"),
        ("IMAGE_NETWORK", r"deadline exceeded|connection reset|temporary failure|server misbehaving"),
        ("IMAGE_NETWORK", r"RegistryUnavailable|\bEOF\b|\b50[234] "),
        ("IMAGE_NOT_FOUND", r"not found|manifest unknown|does not exist|404|name unknown"),
        ("IMAGE_DENIED", r"denied|unauthorized|authentication required|no basic auth|forbidden|401|403"),
    )
)  # fmt: skip
_MISSING = re.compile(r"(?P<kind>secret|configmap) \"(?P<name>[^\"]+)\" not found", re.IGNORECASE)
_MISSING_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?:[^/\s]+/)?(?P<name>\S+)")
# Of a volume, without the object's name (pkg/volume/secret, pkg/volume/configmap).
_NO_KEY = "references non-existent"
_WRONG_USER = re.compile(
    r"image has non-numeric user \([^)]{0,200}\)|image will run as root|breaks non-root policy", re.I
)


_CONTENT_TAG = re.compile(r"-[0-9a-f]{12}$")
"""The end of a tag that is the digest of what it was built from: no other image has it."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod that counts: its spec and its status together."""

    ref: WorkloadRef
    pod: Object
    name: str
    spec: Object
    status: Object
    init: bool
    sidecar: bool

    @property
    def image(self) -> str:
        """The image as the chart asks for it (the status may show a resolved id)."""
        return str(self.spec.get("image") or self.status.get("image") or "")

    def words(self, **more: str) -> dict[str, str]:
        """The words that a title may use."""
        previous = "--previous" if dig(self.status, "lastState", "terminated") else ""
        return pod_words(self.ref, self.pod, self.name, image=self.image, previous=previous, **more)


def events_of(scene: Scene, container: Container, *reasons: str) -> tuple[Object, ...]:
    """The container's own events of these reasons."""
    path = f"{{{container.name}}}"
    events = scene.events_of(container.pod, *reasons)
    return tuple(e for e in events if str(dig(e, "involvedObject", "fieldPath") or path).endswith(path))


def image_finding(scene: Scene, container: Container, reason: str, message: str) -> Finding:
    """Why the image cannot be had."""
    events = events_of(scene, container, "Failed", "ErrImageNeverPull", "InspectFailed")
    said = " ".join((message, *(str(e.get("message") or "") for e in events if "pull" in str(e.get("message")))))
    if reason == "ErrImageNeverPull":
        code = "IMAGE_NEVER_PULL"
    else:
        # The image's own name may hold any of the words that are looked for.
        text = f"{reason} {said}".replace(container.image, "")
        code = next((code for code, pattern in _PULLS if pattern.search(text)), "IMAGE_PULL")
    place, *hints = _where_it_is(scene.known, parse_ref(container.image).familiar)
    name, built = _built_elsewhere(scene.known, container.image)
    if built:
        code, hints = "IMAGE_MAPPING", []
    made = named(code, container.words(name=name, built=built), *hints, workload=container.ref)
    detail = message or next((str(e.get("message")) for e in events), reason)
    return replace(made, detail=one_line(" | ".join(filter(None, (place, detail)))), since=first_time(events))


def _built_elsewhere(known: Known, image: str) -> tuple[str, str]:
    """The image of the spec that is meant, and as what it was built: of that tag, in another repository."""
    wanted, node = parse_ref(image), {parse_ref(one).familiar for one in known.node_images}
    for name, repository in known.repositories.items():
        built = parse_ref(f"{repository}:{wanted.tag}")
        same = built.name.rpartition("/")[2] == wanted.name.rpartition("/")[2] or _CONTENT_TAG.search(wanted.tag or "")
        if same and built.name != wanted.name and built.familiar in node:
            return name, built.familiar
    return "", ""


def _where_it_is(known: Known, image: str) -> tuple[str, ...]:
    """In which daemon the image is, where that says something, and hints."""
    node = {parse_ref(one).familiar for one in known.node_images}
    host = {parse_ref(one).familiar for one in known.host_images}
    if image in host - node:
        return "it is in the host's daemon, not in the cluster's", f"minikube image load {image}"
    nowhere = "it is in neither daemon, the cluster's or the host's" if known.images_seen and image not in node else ""
    name = parse_ref(image).name
    tags = sorted(one for one in node if parse_ref(one).name == name and one != image)
    return (nowhere, *((f"the cluster has {', '.join(f'`{tag}`' for tag in tags[:3])}",) if tags else ()))


def config_finding(scene: Scene, container: Container, message: str) -> Finding:
    """What the container's configuration refers to and is not there."""
    since = first_time(
        event for event in events_of(scene, container, "Failed") if message and message in str(event.get("message"))
    )
    made = missing_object(scene, container.words(), container.ref, message) or _other_config(container, message)
    ignored = passing_cache(scene, container.pod, message, since) or may_come(scene, container.ref, message)
    return replace(made, detail=one_line(message), since=since, ignored=ignored)


def missing_object(scene: Scene, words: dict[str, str], ref: WorkloadRef, message: str) -> Finding | None:
    """A Secret, a config map, or a key of one that a message says is missing."""
    known = {"secret": scene.known.secrets, "configmap": scene.known.config_maps}
    if match := _MISSING_KEY.search(message):
        kind, name, key = match["kind"].lower(), match["name"].rstrip(".,"), match["key"]
        label = "secret" if kind == "secret" else "config map"
        hints = near(key, known[kind].get(name, ()))
        return named("CONFIG_KEY_MISSING", words | {"key": key, "name": f"{label} `{name}`"}, *hints, workload=ref)
    if match := _MISSING.search(message):
        kind, name = match["kind"].lower(), match["name"]
        code = "CONFIG_SECRET_MISSING" if kind == "secret" else "CONFIG_MAP_MISSING"
        return named(code, words | {"name": name}, *near(name, known[kind]), workload=ref)
    return None


def may_come(scene: Scene, ref: WorkloadRef, message: str) -> str:
    """Why what a message says is missing is there soon: it is by now, or something of ours that makes it is at work."""
    match = _MISSING_KEY.search(message) or _MISSING.search(message)
    if match is None and _NO_KEY not in message:
        return ""
    if match is not None:
        known = scene.known.secrets if match["kind"].lower() == "secret" else scene.known.config_maps
        has, key = known.get(match["name"].rstrip(".,")), match.groupdict().get("key")
        if has is not None and key in (None, *has):
            return f"it is there by now, {TRIES_AGAIN}"
    for other in scene.refs:
        job = find(other, scene.snapshot) if other.kind == "Job" and other != ref else None
        if job is not None and not is_rollout_complete("Job", job):
            return f"{other} is still at work and may make it"
    return "a controller may make it" if scene.known.makers else ""


TRIES_AGAIN = "the kubelet tries again"
# The last: the kubelet has a pod before the API server's own cache has its binding to the node.
_LATE_CACHE = re.compile(
    r"failed to sync (?:secret|configmap) cache|object \S+ not registered|failed to fetch token: .* on a different node"
)
_CACHE_SECONDS = 60.0


def passing_cache(scene: Scene, pod: Object, message: str, since: float | None) -> str:
    """Why the message is no alarm: the kubelet says it in passing of what it has not read yet, for about a minute."""
    shown = since or epoch(dig(pod, "metadata", "creationTimestamp")) or scene.now
    return TRIES_AGAIN if _LATE_CACHE.search(message) and scene.now - shown < _CACHE_SECONDS else ""


def _other_config(container: Container, message: str) -> Finding:
    if match := _WRONG_USER.search(message):
        return named("NON_NUMERIC_USER", container.words(what=f"the {match[0]}"), workload=container.ref)
    if _LATE_CACHE.search(message) or "not yet been read" in message:
        return named("CONFIG_CACHE", container.words(), workload=container.ref)
    return named("CREATE_CONTAINER", container.words(what=message), workload=container.ref)


def create_finding(scene: Scene, container: Container, message: str) -> Finding:
    """Why the runtime could not create the container, in its own words."""
    since = first_time(events_of(scene, container, "Failed"))
    made = named("CREATE_CONTAINER", container.words(what=message), workload=container.ref)
    return replace(made, detail=one_line(message), since=since)
