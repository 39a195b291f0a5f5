"""`bundle save` and `bundle load`: what a first `up` downloads or builds, handed on in one file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deployer import composition
from deployer.cluster.addons.images import recipe as addon_recipe
from deployer.cluster.addons.table import ADDONS
from deployer.commands.charts import resolved
from deployer.commands.connection import open_running
from deployer.commands.planning import plan_for
from deployer.commands.toolchain import replacements_for
from deployer.composition import Machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, ExitCode, Problem, input_error, machine_error
from deployer.core.events import Item, ItemState, Warned
from deployer.core.image_ref import parse_ref
from deployer.core.ports import DockerEndpoint, ImagePort
from deployer.core.steps import Outcome, Steps, stage, within
from deployer.images.prune import used_images
from deployer.plan import Plan
from deployer.sources import git
from deployer.sources.load import complete_values, wanted_bases
from deployer.stages.images import STAGE as IMAGES
from deployer.toolchain import Toolchain, bundle, ensure_docker, ensure_toolchain, locate_toolchain, minikube_home
from deployer.toolchain.bundle import CLUSTER, MACHINE, STAGE, Bundle, Content, Manifest, Part, Programs
from deployer.toolchain.files import bundled_note, locked, pins_key, write_json
from deployer.toolchain.source.images import LABEL
from deployer.toolchain.source.node import cluster_images
from deployer.toolchain.wheels import wheels


@dataclass(frozen=True, slots=True)
class Saved:
    """A bundle that was written; bytes."""

    path: Path
    size: int
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Loaded:
    """What of a bundle was not yet on this machine."""

    manifest: Manifest
    changed: bool


def save(
    loaded: LoadedSpec, values: Mapping[str, str], here: Machine, target: Path, parts: Collection[Part]
) -> Steps[Saved]:
    """The file holds these parts of what the application's `up` needs on another machine of this kind.

    Input error BUNDLE_INCOMPLETE where an image was not built; machine error where the toolchain was not made.
    """
    outcome = yield from stage(STAGE, _save(loaded, values, here, target, parts), here.clock)
    return outcome.value


def _save(
    loaded: LoadedSpec, values: Mapping[str, str], here: Machine, target: Path, parts: Collection[Part]
) -> Steps[Outcome[Saved]]:
    folder = target.absolute().parent
    if not folder.is_dir():
        raise input_error("BUNDLE_FOLDER", f"there is no folder {folder}", hints=(f"mkdir -p {folder}",))
    toolchain = locate_toolchain(loaded.spec.toolchain, here.cache_dir)
    if toolchain is None:
        raise machine_error("TOOLCHAIN_MISSING", "this machine has no toolchain yet that could be saved",
                            hints=("todo-deploy up",))  # fmt: skip
    if {"images", "bases", "charts"} & set(parts):
        loaded = yield from resolved(loaded, here, toolchain)
    manifest, contents = bundle.new_manifest(loaded.spec.application), list[Content]()
    if "toolchain" in parts:
        contents += bundle.toolchain_files(toolchain, here.cache_dir, here.env, loaded.spec.cluster.kubernetes_version)
        host = composition.open_images(here.host_docker)
        refs = _of_machine(loaded, toolchain, here) if toolchain.offline_images else ()
        found = {ref: facts for ref in refs if (facts := host.image(ref)) is not None}
        labels = {ref: facts.labels[LABEL] for ref, facts in found.items() if LABEL in facts.labels}
        manifest = replace(
            manifest,
            programs=Programs(toolchain.way, pins_key(), dict(toolchain.versions), labels),
            machine={ref: facts.id for ref, facts in found.items()},
        )
        contents += _archive(MACHINE, host, list(found), max((one.size for one in found.values()), default=0))
    if {"images", "bases"} & set(parts):
        manifest, archive = yield from _of_cluster(loaded, values, here, manifest, parts)
        contents += archive
    if "charts" in parts:
        archives = sorted({pin.archive(Path("charts")) for pin in (loaded.pins or {}).values()})
        contents += [bundle.file_content(str(one), here.cache_dir / one) for one in archives]
    if "wheels" in parts:
        contents += wheels()
    # Programs and layers become a third of their size.
    bundle.refuse_full(folder, sum(one.size for one in contents) // 4)
    complete = yield from bundle.write_bundle(target, manifest, contents)
    size = target.stat().st_size
    return Outcome(Saved(target, size, complete), True, f"{target}, {bundle.megabytes(size)}")


def _archive(name: str, daemon: ImagePort, refs: Sequence[str], size: int) -> tuple[Content, ...]:
    return (Content(name, lambda: daemon.save(refs), size),) if refs else ()


def _of_machine(loaded: LoadedSpec, toolchain: Toolchain, here: Machine) -> list[str]:
    """The images in the host's daemon that make the cluster and its addons."""
    addons = [ADDONS[name] for name in loaded.spec.cluster.addons if name in ADDONS]
    images = [addon_recipe(image, here.cache_dir, here.env).ref for addon in addons for image in addon.images]
    return [*cluster_images(here.cache_dir, here.env), *images]


