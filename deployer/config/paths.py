"""Which paths of a spec leave the repository, links resolved: only those that the spec or the command line allows may.

A spec comes with a repository of any author. What its paths and links lead to is read, built into images and handed to
Helm, so that a path out of the repository could publish any of the user's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployer.config.spec import Spec


@dataclass(frozen=True, slots=True)
class Outside:
    """A path of the spec, by its place in it, that leads out of the repository; `allowed` by `allowOutside`."""

    location: tuple[str | int, ...]
    path: Path
    allowed: bool

    def title(self) -> str:
        """What is to be said of it, in a sentence."""
        return f"`{'.'.join(map(str, self.location))}` leads out of the repository, to {self.path}"


def work_tree(folder: Path) -> Path:
    """The Git work tree that holds the folder, links resolved; the folder itself where none does."""
    real = folder.resolve()
    return next((one for one in (real, *real.parents) if (one / ".git").exists()), real)


def allowed_folders(spec: Spec, root: Path) -> tuple[Path, ...]:
    """What `allowOutside` names, links resolved."""
    return tuple((root / one).resolve() for one in spec.allow_outside)


def is_within(path: Path, folders: Sequence[Path]) -> bool:
    """Whether the path, links resolved, is one of the folders or lies in one of them."""
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders)


def paths_outside(spec: Spec, root: Path, repository: Path) -> tuple[Outside, ...]:
    """Every path of the spec that leaves the repository."""
    allowed = allowed_folders(spec, root)
    return tuple(
        Outside(location, path.resolve(), is_within(path, allowed))
        for location, path in _paths(spec, root)
        if not is_within(path, (repository,))
    )


def _paths(spec: Spec, root: Path) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    for name, image in spec.images.items():
        context = root / image.context
        yield ("images", name, "context"), context
        dockerfile = root / image.dockerfile if image.dockerfile else context / "Dockerfile"
        if image.dockerfile:
            yield ("images", name, "dockerfile"), dockerfile
        # What is read beside them without being named: only as a link can it lead elsewhere.
        beside = (dockerfile, dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore")
        yield from ((("images", name, "context"), path) for path in beside if path.is_symlink())
    for name, release in spec.releases.items():
        yield ("releases", name, "chart"), root / release.chart
        for index, file in enumerate(release.values_files):
            yield ("releases", name, "valuesFiles", index), root / file
    for index, file in enumerate(spec.env.files):
        yield ("env", "files", index), root / file
    if spec.env.example:
        yield ("env", "example"), root / spec.env.example
    if spec.build.ca:
        yield ("build", "ca"), root / spec.build.ca
