"""What passed the rules before on this machine, so that the same is neither rendered nor what again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.config.load import LoadedSpec
from deployer.core.errors import Problem
from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json, shaped
from deployer.env.leaks import is_env_file
from deployer.plan import Plan
from deployer.preflight.rules.probing import without_tags


@dataclass(frozen=True, slots=True)
class Passed:
    """The shape that passed, and the warnings that were what of it."""

    shape: str = ""
    what: frozenset[str] = frozenset()


def shape_of(loaded: LoadedSpec, plan: Plan, env: Iterable[str]) -> str:
    """A digest of everything that decides what rules find, but for the images' tags, which change with each build."""
    refs = {image.name: image.tag for image in plan.images}
    releases = [
        [one.name, one.namespace, str(one.chart), without_tags(one, loaded.spec.releases[one.name], refs)]
        for one in plan.releases
    ]
    contexts = {
        image.name: sorted(
            f"{path} {part}" if is_env_file(path) else path for path, part in image.source.manifest.items()
        )
        for image in plan.images
    }
    parts = [loaded.spec.model_dump(mode="json"), releases, contexts, sorted(env)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def untold(warnings: Iterable[Problem], before: Passed) -> tuple[Problem, ...]:
    """The warnings that were not what the last time."""
    return tuple(one for one in warnings if _mark(one) not in before.what)


def passing(shape: str, warnings: Iterable[Problem]) -> Passed:
    """What is to be remembered of a check that found no error."""
    return Passed(shape, frozenset(_mark(one) for one in warnings))


def recall(path: Path) -> Passed:
    """What passed the last time; nothing where that cannot be read."""
    try:
        document = read_json(path, dict[str, Any])
        return Passed(shaped(str, document.get("shape", "")), frozenset(shaped(list[str], document.get("told", []))))
    except (OSError, Malformed):
        return Passed()


def remember(path: Path, passed: Passed) -> None:
    """It is remembered; an unwritable state folder costs a render."""
    document: Mapping[str, object] = {"shape": passed.shape, "what": sorted(passed.what)}
    with suppress(OSError):
        write_private(path, json.dumps(document))


def _mark(problem: Problem) -> str:
    """Figures in the detail change with every pod; what is what is what by its sentence."""
    return f"{problem.code} {problem.title}"
