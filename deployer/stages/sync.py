"""The sync stage: running containers have the files of the sources, without a build.

What a container has is its image's content and what was copied over it. One command a container does it all: what is
gone is deleted, the rest comes as one tar, and the program is made to take it. Its pod is labelled before the first
file is sent, so that nobody takes what runs there for what was built; a pod that is replaced loses the files and the
label together.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deployer.config.releases import Restart, Sync
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState
from deployer.core.ports import LABEL_PREFIX, Executed, KubePort
from deployer.core.steps import Outcome, Steps, merge
from deployer.core.text import count, first_few
from deployer.sources import build_context, digest
from deployer.sources.digest import Manifest
from deployer.status.objects import container_statuses, dig, is_terminating, name_of, namespace_of

STAGE = "sync"
LABEL = f"{LABEL_PREFIX}/synced"
"""On a pod: the containers (the first characters of their ids) that files were copied into."""

LOST = 255
"""The exit code of a command whose container or connection went away."""

_WILD = "*?["
_UNKNOWN = "?"
_ID = 12
# Paths to delete come first, a line each up to an empty one: `read` takes no byte more from the pipe than it needs, as
# `head` of some systems does. The size of the tar stands in for the name of the script. Both outputs are one stream,
# for only within one what was written first comes first.
SCRIPT = """\
exec 2>&1
while IFS= read -r path && [ -n "$path" ]; do
  set -- "$@" "$path"
  if [ $# -ge 100 ]; then rm -rf -- "$@" || exit 1; set --; fi
done
[ $# -eq 0 ] || rm -rf -- "$@" || exit 1
[ "$0" -eq 0 ] || head -c "$0" | tar -xmof - -C / || exit 1
"""
COPIED = "todo-deploy: copied"
"""A line of the command's output: the files are there; what comes after it was printed by a restart command."""
_HINTS = {
    "read-only": "its file system is read-only: `readOnlyRootFilesystem: false` for it in a profile of the spec",
    "denied": "its user may not write there: `COPY --chown` in the Dockerfile, or another `to`",
    "not permitted": "its user may not write there: `COPY --chown` in the Dockerfile, or another `to`",
    "not found": "the image needs `sh`, `head` and `tar`: another `target` or base image in a profile of the spec",
}


@dataclass(frozen=True, slots=True)
class Container:
    """A container that runs, and the run of it."""

    namespace: str
    pod: str
    name: str
    id: str
    image: str
    label: str = field(default="", compare=False)

    @property
    def is_labelled(self) -> bool:
        """Whether its pod says already that files were copied into it."""
        return bool(self.label) and self.id[:_ID] in self.label.split(".")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the containers of an image are to have: its context, the rules, and each container with what it has."""

    image: str
    context: Path
    rules: tuple[Sync, ...]
    manifest: Manifest
    containers: Mapping[Container, Manifest]


@dataclass(frozen=True, slots=True)
class Difference:
    """What makes one manifest of another: paths of the context, by what is done to them."""

    changed: tuple[str, ...]
    gone: tuple[str, ...]

    def __str__(self) -> str:
        every = sorted(path.removeprefix("/") for path in (*self.changed, *self.gone))
        return first_few(every, 1)


Note = Callable[[Container, Manifest], None]


def running(ref: str, pods: Iterable[Mapping[str, Any]]) -> tuple[Container, ...]:
    """The containers that run the image, of pods that stay."""
    return tuple(one for one in pod_containers(pods) if one.image == ref)


def pod_containers(pods: Iterable[Mapping[str, Any]]) -> tuple[Container, ...]:
    """The containers that run, of pods that stay."""
    return tuple(
        Container(
            namespace_of(pod), name_of(pod), str(one.get("name") or ""),
            str(one.get("containerID") or "").rpartition("/")[2], _image(pod, str(one.get("name") or "")),
            str(dig(pod, "metadata", "labels", LABEL) or ""),
        )
        for pod in pods if not is_terminating(pod)
        for one in container_statuses(pod) if dig(one, "state", "running") is not None
    )  # fmt: skip


def difference(have: Manifest, want: Manifest) -> Difference:
    """How the manifests differ, without what editors leave beside a file for a moment."""
    changes = [one for one in digest.changed_files(have, want) if not is_passing(one.path)]
    gone = tuple(one.path for one in changes if one.kind == "removed")
    return Difference(tuple(one.path for one in changes if one.kind != "removed"), gone)


def is_passing(path: str) -> bool:
    """Whether the path is one that an editor makes while it saves: vim, Emacs, JetBrains, KDE, and most others."""
    name = path.rpartition("/")[2]
    return (
        name == "4913"
        or name.endswith(("~", "___jb_tmp___", "___jb_old___", ".swp", ".swo", ".swx", ".swpx", ".kate-swp"))
        or name.startswith((".#", ".goutputstream-"))
        or (name.startswith("#") and name.endswith("#"))
    )


def place(rules: Sequence[Sync], path: str) -> tuple[str, Sync] | None:
    """Where the path of the context is in the container, without the first `/`, by the first rule that takes it."""
    for rule in rules:
        pattern = rule.source.removeprefix("./").rstrip("/")
        wild = min((at for sign in _WILD if (at := pattern.find(sign)) >= 0), default=-1)
        fixed = pattern[: pattern.rfind("/", 0, wild) + 1] if wild >= 0 else f"{pattern}/"
        if pattern == path:
            rest = path.rpartition("/")[2]
        elif path.startswith(fixed) and (wild < 0 or _matches(pattern, path)):
            rest = path.removeprefix(fixed)
        else:
            continue
        return f"{rule.to.strip('/')}/{rest}".lstrip("/"), rule
    return None


def can_sync(rules: Sequence[Sync], have: Manifest, want: Manifest) -> bool:
    """Whether all that differs can be copied; a build is needed otherwise. Folders come with what is in them."""
    what = difference(have, want)
    files = [path for path in what.changed if want[path] != digest.FOLDER]
    files += [path for path in what.gone if have[path] != digest.FOLDER]
    return all("\n" not in path and place(rules, path) is not None for path in files)


def sync(wanted: Sequence[Wanted], kube: KubePort, note: Note) -> Steps[Outcome[int]]:
    """Every container has the files, and `note` is called with each; the value is the number of containers.

    A deployment error, with what to change, for the first that cannot take them, or whose restart fails.
    """
    bodies = {
        container: partial(_one, one, container, have, kube, note)
        for one in wanted for container, have in one.containers.items()
    }  # fmt: skip
    yield from merge(bodies)
    for one in wanted:
        differs = (difference(have, one.manifest) for have in one.containers.values())
        text = f"{max(differs, key=lambda what: len(str(what)), default='nothing')}"
        yield Item(STAGE, one.image, ItemState.DONE, f"{text} to {count(len(one.containers), 'container')}")
    return Outcome(len(bodies), bool(bodies), f"{count(len(bodies), 'container')}; not verified: `up` builds it")


def _one(wanted: Wanted, container: Container, have: Manifest, kube: KubePort, note: Note) -> Steps[None]:
    what = difference(have, wanted.manifest)
    yield Item(STAGE, wanted.image, ItemState.RUNNING, f"{what} to {container.pod}")
    gone, files, now = _read(wanted, what, have)
    if not container.is_labelled:
        label = ".".join(filter(None, (*container.label.split(".")[-3:], container.id[:_ID])))
        kube.patch("Pod", container.namespace, container.pod, {"metadata": {"labels": {LABEL: label}}})
    # Until the command has ended well, nobody knows what these paths are in the container.
    note(container, {**have, **dict.fromkeys((*what.changed, *what.gone), _UNKNOWN)})
    raw = build_context.packed(files) if files else b""
    lines = "".join(f"/{path}\n" for path in gone) + "\n"
    where = container.namespace, container.pod, container.name
    restarts = tuple(dict.fromkeys(_restarts(wanted.rules, what)))
    command = ("sh", "-c", script(restarts), str(len(raw)))
    ended = _executed(kube, where, command, lines.encode(errors="surrogateescape") + raw)
    _, *said = ended.output.split(COPIED)
    if said or not (restarts or ended.code):
        note(container, now)
    if ended.code:
        failed = " ".join(restarts[len(said) - 1]) if said else ""
        raise _failed(container, Executed(ended.code, said[-1].strip()) if said else ended, failed)


def script(restarts: Iterable[Sequence[str]]) -> str:
    """The shell's work: the files, then each command, with `COPIED` printed before it; the first that fails ends it.

    A command has an end of its standard input, which the files came on.
    """
    return SCRIPT + "".join(f"echo '{COPIED}'\n{shlex.join(one)} < /dev/null || exit\n" for one in restarts)


def _read(
    wanted: Wanted, what: Difference, have: Manifest
) -> tuple[list[str], dict[str, tuple[build_context.ContextFile, bytes]], Manifest]:
    """What is deleted and what is sent, by its place, and the manifest that this leads to.

    The manifest is that of what was read, not of what was seen before it: files may change meanwhile.
    """
    now = {path: part for path, part in have.items() if path not in what.gone}
    gone, files = list(what.gone), {}
    for path in what.changed:
        source = wanted.context / path
        try:
            file = build_context.entry_of(path, source)
            content = source.read_bytes() if file is not None and file.kind == "file" else b""
        except (OSError, DeployError):  # it is gone again: the next look sees that
            continue
        if file is None:
            continue
        if (placed := place(wanted.rules, path)) is not None:
            if path in have and (have[path] == digest.FOLDER) != (file.kind == "dir"):
                gone.append(path)
            files[placed[0]] = (file, content)
        now[path] = digest.short_part(file, hashlib.sha256(content).hexdigest())
    places = (place(wanted.rules, path) for path in gone)
    return [one[0] for one in places if one is not None], files, now


def _restarts(rules: Sequence[Sync], what: Difference) -> Iterable[tuple[str, ...]]:
    for path in (*what.changed, *what.gone):
        placed = place(rules, path)
        if placed is not None and isinstance(restart := placed[1].restart, Restart):
            yield tuple(restart.exec or ("kill", f"-{(restart.signal or '').removeprefix('SIG')}", "1"))


def _executed(kube: KubePort, where: tuple[str, str, str], command: Sequence[str], data: bytes = b"") -> Executed:
    try:
        return kube.execute(*where, command, data)
    except OSError as error:
        return Executed(LOST, str(error))


def _failed(container: Container, ended: Executed, command: str = "") -> DeployError:
    """Why the container has not the files, or, where a command is given, the program not."""
    pod, where, said = container.pod, f"pod/{container.pod}/{container.name}", ended.output
    if ended.code == LOST:
        title = f"the connection to pod {pod} was lost while files were copied into it"
        problem = Problem("SYNC_LOST", title, said, where, ("save again",))
    elif command:
        problem = Problem("SYNC_RESTART", f"`{command}` failed in pod {pod}", said, where, ("correct it and save",))
    else:
        lowered = said.lower() if ended.code != 127 else "not found"
        hints = tuple(dict.fromkeys(hint for words, hint in _HINTS.items() if words in lowered)) or ("todo-deploy up",)
        problem = Problem("SYNC_FAILED", f"files cannot be copied into pod {pod}", said, where, hints)
    return DeployError(problem, ExitCode.PREVIOUS_SERVES)


def _image(pod: Mapping[str, Any], name: str) -> str:
    containers = (*(dig(pod, "spec", "containers") or ()), *(dig(pod, "spec", "initContainers") or ()))
    return next((str(one.get("image") or "") for one in containers if one.get("name") == name), "")


def _matches(pattern: str, path: str) -> bool:
    patterns = build_context.parse_dockerignore(pattern)
    parents = (path.rsplit("/", depth)[0] for depth in range(path.count("/") + 1))
    return any(build_context.ignored(patterns, one)[0] for one in parents)
