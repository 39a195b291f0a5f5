"""`dev`: what a change of the sources asks for, the least that is enough, and what is known of what runs.

Nothing here believes an event: what the sources are is compared with what the containers have, by digests. So a change
that was undone asks for nothing, a thousand files are one action, and what changes during a build is seen after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from deployer.commands.charts import ready
from deployer.commands.connection import one_at_a_time
from deployer.commands.planning import read_sources
from deployer.composition import Machine, Run
from deployer.config.load import LoadedSpec, chart_folder, dockerfile_of, local_overlay
from deployer.config.releases import BUILTIN
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Warned
from deployer.core.ports import KubePort, Object
from deployer.core.steps import Clock, Outcome, Steps, outcome_only, stage
from deployer.sources import charts
from deployer.sources.digest import FOLDER, Manifest
from deployer.sources.load import Sources
from deployer.stages import sync as sync_stage
from deployer.stages.sync import Container, Wanted, can_sync, difference, is_passing
from deployer.state import build_cache
from deployer.status.objects import container_statuses, dig, epoch, name_of, namespace_of
from deployer.toolchain import Toolchain

SOURCES = "sources"
"""The stage in which spec, env files and sources are read."""
CRASH_SECONDS = 10.0
"""A container that ends so soon after files were copied into it ended because of them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the user wrote, at one moment."""

    loaded: LoadedSpec
    values: Mapping[str, str] = field(repr=False)
    sources: Sources
    charts: frozenset[Path] = frozenset()
    """The folders of all charts, and of those that they depend on."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Seen) and self.inputs == other.inputs and self.manifests == other.manifests

    __hash__ = None  # type: ignore[assignment]

    @property
    def inputs(self) -> tuple[object, ...]:
        """All that the releases are made of besides images."""
        return self.loaded.spec, self.values, self.sources.charts

    @property
    def manifests(self) -> Mapping[str, Manifest]:
        """What each image is built from, without what editors leave beside a file for a moment."""
        return {
            name: {path: part for path, part in one.manifest.items() if not is_passing(path)}
            for name, one in self.sources.images.items()
        }


@dataclass(frozen=True, slots=True)
class Work:
    """The least that is enough, and why."""

    kind: Literal["nothing", "sync", "build", "release"]
    why: str = ""
    images: tuple[str, ...] = ()
    wanted: tuple[Wanted, ...] = ()


NOTHING = Work("nothing")


@dataclass(slots=True)
class Known:
    """What this session knows of what runs: it alone knows what it copied, and a next one builds it."""

    deployed: Seen | None = None
    """What was last deployed as a whole."""
    built: dict[str, dict[str, Manifest]] = field(default_factory=dict)
    """What each image was built from, by its references, the latest last."""
    copied: dict[str, Manifest] = field(default_factory=dict)
    """What containers have that files were copied into, by their ids."""
    copied_at: dict[str, float] = field(default_factory=dict)
    """When that was, in seconds since the epoch."""
    refused: set[str] = field(default_factory=set)
    """Images whose containers cannot take files."""
    crashed: dict[str, Manifest] = field(default_factory=dict)
    """What made the containers of an image end."""

    def learn(self, folder: Path) -> None:
        """What this machine's last builds were made from is known; another run may have made them."""
        for name, one in build_cache.recall(build_cache.memory_path(folder)).items():
            known = self.built.setdefault(name, {})
            known.pop(one.ref, None)
            known[one.ref] = one.source.manifest
            for old in list(known)[:-5]:
                del known[old]

    def containers(self, image: str, pods: Iterable[Object]) -> dict[Container, Manifest | None]:
        """The containers that run the image, and what each has; None where an earlier session copied files into it."""
        pods = tuple(pods)
        found: dict[Container, Manifest | None] = {}
        for ref, manifest in self.built.get(image, {}).items():
            for one in sync_stage.running(ref, pods):
                unknown = None if one.is_labelled else manifest
                found[one] = self.copied.get(one.id, unknown)
        return found

    def starts_again(self, pods: Iterable[Object]) -> bool:
        """Whether a container that files were copied into has ended, and another run of it is to come."""
        every = (one for pod in pods for one in container_statuses(pod) if dig(one, "state", "running") is None)
        return any(_id(one.get("containerID")) in self.copied for one in every)

    def forget_gone(self, pods: Iterable[Object]) -> None:
        """Containers that are gone are forgotten."""
        there = {_id(one.get("containerID")) for pod in pods for one in container_statuses(pod)}
        for gone in self.copied.keys() - there:
            del self.copied[gone], self.copied_at[gone]


