"""Whether the database's schema may have moved since an earlier revision, and the command that takes it back.

What each image brings is known from its build context alone: the folder that the spec names holds a file (or a folder)
per migration. Nothing is asked of a database and nothing of its data is touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployer.config.spec import Spec
from deployer.core.errors import Problem
from deployer.plan import ImagePlan
from deployer.state.history import Entry

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


def warnings(moved: Sequence[Moved], spec: Spec, number: int) -> tuple[Problem, ...]:
    """What a person should know before older code meets a newer schema, with the way back where the spec names it."""
    return tuple(_warning(one, spec, number) for one in moved)


def _warning(moved: Moved, spec: Spec, number: int) -> Problem:
    shown = [f"newer: {', '.join(moved.newer)}"] if moved.newer else []
    shown += [f"edited since: {', '.join(moved.edited)}"] if moved.edited else []
    shown.append("the data stays as it is: older code meets the newer schema")
    wanted = spec.images[moved.image].migrations if moved.image in spec.images else None
    back = wanted.back if wanted is not None else None
    if back is None:
        hint = "give images.…migrations.back in the spec, and this says how to take the schema back"
        hints: tuple[str, ...] = (hint,) if moved.newer else ()
    else:
        known: Mapping[str, str] = {"revision": _number(moved.last), "steps": str(len(moved.newer))}
        command = back.replace("{revision}", known["revision"]).replace("{steps}", known["steps"])
        # Only the newer code knows how its own migrations are undone.
        hints = (f"with the newer code: todo-deploy exec {moved.image} -- {command}",) if moved.newer else ()
    title = f"the schema of `{moved.image}` changed after revision {number}"
    return Problem("SCHEMA_MOVED", title, "\n".join(shown), hints=hints)


def _number(name: str) -> str:
    """A migration's revision: its file's name up to the first `_` or `.`; `base`, Alembic's word, before the first."""
    return name.split("_")[0].split(".")[0] or "base"
