"""What this machine remembers of its builds, only to show which file changed; losing it costs a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from deployer.core.files import write_private
from deployer.core.reading import Malformed, read_json
from deployer.plan import ImagePlan, ImageSource


@dataclass(frozen=True, slots=True)
class Previous:
    """What an image was built from the last time on this machine."""

    ref: str
    source: ImageSource


def memory_path(folder: Path) -> Path:
    """Where the deployment that has the folder keeps the memory of its images."""
    return folder / "images.json"


@dataclass(frozen=True, slots=True)
class _Remembered:
    ref: str
    digest: str
    manifest: Mapping[str, str]


def recall(path: Path) -> dict[str, Previous]:
    """What each image was last built from; empty where nothing readable is remembered."""
    try:
        known = read_json(path, dict[str, _Remembered])
    except (OSError, Malformed):
        return {}
    return {name: Previous(one.ref, ImageSource(one.digest, one.manifest)) for name, one in known.items()}


def remember(path: Path, before: Mapping[str, Previous], images: tuple[ImagePlan, ...]) -> None:
    """The images' references and manifests are remembered; an unwritable state folder is no failure."""
    fresh = {image.name: Previous(image.ref, image.source) for image in images}
    if all(before.get(name) == one for name, one in fresh.items()):
        return
    document = {
        name: {"ref": one.ref, "digest": one.source.digest, "manifest": dict(one.source.manifest)}
        for name, one in {**before, **fresh}.items()
    }
    with suppress(OSError):
        write_private(path, json.dumps(document, sort_keys=True))
