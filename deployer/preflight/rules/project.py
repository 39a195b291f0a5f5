"""Rules on the project and the machine: env files, build contexts, public URLs, disk."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator

from deployer.config.spec import mebibytes
from deployer.plan import ImagePlan
from deployer.preflight.rules.model import Breach, Place, Rule, Subject

_PUBLIC = re.compile(r"(NEXT_PUBLIC|VITE|REACT_APP|PUBLIC|NUXT_PUBLIC)_\w+")


def env_tracked(subject: Subject) -> Iterator[Breach]:
    """Env files that git would publish."""
    yield from _env_problems(subject, "ENV_TRACKED")


def env_readable(subject: Subject) -> Iterator[Breach]:
    """Env files that others can read, or that are no plain files of ours."""
    yield from (
        Breach(one.title, Place(where=one.where), one.detail, one.hints)
        for one in subject.machine.env_problems
        if one.code not in ("ENV_TRACKED", "ENV_MISSING")
    )


def env_in_context(subject: Subject) -> Iterator[Breach]:
    """Build contexts that send an env file to the daemon."""
    for image in subject.plan.images:
        for leak in subject.machine.env_leaks.get(image.name, ()):
            context = subject.loaded.spec.images[image.name].context
            yield Breach(
                f"the build context of image `{image.name}` contains `{leak.path}`: its secrets would be in the image",
                Place(spec=("images", image.name, "context")),
                leak.why,
                (f"add a line `{leak.path}` to {context}/.dockerignore, then: todo-deploy validate",),
            )


def public_urls(subject: Subject) -> Iterator[Breach]:
    """Addresses that are built into what browsers run, and that are not served."""
    served = {f"{url.node_port}" for url in subject.loaded.spec.urls.values() if url.node_port is not None}
    hosts = {url.ingress_host for url in subject.plan.urls if url.ingress_host}
    services = {str((body.get("metadata") or {}).get("name")) for _, body in subject.objects("Service")}
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
                yield Breach(
                    title, place, hints=("let browsers call a path of the frontend's own origin, such as /api",)
                )
            elif host not in hosts and f"{port or ''}" not in served:
                told = ", ".join(sorted([*hosts, *(f":{one}" for one in served)])) or "none with a fixed port"
                yield Breach(f"image `{image.name}`: {key} is `{value}`, which is no address that is served", place,
                             f"served are: {told}")  # fmt: skip


def _built_in(subject: Subject, image: ImagePlan) -> Iterator[tuple[str, str, Place]]:
    """The variables that a build sees: build arguments, and what the Dockerfile declares beside them."""
    for key, value in image.args.items():
        yield key, value, Place(spec=("images", image.name, "args", key))
    for key, value, where in subject.machine.declared.get(image.name, ()):
        if key not in image.args:
            yield key, value, Place(where=where)


def contexts(subject: Subject) -> Iterator[Breach]:
    """What the build contexts send to the daemon."""
    for name, (size, biggest) in subject.machine.contexts.items():
        entries = ", ".join(f"{path} ({_amount(number)})" for path, number in biggest)
        yield Breach(f"image `{name}`: its build context has {_amount(size)}",
                     Place(spec=("images", name, "context")), f"biggest: {entries}" if entries else "")  # fmt: skip


def _amount(size: int) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


def disk(subject: Subject) -> Iterator[Breach]:
    """Less free disk than must remain: where the running cluster keeps images, else where Docker will."""
    inside = subject.cluster.free_disk_mib if subject.cluster is not None else None
    free, least = inside, mebibytes(subject.loaded.spec.rules.min_free_disk)
    where, hint = "inside the cluster", "minikube ssh -- docker system prune"
    if free is None:
        free, where, hint = subject.machine.free_disk_mib, "on this machine", "docker system prune"
    if free is not None and free < least:
        yield Breach(f"{free} MiB of disk are free {where}; {least} MiB must remain (rules.minFreeDisk)",
                     Place(spec=("rules", "minFreeDisk")), hints=(hint, "todo-deploy images prune"))  # fmt: skip


def _env_problems(subject: Subject, code: str) -> Iterator[Breach]:
    for one in subject.machine.env_problems:
        if one.code == code:
            yield Breach(one.title, Place(where=one.where), one.detail, one.hints)


RULES = (
    Rule("ENV_TRACKED", "S0 Secret (not in version control); S3 Security", "error",
         "git does not track the env files.", env_tracked),
    Rule("ENV_READABLE", "S0 Secret (access restricted)", "warning",
         "Nobody but their owner can read the env files.", env_readable),
    Rule("ENV_IN_CONTEXT", "S0 Secret; Docker docs, Build context", "error",
         "No env file with secrets is in a build context; public build settings may be.", env_in_context),
    Rule("PUBLIC_URL", "S1 Environment Variables; S3 ConfigMaps", "warning",
         "Addresses built into frontends (NEXT_PUBLIC_*, VITE_*) are served to browsers.", public_urls),
    Rule("CONTEXT_SIZE", "Docker docs, Build context", "note",
         "What the build contexts send to the daemon is told with its biggest entries.", contexts),
    Rule("DISK_FREE", "S0 PersistentVolumeClaim; Kubernetes docs, Node-pressure Eviction", "error",
         "rules.minFreeDisk is free where the cluster keeps images.", disk),
)  # fmt: skip
