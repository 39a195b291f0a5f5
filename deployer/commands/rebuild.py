"""What a revision needs and the cluster no longer has: made again exactly as it was, or named with the reason why not.

An image is made again only if its sources have the very digest that its tag stands for, a copy of a Secret only if
the values have the hash that its name carries: what runs after a rollback is what was verified, or nothing changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from deployer import composition
from deployer.commands.connection import Opened, opened_with
from deployer.commands.planning import plan_for
from deployer.commands.toolchain import ensure_images
from deployer.composition import Connected
from deployer.config.load import LoadedSpec, load_spec
from deployer.config.spec import Spec
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Warned
from deployer.core.image_ref import parse_ref
from deployer.core.steps import Steps, within
from deployer.plan import ImagePlan, Plan
from deployer.plan.tags import Commit
from deployer.sources import git, load
from deployer.sources.git import NoCheckout, checked_out
from deployer.stages import images as images_stage
from deployer.stages import rollback as rollback_stage
from deployer.stages import secrets as secrets_stage
from deployer.state.build_cache import Previous
from deployer.state.history import Entry, KeptSecretRef
from deployer.state.record import Record

_KEPT = 100
_HIDDEN = ("_", ".")


@dataclass(frozen=True, slots=True)
class Moved:
    """The migrations of an image that ran, or may have run, after the revision of the rollback."""

    image: str
    newer: tuple[str, ...]
    edited: tuple[str, ...]
    last: str
    """The last migration of the earlier revision; empty where it had none."""


def migrations_of(image: ImagePlan) -> dict[str, str]:
    """Name → short digest of the newest migrations in the image's build context; empty where the spec names none."""
    if image.migrations is None:
        return {}
    folder = image.migrations.strip("/") + "/"
    parts: dict[str, list[str]] = {}
    for path, found in sorted(image.source.manifest.items()):
        name = path.removeprefix(folder).split("/")[0]
        if path.startswith(folder) and not name.startswith(_HIDDEN):
            parts.setdefault(name, []).append(f"{path} {found}")
    names = sorted(parts)[-_KEPT:]
    return {name: hashlib.sha256("\n".join(parts[name]).encode()).hexdigest()[:12] for name in names}


def moved_since(history: Sequence[Entry], back_to: Entry) -> tuple[Moved, ...]:
    """What any revision after that one brought and that one does not have: its own start may have applied it."""
    later = [one for one in history if one.number > back_to.number]
    moved = []
    for image in sorted({name for one in later for name in one.schema}):
        known = back_to.schema.get(image, {})
        found: dict[str, str] = {}
        for one in later:
            found |= one.schema.get(image, {})
        # Only as many as are remembered are compared: an older one that fell out of the list is none that came since.
        oldest = min(known, default="")
        newer = tuple(name for name in sorted(found) if name not in known and name > oldest)
        edited = tuple(name for name in sorted(found) if name in known and known[name] != found[name])
        if newer or edited:
            moved.append(Moved(image, newer, edited, max(known, default="")))
    return tuple(moved)


def warning(moved: Moved, spec: Spec, number: int) -> Problem:
    """What a person should know before older code meets a newer schema, with the way back where the spec names it."""
    shown = [f"newer: {', '.join(moved.newer)}"] if moved.newer else []
    shown += [f"edited since: {', '.join(moved.edited)}"] if moved.edited else []
    shown.append("the data stays as it is: older code meets the newer schema")
    wanted = spec.images[moved.image].migrations if moved.image in spec.images else None
    back = wanted.back if wanted is not None else None
    if back is None:
        hint = "give images.…migrations.back in the spec, and this says how to take the schema back"
        hints: tuple[str, ...] = (hint,) if moved.newer else ()
    else:
        # The file's name up to the first `_` or `.`; Alembic calls what is before the first migration `base`.
        revision = moved.last.split("_")[0].split(".")[0] or "base"
        command = back.replace("{revision}", revision).replace("{steps}", str(len(moved.newer)))
        # Only the newer code knows how its own migrations are undone.
        hints = (f"with the newer code: todo-deploy exec {moved.image} -- {command}",) if moved.newer else ()
    title = f"the database schema of `{moved.image}` changed after revision {number}"
    return Problem("SCHEMA_MOVED", title, "\n".join(shown), hints=hints)


@dataclass(frozen=True, slots=True)
class _Source:
    """Where something may be made again from: a plan of it, and what that plan is of."""

    name: str
    loaded: LoadedSpec
    plan: Plan


