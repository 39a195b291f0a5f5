"""The images that were built for the application: those of the newest revision, and those that nothing refers to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployer import composition
from deployer.commands.connection import Opened, not_deployed, open_own, open_running
from deployer.composition import Machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import machine_error
from deployer.core.events import Warned
from deployer.core.ports import ImagePort
from deployer.core.steps import Steps
from deployer.images.prune import Waste, find_waste, remove_waste, used_images
from deployer.plan import BASE_LABEL
from deployer.sources.image_ref import parse_ref
from deployer.state.build_cache import deployment_dir
from deployer.state.lock import locked


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image of the application, as the daemon has it; without a digest where it is gone."""

    name: str
    registry: str
    repository: str
    tag: str
    size: int
    layers: int
    created: str
    base: str
    digest: str


def built_images(opened: Opened) -> tuple[ListedImage, ...]:
    """The images of the newest revision; they are in the node's own daemon, and no registry has them."""
    daemon = _daemon(opened)
    found = []
    for name, ref in sorted(opened.record.history[-1].images.items()) if opened.record.history else ():
        facts = daemon.image(ref)
        named = parse_ref(ref)
        registry = named.registry or f"{opened.loaded.spec.cluster.provider} (local)"
        labels = facts.labels if facts is not None else {}
        found.append(
            ListedImage(
                name,
                registry,
                named.name,
                named.tag,
                facts.size if facts is not None else 0,
                facts.layers if facts is not None else 0,
                facts.created if facts is not None else "",
                labels.get(BASE_LABEL, ""),
                facts.id if facts is not None else "",
            )
        )
    return tuple(found)


def pruned(loaded: LoadedSpec, here: Machine, *, remove: bool) -> Steps[Waste]:
    """What no kept revision refers to; with `remove` it is gone.

    Removed while no run is at work: what one has built is not yet part of a revision.
    """

    def look() -> Steps[Waste]:
        opened = open_deployed(loaded, here, open_own if remove else open_running)
        daemon, spaces = _daemon(opened), _namespaces(opened)
        used = used_images(spaces, opened.kube)
        waste = find_waste(loaded.spec.application, spaces, opened.record, used, opened.kube, daemon)
        for one in waste.unread:
            yield Warned(one)
        if remove:
            remove_waste(waste, opened.kube, daemon)
        return waste

    folder = deployment_dir(here.state_dir, loaded.spec.cluster.name, loaded.spec.application)
    return (yield from locked(folder, here.clock, look()) if remove else look())


def open_deployed(
    loaded: LoadedSpec, here: Machine, connect: Callable[[LoadedSpec, Machine], Opened] = open_running
) -> Opened:
    """The application on its cluster; machine error where it is not deployed."""
    opened = connect(loaded, here)
    if not opened.is_deployed:
        raise not_deployed(opened)
    return opened


def _daemon(opened: Opened) -> ImagePort:
    if opened.facts.docker is None:
        title, hint = (
            "this cluster has no Docker daemon that can be reached",
            "images prune works with Minikube's Docker only",
        )
        raise machine_error("NO_DAEMON", title, hints=(hint,))
    return composition.open_images(opened.facts.docker)


def _namespaces(opened: Opened) -> list[str]:
    spec = opened.loaded.spec
    named = [secret.namespace or spec.namespace for secret in spec.secrets.values()]
    return [spec.namespace, *named, *(one.namespace for one in opened.record.releases.values())]