def look(read: tuple[LoadedSpec, Mapping[str, str]], tools: Toolchain | None, here: Machine, before: Seen | None = None,
         paths: Iterable[str] = ()) -> Seen:  # fmt: skip
    """What the user wrote; where paths are given, only the images that they belong to are read anew."""
    loaded, values = ready(read[0], here), read[1]
    spec, changed = loaded.spec, tuple(paths)
    is_same = before is not None and before.inputs[:2] == (spec, values)
    apart = before is not None and not any(one.on for one in before.sources.images.values())
    if (
        before is None
        or not is_same
        or not changed
        or not apart
        or not all(_only_image(before, path) for path in changed)
    ):
        return Seen(loaded, values, read_sources(loaded, values, tools, here)[1], _chart_folders(loaded))
    touched = {name: one for name, one in spec.images.items() if any(_concerns(loaded, name, path) for path in changed)}
    narrowed = replace(loaded, spec=spec.model_copy(update={"images": touched, "releases": {}}))
    fresh = read_sources(narrowed, values, tools, here)[1]
    kept = before.sources
    return Seen(loaded, values, Sources({**kept.images, **fresh.images}, kept.charts), before.charts)


def decide(seen: Seen, known: Known, pods: Sequence[Object], services: Sequence[str] = ()) -> Work:
    """The least that brings what runs to what was seen; of images only those of the services, where any are named."""
    if known.deployed is None:
        return Work("release", "nothing is deployed yet")
    if (why := _why_release(known.deployed, seen)) is not None:
        return Work("release", why)
    copies, builds = [], {}
    for name in _images(seen, services):
        image, want = seen.loaded.spec.images[name], seen.sources.images[name].manifest
        has = known.containers(name, pods)
        latest = next(reversed(known.built.get(name, {"": {}}).values()))
        differs = {one: have for one, have in has.items() if have is None or difference(have, want) != _SAME}
        if known.crashed.get(name) == want:
            continue
        if not has and difference(latest, want) != _SAME and not known.starts_again(pods):
            builds[name] = str(difference(latest, want))
        if not differs:
            continue
        rules = image.sync if name not in known.refused else ()
        copyable = {one: have for one, have in differs.items() if have is not None and can_sync(rules, have, want)}
        if len(copyable) == len(differs):
            copies.append(Wanted(name, seen.loaded.root / image.context, image.sync, want, copyable))
        else:
            have = next((have for have in differs.values() if have is not None), latest)
            builds[name] = str(difference(have, want)) or "files that an earlier `dev` copied"
    if copies:
        words = (f"{one.image}: {difference(next(iter(one.containers.values())), one.manifest)}" for one in copies)
        return Work("sync", "; ".join(words), tuple(one.image for one in copies), tuple(copies))
    if builds:
        return Work("build", "; ".join(f"{name}: {why}" for name, why in builds.items()), tuple(builds))
    return NOTHING


def _images(seen: Seen, services: Sequence[str]) -> list[str]:
    """The images of the services, which are images or releases; all without any."""
    releases = (one for name, one in seen.loaded.spec.releases.items() if name in services)
    asked = {*services, *(image for one in releases for image in one.images)}
    return [name for name in seen.sources.images if not services or name in asked]


_SAME = difference({}, {})


@one_at_a_time
def synced(run: Run, kube: KubePort, known: Known, wanted: Sequence[Wanted]) -> Steps[Outcome[int]]:
    """The containers have the files, and the session knows that they have."""
    yield from run.lock.take(kube)

    def note(container: Container, manifest: Manifest) -> None:
        known.copied[container.id], known.copied_at[container.id] = manifest, run.clock.now()

    return (yield from stage(sync_stage.STAGE, sync_stage.sync(wanted, kube, note), run.clock))


def crashes(known: Known, pods: Sequence[Object], before: Seen, kube: KubePort, now: float) -> list[Problem]:
    """What containers say that ended soon after files were copied into them; these files are not copied again."""
    found = []
    for name in before.sources.images:
        want = before.sources.images[name].manifest
        refs = known.built.get(name, {})
        for pod in pods:
            images = {one.get("name"): one.get("image") for one in dig(pod, "spec", "containers") or ()}
            for one in container_statuses(pod):
                last = dig(one, "lastState", "terminated") or dig(one, "state", "terminated") or {}
                ended = _id(last.get("containerID"))
                if images.get(one.get("name")) not in refs or ended not in known.copied:
                    continue
                lived = (epoch(last.get("finishedAt")) or now) - known.copied_at[ended]
                if lived < CRASH_SECONDS and known.copied[ended] == want:
                    known.crashed[name] = want
                    where = namespace_of(pod), name_of(pod), str(one.get("name"))
                    is_over = dig(one, "state", "terminated") is not None
                    lines = kube.logs(*where, previous=not is_over, tail=10)
                    title = f"{name} ended ({last.get('exitCode')}) with the files that were copied into it"
                    hints = ("the container restarts with the files of its image; the next change is copied again",)
                    found.append(Problem("SYNC_CRASHED", title, "\n".join(lines), f"pod/{name_of(pod)}", hints))
    return found


