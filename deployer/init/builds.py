"""What the Compose file and skaffold.yaml say of images: which Dockerfile makes which one, and in which context.

Where a chart is deployed, they say only that: their stages and arguments are mostly those of development, and count
only where several images are made of one Dockerfile.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.image_ref import parse_ref
from deployer.core.reading import Malformed, read_text
from deployer.core.yaml import parse_manifest
from deployer.init.model import FoundDockerfile, dashed
from deployer.init.services import built
from deployer.status.objects import dig, rows

_SKAFFOLD = ("skaffold.yaml", "skaffold.yml")


@dataclass(frozen=True, slots=True)
class _Build:
    """An image that is built: its name without registry and tag, and of what."""

    image: str
    path: str
    context: str
    target: str
    given: Mapping[str, str]

    @property
    def variant(self) -> tuple[object, ...]:
        """What tells it from another image of the same Dockerfile."""
        return self.target, *sorted(self.given.items())


def with_builds(
    root: Path,
    files: Sequence[str],
    found: Sequence[FoundDockerfile],
    known: Mapping[str, str],
    read: Callable[[str], FoundDockerfile],
) -> tuple[FoundDockerfile, ...]:
    """The Dockerfiles with the images that are said to be made of them, in the context that is said.

    `read` reads one that was not found by its name. Several images of one Dockerfile are several Dockerfiles. A file
    that its own tool could not read says nothing.
    """
    by_path: dict[str, list[_Build]] = {}
    for one in (*_artifacts(root, files), *_services(root, found, known)):
        if not one.path.startswith("../") and (root / one.path).is_file():
            by_path.setdefault(one.path, []).append(one)
    made: list[FoundDockerfile] = []
    for each in (*found, *(read(path) for path in by_path if path not in {one.path for one in found})):
        said = by_path.get(each.path, []) if not each.target and not each.given else []
        if len({one.variant for one in said}) <= 1:
            images = tuple(dict.fromkeys(one.image for one in said if one.image))
            made.append(replace(each, images=images, context=said[0].context, sure=True) if said else each)
            continue
        for one in said:
            if one.image:
                made.append(replace(each, name=dashed(one.image), images=(one.image,), context=one.context, sure=True,
                                    target=one.target, given=one.given))  # fmt: skip
        made += [each] if each.name not in {one.name for one in made} else []
    return tuple(made)


def _services(root: Path, found: Sequence[FoundDockerfile], known: Mapping[str, str]) -> Iterator[_Build]:
    with suppress(DeployError):
        for image, one in built(root, found, known):
            yield _Build(_last(image), posixpath.normpath(one.path), one.context, one.target, one.given)


def _artifacts(root: Path, files: Sequence[str]) -> Iterator[_Build]:
    """The artifacts that are built by Docker (skaffold.dev/docs/references/yaml)."""
    for file in (one for one in files if PurePosixPath(one).name in _SKAFFOLD):
        with suppress(OSError, Malformed, ValueError, AttributeError):
            for artifact in (one for body in parse_manifest(read_text(root / file)) for one in _listed(body)):
                builder = artifact.get("docker") or {}
                if any(key in artifact for key in ("bazel", "buildpacks", "custom", "jib", "ko")):
                    continue
                folder = PurePosixPath(file).parent / str(artifact.get("context") or ".")
                context = posixpath.normpath(str(folder))
                path = posixpath.normpath(posixpath.join(context, str(builder.get("dockerfile") or "Dockerfile")))
                given = {str(key): str(text) for key, text in (builder.get("buildArgs") or {}).items()}
                yield _Build(_last(artifact["image"]), path, context, str(builder.get("target") or ""), given)


def _listed(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = [one for one in rows(body, "build", "artifacts") if one.get("image")]
    return own if dig(body, "kind") == "Config" else []


def _last(image: str) -> str:
    """The last part of the image's name; empty where it has none, or one that is not fixed."""
    last = parse_ref(image).last if image else ""
    return "" if "$" in last or "{" in last else last
