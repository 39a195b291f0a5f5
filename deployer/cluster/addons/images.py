"""The images of addons, built from Go modules and handed to the cluster's daemon: only where none can be pulled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deployer.cluster.addons.table import STAGE, Addon, AddonImage
from deployer.core.events import Item, ItemState
from deployer.core.ports import DockerEndpoint, ImagePort
from deployer.core.steps import Steps
from deployer.toolchain.files import RECIPES, locked
from deployer.toolchain.source.go import built, ensure_built, ensure_go
from deployer.toolchain.source.images import OURS, Recipe, ensure_image
from deployer.toolchain.source.node import kube_proxy_os

_DOCKERFILE = RECIPES / "images" / "binary.Dockerfile"
_WITH_TOOLS = Path(__file__).parent / "network-tools.Dockerfile"
# metrics-server's own go.mod asks for it.
_GO_AT_LEAST = (1, 26, 4)


def recipe(image: AddonImage, cache_dir: Path, env: Mapping[str, str]) -> Recipe:
    """The image's recipe, under a name that ends with its digest but for what is particular to this machine."""
    made = Recipe(
        "",
        _DOCKERFILE,
        programs={image.program: built(cache_dir, image.build) / image.program},
        arguments={"PROGRAM": image.program},
    )
    parent = ""
    if image.network_tools:
        system = kube_proxy_os(env)
        made = replace(made, dockerfile=_WITH_TOOLS, arguments={**made.arguments, "OS": system.ref})
        parent = system.digest()
    ref = f"{OURS}/addon-{image.build.name}/{image.program}:{image.version}-{made.digest()[:8]}"
    return replace(made, ref=ref, parent=parent)


def image_values(addon: Addon, cache_dir: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What the addon's manifests call its images, which are never pulled."""
    return {_named(image): recipe(image, cache_dir, env).ref for image in addon.images}


def upstream_values(addon: Addon) -> dict[str, str]:
    """The same for upstream's image, which the cluster pulls."""
    return {_named(image): addon.upstream for image in addon.images}


def _named(image: AddonImage) -> str:
    return f"IMAGE_{image.program.upper().replace('-', '_')}"


@dataclass(frozen=True, slots=True)
class Daemons:
    """Where images are built and where they are needed, with the endpoint of the latter."""

    host: ImagePort
    cluster: ImagePort
    endpoint: DockerEndpoint


def ensure_images(
    addons: Sequence[Addon], docker: Path, daemons: Daemons, cache_dir: Path, env: Mapping[str, str]
) -> Steps[None]:
    """The addons' images are in the cluster's daemon; what was once built is kept in the cache and in the host's."""
    recipes = [(image, recipe(image, cache_dir, env)) for addon in addons for image in addon.images]
    lacking = [(image, one) for image, one in recipes if daemons.cluster.image(one.ref) is None]
    if not lacking:
        return

    def made() -> Steps[None]:
        builds = list({image.build.name: image.build for image, _ in lacking}.values())
        if any(not built(cache_dir, build).is_dir() for build in builds):
            go = yield from ensure_go(cache_dir, env, _GO_AT_LEAST)
            yield from ensure_built(cache_dir, go, builds, env)
        if any(image.network_tools for image, _ in lacking):
            yield from ensure_image(docker, kube_proxy_os(env), cache_dir, env)
        for _, one in lacking:
            yield from ensure_image(docker, one, cache_dir, env)

    if any(daemons.host.image(one.ref) is None for _, one in lacking):
        yield from locked(cache_dir, made())
    refs = [one.ref for _, one in lacking]
    yield Item(STAGE, "images", ItemState.RUNNING, f"copying {len(refs)} into the cluster's daemon")
    daemons.host.copy_to(daemons.endpoint, refs)
    yield Item(STAGE, "images", ItemState.DONE, f"{len(refs)} in the cluster's daemon")