def polling(clock: Clock) -> Steps[None]:
    """Says that no event will tell of a change."""
    title = "no inotify watches are left: the sources are polled each second"
    hints = ("sysctl fs.inotify.max_user_watches fs.inotify.max_user_instances: raise the one that is used up",)
    yield from stage(SOURCES, outcome_only(Outcome(None, False, "no more folders can be watched")), clock)
    yield Warned(Problem("WATCH_LIMIT", title, hints=hints))


def _id(container: object) -> str:
    """The id of a container, without its runtime's name."""
    return str(container or "").rpartition("/")[2]


def failing(problems: Sequence[Problem]) -> Steps[Outcome[None]]:
    """Fails with the problems."""
    yield from ()
    raise DeployError(problems, ExitCode.PREVIOUS_SERVES)


def folders(seen: Seen) -> frozenset[Path]:
    """The folders in which a change can ask for something: of the spec, env files, contexts and charts."""
    loaded, spec = seen.loaded, seen.loaded.spec
    found = {loaded.path.parent, *((loaded.root / name).parent for name in spec.env.files)}
    for name, source in seen.sources.images.items():
        image = spec.images[name]
        root = loaded.root / image.context
        found |= {root, root.parent}
        found |= {(loaded.root / image.dockerfile).parent} if image.dockerfile else set()
        for path, part in source.manifest.items():
            if not path.startswith("/"):
                found.add(root / path if part == FOLDER else (root / path).parent)
    found |= {(loaded.root / file).parent for release in spec.releases.values() for file in release.values_files}
    found |= {Path(path) for chart in seen.charts for path, _, _ in os.walk(chart)}
    return frozenset(found)


def stamps(loaded: LoadedSpec) -> tuple[object, ...]:
    """What changes when one of the files changes that spec and values are read from."""
    files = (loaded.path, local_overlay(loaded.path), *(loaded.root / name for name in loaded.spec.env.files))
    return tuple((one, *_stamp(one)) for one in files)


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        info = path.stat()
    except OSError:
        return ()
    return info.st_mtime_ns, info.st_ctime_ns, info.st_size, info.st_ino


def _why_release(before: Seen, now: Seen) -> str | None:
    """What of the releases' inputs changed; None where nothing did."""
    if before.loaded.spec != now.loaded.spec:
        return now.loaded.path.name
    if before.values != now.values:
        changed = sorted(key for key, _ in {*before.values.items()} ^ {*now.values.items()})
        return f"{', '.join(dict.fromkeys(changed))} in {now.loaded.spec.env.files[0]}"
    for name, chart in now.sources.charts.items():
        if before.sources.charts.get(name) != chart:
            return f"the chart or values of release {name}"
    return None


def _concerns(loaded: LoadedSpec, name: str, path: str) -> bool:
    image = loaded.spec.images[name]
    dockerfile = str(dockerfile_of(loaded.root, image).relative_to(loaded.root))
    own = (image.context, dockerfile, f"{dockerfile}.dockerignore")
    return any(_in(loaded.root, part, path) for part in own)


def _only_image(seen: Seen, path: str) -> bool:
    """Whether the path is in a build context, and in no chart."""
    loaded, spec = seen.loaded, seen.loaded.spec
    values = (file for one in spec.releases.values() for file in one.values_files)
    apart = (*values, *map(str, seen.charts))
    return any(_concerns(loaded, name, path) for name in spec.images) and not any(
        _in(loaded.root, part, path) for part in apart
    )


def _chart_folders(loaded: LoadedSpec) -> frozenset[Path]:
    own = (one for one in loaded.spec.releases.values() if one.chart != BUILTIN and not one.is_remote)
    todo = [chart_folder(loaded.root, one.chart) for one in own]
    found: set[Path] = set()
    while todo:
        folder = todo.pop()
        if folder not in found:
            found.add(folder)
            todo += [part for _, part in charts.parts_of(folder)]
    return frozenset(found)


def _in(root: Path, part: str, path: str) -> bool:
    whole = os.path.normpath(root / part)
    return path == whole or path.startswith(f"{whole}{os.sep}")
