"""Rules on the project and the machine: env files, build contexts, public URLs, disk."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

from deployer.config.spec import mebibytes
from deployer.plan import ImagePlan
from deployer.preflight.rules.model import Place, Subject, Violation, rule

_PUBLIC = re.compile(r"(NEXT_PUBLIC|VITE|REACT_APP|PUBLIC|NUXT_PUBLIC)_\w+")


@rule("ENV_TRACKED", "error", "topology 000 Secret (not in version control); topology 003 Security",
      hint="git rm --cached FILE, then rotate its secrets")  # fmt: skip
def env_tracked(subject: Subject) -> Iterator[Violation]:
    """git does not track the env files."""
    yield from _env_problems(subject, "ENV_TRACKED")


@rule("ENV_READABLE", "warning", "topology 000 Secret (access restricted)", hint="chmod 600 FILE")
def env_readable(subject: Subject) -> Iterator[Violation]:
    """Nobody but their owner can read the env files."""
    yield from (
        Violation(one.title, Place(where=one.where), one.detail, one.hints)
        for one in subject.machine.env_problems
        if one.code not in ("ENV_TRACKED", "ENV_FILE_MISSING")
    )


@rule("ENV_IN_CONTEXT", "error", "topology 000 Secret; Docker docs, Build context")
def env_in_context(subject: Subject) -> Iterator[Violation]:
    """No env file with secrets is in a build context; public build settings may be."""
    for image in subject.plan.images:
        for leak in subject.machine.env_leaks.get(image.name, ()):
            context = subject.loaded.spec.images[image.name].context
            yield Violation(
                f"the build context of image `{image.name}` contains `{leak.path}`: its secrets would be in the image",
                Place(spec=("images", image.name, "context")),
                leak.why,
                (f"add a line `{leak.path}` to {context}/.dockerignore, then: todo-deploy validate",),
            )


@rule("PUBLIC_URL", "warning", "topology 001 Environment Variables; topology 003 ConfigMaps",
      hint="use an address of urls in the spec, or a path of the frontend's own origin")  # fmt: skip
def public_urls(subject: Subject) -> Iterator[Violation]:
    """Addresses built into frontends (NEXT_PUBLIC_*, VITE_*) are ones that browsers can reach."""
    served = {f"{url.node_port}" for url in subject.loaded.spec.urls.values() if url.node_port is not None}
    hosts = {url.ingress_host for url in subject.plan.urls if url.ingress_host}
    services = {one.name for one in subject.objects("Service")}
    for image in subject.plan.images:
        for key, value, place in _built_in(subject, image):
            if not _PUBLIC.fullmatch(key) or "://" not in value:
                continue
            try:
                parts = urllib.parse.urlsplit(value)
                host, port = parts.hostname or "", parts.port
            except ValueError:
                host, port = "", None
            if host.split(".")[0] in services or host.endswith((".svc", ".cluster.local")):
                title = f"image `{image.name}`: {key} is `{value}`, a name that browsers do not know"
                yield Violation(
                    title, place, hints=("let browsers call a path of the frontend's own origin, such as /api",)
                )
            elif host not in hosts and f"{port or ''}" not in served:
                what = ", ".join(sorted([*hosts, *(f":{one}" for one in served)])) or "none with a fixed port"
                yield Violation(f"image `{image.name}`: {key} is `{value}`, which is no address that is served", place,
                             f"served are: {what}")  # fmt: skip


def _built_in(subject: Subject, image: ImagePlan) -> Iterator[tuple[str, str, Place]]:
    """The variables that a build sees: build arguments, and what the Dockerfile declares beside them."""
    for key, value in image.args.items():
        yield key, value, Place(spec=("images", image.name, "args", key))
    for key, value, where in subject.machine.declared.get(image.name, ()):
        if key not in image.args:
            yield key, value, Place(where=where)


@rule("CONTEXT_SIZE", "note", "Docker docs, Build context", hint="list what the build does not need in .dockerignore")
def contexts(subject: Subject) -> Iterator[Violation]:
    """The size of each build context is shown with its biggest entries."""
    for name, (size, biggest) in subject.machine.contexts.items():
        entries = ", ".join(f"{path} ({_amount(number)})" for path, number in biggest)
        yield Violation(f"image `{name}`: its build context has {_amount(size)}",
                     Place(spec=("images", name, "context")), f"biggest: {entries}" if entries else "")  # fmt: skip


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


@rule("DISK_FREE", "error", "topology 000 PersistentVolumeClaim; Kubernetes docs, Node-pressure Eviction")
def disk(subject: Subject) -> Iterator[Violation]:
    """rules.minFreeDisk is free where the cluster keeps images."""
    inside = subject.cluster.free_disk_mib if subject.cluster is not None else None
    free, least = inside, mebibytes(subject.loaded.spec.rules.min_free_disk)
    where, hint = "inside the cluster", "minikube ssh -- docker system prune"
    if free is None:
        free, where, hint = subject.machine.free_disk_mib, "on this machine", "docker system prune"
    if free is not None and free < least:
        yield Violation(f"{free} MiB of disk are free {where}; {least} MiB must remain (rules.minFreeDisk)",
                     Place(spec=("rules", "minFreeDisk")), hints=(hint, "todo-deploy images prune"))  # fmt: skip


def _env_problems(subject: Subject, code: str) -> Iterator[Violation]:
    for one in subject.machine.env_problems:
        if one.code == code:
            yield Violation(one.title, Place(where=one.where), one.detail, one.hints)
