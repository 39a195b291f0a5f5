"""`todo-deploy images list` and `images prune`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import click

from deployer import composition
from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.commands.connection import Opened, not_deployed, open_own, open_running
from deployer.composition import Machine, this_machine
from deployer.config.load import LoadedSpec
from deployer.core.errors import ExitCode, machine_error
from deployer.core.events import Event, Warned
from deployer.core.ports import ImagePort
from deployer.core.steps import Steps, drive
from deployer.images.prune import Waste, find_waste, remove_waste, used_images
from deployer.plan import BASE_LABEL
from deployer.sources.image_ref import parse_ref
from deployer.state.build_cache import deployment_dir
from deployer.state.lock import locked


@click.group("images")
def images() -> None:
    """Look after the images that were built for the application."""


@images.command("list")
@common_options
def list_(session: Session) -> int:
    """Show the images of the revision that serves: tag, registry, size, layers, age, base, digest."""
    found = built_images(_opened(read_spec(session), this_machine()))
    if session.as_json:
        print_json("images", ExitCode.OK, {"images": [asdict(one) for one in found]})
        return ExitCode.OK
    for one in found:
        size = f"{one.size / 10**6:.0f} MB, {one.layers} layers" if one.digest else "not in the daemon"
        click.echo(f"{one.name}: {one.repository}:{one.tag}")
        click.echo(f"  registry {one.registry}; {size}; built {one.created or 'never'}")
        click.echo(f"  base {one.base or 'unknown'}; digest {one.digest or 'none'}")
    return ExitCode.OK


@images.command("prune")
@common_options
def prune(session: Session) -> int:
    """Remove images and Secret copies that no kept revision refers to; shows them only, until --yes is given."""
    waste = drive(pruned(read_spec(session), this_machine(), remove=session.yes), _tell_waiting)
    if session.as_json:
        data = {
            "removed": session.yes,
            "bytes": waste.size,
            "images": [image.ref for image in waste.images],
            "secrets": [{"namespace": ref.namespace, "name": ref.name} for ref in waste.secrets],
        }
        print_json("images", ExitCode.OK, data)
    else:
        _tell(waste, removed=session.yes)
    return ExitCode.OK


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
        yield from ()
        opened = _opened(loaded, here, open_own if remove else open_running)
        daemon, spaces = _daemon(opened), _namespaces(opened)
        used = used_images(spaces, opened.kube)
        waste = find_waste(loaded.spec.application, spaces, opened.record, used, opened.kube, daemon)
        if remove:
            remove_waste(waste, opened.kube, daemon)
        return waste

    folder = deployment_dir(here.state_dir, loaded.spec.cluster.name, loaded.spec.application)
    return (yield from locked(folder, here.clock, look()) if remove else look())


def _tell_waiting(event: Event) -> None:
    if isinstance(event, Warned):
        click.echo(event.problem.title, err=True)


def _opened(
    loaded: LoadedSpec, here: Machine, connect: Callable[[LoadedSpec, Machine], Opened] = open_running
) -> Opened:
    opened = connect(loaded, here)
    if not opened.is_deployed:
        raise not_deployed(opened)
    return opened


def _daemon(opened: Opened) -> ImagePort:
    if opened.facts.docker is None:
        raise machine_error("NO_DAEMON", "this cluster has no Docker daemon that can be reached")
    return composition.open_images(opened.facts.docker)


def _namespaces(opened: Opened) -> list[str]:
    spec = opened.loaded.spec
    named = [secret.namespace or spec.namespace for secret in spec.secrets.values()]
    return [spec.namespace, *named, *(one.namespace for one in opened.record.releases.values())]


def _tell(waste: Waste, *, removed: bool) -> None:
    for image in waste.images:
        click.echo(f"image   {image.ref}  {image.size / 2**20:.0f} MiB")
    for ref in waste.secrets:
        click.echo(f"secret  {ref.namespace}/{ref.name}")
    count = len(waste.images) + len(waste.secrets)
    if not count:
        click.echo("nothing to prune: every image and Secret belongs to a kept revision")
    else:
        click.echo(f"{count} removed" if removed else f"{count} would be removed: todo-deploy images prune --yes")
