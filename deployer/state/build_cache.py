"""What this machine remembers of its builds, only to tell which file changed; losing it costs a sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from deployer.core.files import path_component, write_private
from deployer.plan import ImagePlan, ImageSource
from deployer.stages.images import Previous


def deployment_dir(state_dir: Path, cluster: str, application: str) -> Path:
    """Where this machine keeps what concerns one deployment: two clones of the same one share it."""
    name = f"{path_component(cluster, 'a cluster')}.{path_component(application, 'an application')}"
    return state_dir / "deployments" / name


def memory_path(state_dir: Path, cluster: str, application: str) -> Path:
    """Where the memory of one deployment's images is."""
    return deployment_dir(state_dir, cluster, application) / "images.json"


def recall(path: Path) -> dict[str, Previous]:
    """What each image was last built from; empty where nothing readable is remembered."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: Previous(one["ref"], ImageSource(one["digest"], one["manifest"])) for name, one in document.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


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