def ensure_revision(run: Connected, entry: Entry, kept: Record) -> Steps[None]:
    """Images and copies of Secrets of the revision are there; refused, with all that lacks and why, otherwise."""
    gone = rollback_stage.lacking_releases(entry, kept, run.kube)
    copies = [one for one in entry.secrets if run.kube.get("Secret", one.namespace, one.copy) is None]
    images = _missing_images(run, entry)
    if not gone and not copies and not images:
        return
    opened = opened_with(kept, run)
    with ExitStack() as stack:
        sources = _work_tree(run, opened) if images or copies else []
        made, lacking = _images_of(images, entry, kept, sources)
        why = ""
        if lacking:
            then, why = _of_commit(run, entry, opened, stack)
            sources += then
            made, lacking = _images_of(images, entry, kept, sources)
        bodies = [(one, _copy(run, one, sources)) for one in copies]
        problems = [replace(one, detail=why) for one in lacking]
        problems += [_gone_copy(one, entry) for one, body in bodies if body is None]
        if problems or gone:
            raise DeployError([*problems, *gone], ExitCode.REFUSED)
        for one, body in bodies:
            assert body is not None
            run.kube.create(body)
            yield Item(
                rollback_stage.STAGE, one.copy, ItemState.DONE, "its copy was gone: made again from the same values"
            )
        for source, wanted in made:
            yield from _build(run, source, wanted)


def _work_tree(run: Connected, opened: Opened) -> list[_Source]:
    """The work tree, if it is whole: what is being edited just now need not be."""
    try:
        plan = plan_for(opened, run.values, git.read_commit(run.loaded.root), run.machine)
    except DeployError:
        return []
    return [_Source("the work tree", run.loaded, plan)]


def _of_commit(run: Connected, entry: Entry, opened: Opened, stack: ExitStack) -> tuple[list[_Source], str]:
    """The recorded commit, checked out until the stack is left; and why it is not what the revision was made of."""
    name = f"commit {entry.commit[:7]}"
    if not entry.commit:
        return [], "it was built outside git: no commit is recorded that it could be built from again"
    try:
        path, tree = stack.enter_context(checked_out(run.loaded.path, entry.commit, run.machine.env))
        spec = load_spec(path, run.loaded.profile, repository=tree)
        then = replace(opened, loaded=load.filled(spec, run.values))
        plan = plan_for(then, run.values, Commit(entry.commit, clean=True), run.machine)
    except NoCheckout as error:
        return [], str(error)
    except DeployError as error:
        return [], f"{name} does not build here: {error.problems[0].title}"
    if entry.dirty:
        why = f"it was built from {name} with uncommitted changes, which no commit holds"
    else:
        why = f"{name} builds another image here: build arguments or base images differ"
    return [_Source(name, then.loaded, plan)], why


def _missing_images(run: Connected, entry: Entry) -> dict[str, str]:
    """Name → reference of the revision's images that the nodes no longer find."""
    if not entry.images or run.way.kind == "none":
        return {}
    delivery = composition.open_delivery(run.machine, run.spec.cluster, None, (run.way, run.facts), run.why_stopped)
    return {name: ref for name, ref in entry.images.items() if delivery.found(ref) is None}


def _images_of(
    missing: Mapping[str, str], entry: Entry, kept: Record, sources: Sequence[_Source]
) -> tuple[list[tuple[_Source, ImagePlan]], list[Problem]]:
    """Each missing image with a source of the digest that its tag stands for, and a problem for each without one."""
    found: list[tuple[_Source, ImagePlan]] = []
    problems = []
    for name, ref in missing.items():
        named = parse_ref(ref)
        digest = kept.tags.get(named.name, {}).get(named.tag)
        plans = ((source, image) for source in sources for image in source.plan.images if image.name == name)
        made = next(((source, image) for source, image in plans if image.content == digest), None)
        if made is not None:
            found.append((made[0], replace(made[1], repository=named.name, tag=named.tag)))
        else:
            title = f"image `{ref}` of revision {entry.number} is no longer in the cluster's daemon"
            problems.append(Problem("ROLLBACK_IMAGE", title, hints=_hints(entry)))
    return found, problems


def _hints(entry: Entry) -> tuple[str, ...]:
    if not entry.commit:
        return ("todo-deploy history, for a revision whose images are there",)
    return (f"git checkout {entry.commit[:7]}, then `todo-deploy up`: what that commit builds serves then",)


def _copy(run: Connected, ref: KeptSecretRef, sources: Sequence[_Source]) -> dict[str, object] | None:
    """The copy's object, from env values that its name is the hash of; None where they are others by now."""
    for source in sources:
        for one in source.plan.secrets:
            if (one.namespace, one.copy) == (ref.namespace, ref.copy):
                return secrets_stage.secret_objects(source.plan.application, one)[0]
    found = run.kube.get("Secret", ref.namespace, ref.served)
    return secrets_stage.copy_of(found, ref.copy) if found is not None else None


def _gone_copy(ref: KeptSecretRef, entry: Entry) -> Problem:
    return Problem(
        "ROLLBACK_SECRET",
        f"Secret `{ref.copy}` of revision {entry.number} is gone",
        "the env files give other values than it had",
        hints=("put the values of that time back into the env file, then: todo-deploy rollback",),
    )


def _build(run: Connected, source: _Source, image: ImagePlan) -> Steps[None]:
    yield Warned(Problem("REBUILDING", f"image `{image.ref}` was pruned: it is built again from {source.name}"))
    before = {image.name: Previous(image.ref, image.source)}
    building = ensure_images(run, source.loaded, (image,), before, images_stage.Building())
    yield from within(rollback_stage.STAGE, building)