def _of_cluster(
    loaded: LoadedSpec, values: Mapping[str, str], here: Machine, manifest: Manifest, parts: Collection[Part]
) -> Steps[tuple[Manifest, tuple[Content, ...]]]:
    """The application's images, those that its pods run beside them, and the bases of the former."""
    opened = open_running(loaded, here)
    endpoint = composition.builder_of(here, opened.way, opened.facts)
    if endpoint is None:
        detail = "this machine has no Docker daemon from which images come into the cluster"
        hints = ("todo-deploy plan, which shows how images come into the cluster",)
        yield Warned(Problem("BUNDLE_LEFT_OUT", "images are left out of the bundle", detail, hints=hints))
        return manifest, ()
    daemon = composition.open_images(endpoint)
    complete = complete_values(loaded.spec, values)
    plan = plan_for(opened, complete, git.read_commit(loaded.root), here)
    refs: list[str] = []
    if "images" in parts:
        lacking = [image.ref for image in plan.images if daemon.image(image.ref) is None]
        if lacking:
            raise input_error(
                "BUNDLE_INCOMPLETE", "images of the application are not built as its sources are now",
                detail="\n".join(lacking), hints=("todo-deploy up", "or leave them out: --without images"),
            )  # fmt: skip
        refs += [image.ref for image in plan.images]
        refs += _beside(plan, used_images(plan.namespaces, opened.kube), daemon)
    bases: list[str] = []
    if "bases" in parts:
        named = wanted_bases(loaded, values)
        replaced = replacements_for(opened.toolchain, named)
        wanted = sorted({replaced.get(base, base) for base in named})
        bases = [base for base in wanted if daemon.image(base) is not None]
        if absent := sorted(set(wanted) - set(bases)):
            title = "base images are left out: the cluster's daemon does not have them by name"
            pulled = ('eval "$(todo-deploy env)" && docker pull IMAGE', "todo-deploy bundle save FILE")
            yield Warned(Problem("BUNDLE_LEFT_OUT", title, "\n".join(absent), hints=pulled))
    found = {ref: facts for ref in dict.fromkeys([*refs, *bases]) if (facts := daemon.image(ref)) is not None}
    known = replace(manifest, cluster={ref: facts.id for ref, facts in found.items()}, bases=tuple(bases))
    return known, _archive(CLUSTER, daemon, list(found), sum(facts.size for facts in found.values()) // 2)


def _beside(plan: Plan, used: Sequence[str], daemon: ImagePort) -> list[str]:
    """The images that pods run and the plan does not build, as far as they have a tag by which they are found again."""
    own = {parse_ref(image.ref).name for image in plan.images}
    there = {parse_ref(ref).familiar for ref in daemon.refs()}
    return [ref for ref in used if parse_ref(ref).name not in own and parse_ref(ref).familiar in there]


def load(path: Path, here: Machine, parts: Collection[Part]) -> Steps[Loaded]:
    """These parts of the bundle are where `up` finds them; what is there already is left as it is."""
    outcome = yield from stage(STAGE, _load(path, here, parts), here.clock)
    return outcome.value


def _load(path: Path, here: Machine, parts: Collection[Part]) -> Steps[Outcome[Loaded]]:
    with bundle.open_bundle(path) as opened:
        yield from opened.verify()
        chosen = opened.only(parts)
        manifest, programs = chosen.manifest, chosen.manifest.programs
        if programs is not None and programs.key != pins_key():
            raise DeployError(bundle.other_pins(path, manifest), ExitCode.INPUT)
        bundle.refuse_full(here.cache_dir, bundle.needed_bytes(manifest))
        unpacked = bundle.unpack(chosen, here.cache_dir, minikube_home(here.env))
        changed = bool((yield from within(STAGE, locked(here.cache_dir, unpacked))))
        if programs is not None:
            docker = yield from within(STAGE, ensure_docker(here.cache_dir, here.state_dir, here.env))
            changed |= yield from _load_machine(chosen, composition.open_images(here.host_docker))
            write_json(bundled_note(here.cache_dir), asdict(programs))
            yield from within(STAGE, ensure_toolchain("auto", here.cache_dir, here.env, docker))
        changed |= yield from bundle.keep_images(chosen, here.cache_dir)
    return Outcome(Loaded(manifest, changed), changed, "next: todo-deploy up" if changed else "everything was there")


def _load_machine(chosen: Bundle, host: ImagePort) -> Steps[bool]:
    member, images = chosen.member(MACHINE), chosen.manifest.machine
    lacking = [ref for ref, id in images.items() if (facts := host.image(ref)) is None or facts.id != id]
    if member is None or not lacking:
        return False
    yield Item(STAGE, "machine's images", ItemState.RUNNING, f"loading {len(images)} into Docker")
    host.load(chosen.chunks(member))
    yield Item(STAGE, "machine's images", ItemState.DONE, f"{len(images)} in Docker")
    return True


def bring_images(
    plan: Plan, cache_dir: Path, endpoint: DockerEndpoint, *, rebuild: bool = False
) -> Steps[frozenset[str]]:
    """What the plan wants, the daemon that builds lacks and a loaded bundle has is in it; returns those images.

    So are the images that the bundle has for pods beside them, and base images where something is built. An archive
    that cannot be read is a warning: the images are built then.
    """
    kept = bundle.kept_images(plan.application, cache_dir)
    if kept is None:
        return frozenset()
    daemon = composition.open_images(endpoint)
    there = {parse_ref(ref).familiar for ref in daemon.refs()}
    lacking = {parse_ref(image.ref).familiar for image in plan.images} - there
    own = {parse_ref(image.ref).name for image in plan.images}
    bases = {parse_ref(ref).familiar for ref in kept.bases}
    held = {parse_ref(ref).familiar for ref in kept.images}
    beside = {one for one in held - bases if parse_ref(one).name not in own}
    wanted = (lacking | beside | (bases if lacking or rebuild else set())) & held - there
    if not wanted:
        return frozenset()
    yield Item(IMAGES, STAGE, ItemState.RUNNING, f"loading {len(kept.images)} images from the bundle")
    try:
        daemon.load(kept.chunks())
    except bundle.DAMAGED as error:
        title = "the images of the bundle cannot be read, and are built instead"
        yield Warned(Problem("BUNDLE_KEPT", title, str(error), str(kept.archive), ("todo-deploy bundle load FILE",)))
        return frozenset()
    yield Item(IMAGES, STAGE, ItemState.DONE, f"{len(kept.images)} images from the bundle")
    return frozenset(image.ref for image in plan.images if parse_ref(image.ref).familiar in lacking & held)
