"""Images built in the host's Docker, each with a label that says from what: built when missing or different."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployer.core.errors import machine_error
from deployer.core.events import Item, ItemState, Log
from deployer.core.process import CommandFailed, run, stream
from deployer.core.steps import Steps
from deployer.toolchain.files import bundled, digest, work_folder
from deployer.toolchain.model import STAGE

LABEL = "todo-deploy.recipe"
OURS = "todo-deploy.local"

# Docker hands these to every RUN without writing them into the image.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class BuildHost:
    """What images are made with here: Docker's client, the cache with the programs, and the environment."""

    docker: Path
    cache_dir: Path
    env: Mapping[str, str] = field(repr=False)
    bases: tuple[str, ...] = ()
    """Base images that are to be replaced by ones of ours, too."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An image: its name, its Dockerfile, and the files and arguments it is built from.

    `digest` covers all that decides the content. Programs are known by the names of their folders in the cache,
    which hold a digest already; `parent` is the digest of the image it stands on.
    """

    ref: str
    dockerfile: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    programs: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""

    def digest(self) -> str:
        """What the image's label says when it is up to date."""
        return digest(
            self.dockerfile.read_text(encoding="utf-8"),
            [(name, _digest_of(path)) for name, path in sorted(self.files.items())],
            [(name, path.parts[-2:]) for name, path in sorted(self.programs.items())],
            sorted(self.arguments.items()),
            self.parent,
        )


def _digest_of(path: Path) -> str:
    files = sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    return digest(*[file.read_bytes() for file in files])


def label_of(host: BuildHost, ref: str) -> str | None:
    """The recipe that the image was built from ("" where it does not say), or None where there is no image."""
    try:
        words = ["image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', ref]
        said = run([host.docker, *words], env=host.env)
    except CommandFailed as error:
        if any("No such" in line for line in error.tail):
            return None
        # An image without any label makes the template fail.
        return ""
    return said.strip()


def is_current(host: BuildHost, ref: str, wanted: str) -> bool:
    """Whether the image was built as wanted, or is that of a bundle of the same recipes.

    The machine that saved it may have another mirror and other CA certificates.
    """
    label = label_of(host, ref)
    if not label or label == wanted:
        return label == wanted
    return label == ((bundled(host.cache_dir) or {}).get("labels") or {}).get(ref)


def are_current(host: BuildHost, recipes: Iterable[Recipe]) -> bool:
    """Whether each of the images exists as its recipe says: then nobody has to make one."""
    return all(is_current(host, one.ref, one.digest()) for one in recipes)


def ensure_image(host: BuildHost, recipe: Recipe) -> Steps[bool]:
    """The image exists as the recipe says; returns whether it had to be built."""
    wanted = recipe.digest()
    if is_current(host, recipe.ref, wanted):
        return False
    yield Item(STAGE, recipe.ref, ItemState.RUNNING, "building")
    with work_folder(host.cache_dir, f"image-{digest(recipe.ref)[:12]}") as folder:
        for name, path in (*recipe.files.items(), *recipe.programs.items()):
            _place(path, folder / name)
        shutil.copyfile(recipe.dockerfile, folder / "Dockerfile")
        # The classic builder: BuildKit would ask a registry for base images that exist only here.
        settings = {**host.env, "DOCKER_BUILDKIT": "0"}
        try:
            for line in stream(_command(host, recipe, wanted, folder), env=settings):
                yield Log(STAGE, recipe.ref, line)
        except CommandFailed as error:
            yield Item(STAGE, recipe.ref, ItemState.FAILED)
            raise machine_error(
                "TOOLCHAIN_IMAGE",
                f"the image {recipe.ref} could not be built",
                detail=error.output,
                hints=("run the command again: finished steps are kept", "todo-deploy doctor"),
            ) from error
    yield Item(STAGE, recipe.ref, ItemState.DONE)
    return True


def _command(host: BuildHost, recipe: Recipe, wanted: str, folder: Path) -> list[str]:
    words = [str(host.docker), "build", "--pull=false", "--label", f"{LABEL}={wanted}", "-t", recipe.ref]
    for name, value in recipe.arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    for name in _PROXIES:
        if host.env.get(name):
            words += ["--build-arg", name]  # without a value: Docker reads it, and argv does not show it
    return [*words, str(folder)]


def _place(source: Path, target: Path) -> None:
    """The file or folder is at `target`, by hard link where the file system can."""
    if source.is_dir():
        for path in source.iterdir():
            _place(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
