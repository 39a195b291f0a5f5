"""What passed the rules before on this machine, so that the same is neither rendered nor reported again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deployer.config.load import LoadedSpec
from deployer.core.errors import Problem
from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json
from deployer.env.leaks import is_env_file
from deployer.plan import Plan
from deployer.preflight.rules.probing import without_tags


@dataclass(frozen=True, slots=True)
class Passed:
    """The shape that passed the rules the last time, and the warnings that were reported for it."""

    shape: str = ""
    warned: tuple[str, ...] = ()


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


def recall(path: Path) -> Passed:
    """What passed the last time; nothing where that cannot be read."""
    try:
        return read_json(path, Passed)
    except (OSError, Malformed):
        return Passed()


def remember(path: Path, passed: Passed) -> None:
    """It is remembered; an unwritable state folder costs a render."""
    with suppress(OSError):
        write_private(path, json.dumps(asdict(passed)))


def identity(warning: Problem) -> str:
    """By what a warning is known again: the figures in its detail change with every pod."""
    return f"{warning.code} {warning.title}"
