"""The images of addons, built from Go modules and handed to the cluster's daemon: only where none can be pulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deployer.addons.table import Addon, AddonImage
from deployer.events import Item, ItemState
from deployer.ports import DockerEndpoint, ImagePort
from deployer.stages.addons import STAGE
from deployer.steps import Steps
from deployer.toolchain.gobuild import built, ensure_built
from deployer.toolchain.golang import ensure_go
from deployer.toolchain.imaging import OURS, Recipe, ensure_image
from deployer.toolchain.stamps import RECIPES, locked

_DOCKERFILE = RECIPES / "images" / "binary.Dockerfile"
# metrics-server's own go.mod asks for it.
_GO_AT_LEAST = (1, 26, 4)


def recipe(image: AddonImage, cache_dir: Path) -> Recipe:
    """The image's recipe, under a name that ends with its digest."""
    made = Recipe(
        "",
        _DOCKERFILE,
        programs={image.program: built(cache_dir, image.build) / image.program},
        arguments={"PROGRAM": image.program},
    )
    return replace(made, ref=f"{OURS}/addon-{image.build.name}/{image.program}:{image.version}-{made.digest()[:8]}")


def image_values(addon: Addon, cache_dir: Path) -> dict[str, str]:
    """What the addon's manifests call its images."""
    return {f"IMAGE_{image.program.upper().replace('-', '_')}": recipe(image, cache_dir).ref for image in addon.images}


def ensure_images(
    addons: Sequence[Addon],
    docker: Path,
    host: ImagePort,
    cluster: ImagePort,
    daemon: DockerEndpoint,
    cache_dir: Path,
    env: Mapping[str, str],
) -> Steps[None]:
    """The addons' images are in the cluster's daemon; what was once built is kept in the cache and in the host's."""
    recipes = [(image.build, recipe(image, cache_dir)) for addon in addons for image in addon.images]
    lacking = [(build, one) for build, one in recipes if cluster.image(one.ref) is None]
    if not lacking:
        return

    def made() -> Steps[None]:
        builds = list({build.name: build for build, _ in lacking}.values())
        if any(not built(cache_dir, build).is_dir() for build in builds):
            go = yield from ensure_go(cache_dir, env, _GO_AT_LEAST)
            yield from ensure_built(cache_dir, go, builds, env)
        for _, one in lacking:
            yield from ensure_image(docker, one, cache_dir, env)

    if any(host.image(one.ref) is None for _, one in lacking):
        yield from locked(cache_dir, made())
    refs = [one.ref for _, one in lacking]
    yield Item(STAGE, "images", ItemState.RUNNING, f"copying {len(refs)} into the cluster's daemon")
    host.copy_to(daemon, refs)
    yield Item(STAGE, "images", ItemState.DONE, f"{len(refs)} in the cluster's daemon")
