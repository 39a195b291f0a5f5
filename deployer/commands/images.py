"""The images that were built for the application: those of the newest revision, and those that nothing refers to."""

from __future__ import annotations

from dataclasses import dataclass

from deployer import composition
from deployer.commands.connection import Opened, not_deployed, one_at_a_time, open_locked, open_running
from deployer.composition import Machine, Run, begin_run
from deployer.config.load import LoadedSpec
from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Warned
from deployer.core.image_ref import parse_ref
from deployer.core.ports import ImageFacts, ImagePort
from deployer.core.steps import Steps
from deployer.images.delivery import no_way
from deployer.images.prune import Waste, find_waste, remove_waste, used_images
from deployer.plan import BASE_LABEL
from deployer.state.runs import new_run_id


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


def built_images(opened: Opened, here: Machine) -> tuple[ListedImage, ...]:
    """The images of the newest revision, as the daemon that built them has them."""
    daemon = _daemon(opened, here)
    found = []
    for name, ref in sorted(opened.record.history[-1].images.items()) if opened.record.history else ():
        facts, named = daemon.image(ref) or ImageFacts(ref, "", 0, "", ""), parse_ref(ref)
        registry = named.registry or f"{opened.loaded.spec.cluster.provider} (local)"
        base = facts.labels.get(BASE_LABEL, "")
        found.append(ListedImage(name, registry, named.name, named.tag, facts.size, facts.layers, facts.created, base,
                                 facts.id))  # fmt: skip
    return tuple(found)


def pruned(loaded: LoadedSpec, here: Machine, *, remove: bool) -> Steps[Waste]:
    """What no kept revision refers to; with `remove` it is gone.

    Removed while no run is at work: what one has built is not yet part of a revision.
    """
    if remove:
        return (yield from _removed(begin_run(new_run_id(here.clock.now()), loaded, {}, here)))
    return (yield from _waste(open_running(loaded, here), here))


@one_at_a_time
def _removed(run: Run) -> Steps[Waste]:
    opened = yield from open_locked(run)
    waste = yield from _waste(opened, run.machine)
    others = [composition.open_images(one) for one in list(opened.facts.daemons.values())[1:]]
    remove_waste(waste, opened.kube, _daemon(opened, run.machine), *others)
    return waste


def _waste(opened: Opened, here: Machine) -> Steps[Waste]:
    daemon, spaces = _daemon(_deployed(opened), here), _namespaces(opened)
    used = used_images(spaces, opened.kube)
    waste = find_waste(opened.loaded.spec.application, spaces, opened.record, used, opened.kube, daemon)
    for one in waste.unread:
        yield Warned(one)
    return waste


def open_deployed(loaded: LoadedSpec, here: Machine) -> Opened:
    """The application on its cluster; machine error where it is not deployed."""
    return _deployed(open_running(loaded, here))


def _deployed(opened: Opened) -> Opened:
    if not opened.is_deployed:
        raise not_deployed(opened)
    return opened


def _daemon(opened: Opened, here: Machine) -> ImagePort:
    """The daemon that builds; what was pushed to a registry stays there."""
    endpoint = composition.builder_of(here, opened.way, opened.facts)
    if endpoint is None:
        raise DeployError(no_way(opened.way), ExitCode.MACHINE)
    return composition.open_images(endpoint)


def _namespaces(opened: Opened) -> list[str]:
    spec = opened.loaded.spec
    named = [secret.namespace or spec.namespace for secret in spec.secrets.values()]
    return [spec.namespace, *named, *(one.namespace for one in opened.record.releases.values())]
