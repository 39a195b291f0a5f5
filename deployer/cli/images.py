"""`todo-deploy images list` and `images prune`."""

from __future__ import annotations

from dataclasses import asdict

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.commands.images import built_images, open_deployed, pruned
from deployer.composition import this_machine
from deployer.core.errors import ExitCode
from deployer.core.events import Event, Warned
from deployer.core.steps import drive
from deployer.images.prune import Waste


@click.group("images")
def images() -> None:
    """Look after the images that were built for the application."""


@images.command("list")
@common_options
def list_(session: Session) -> int:
    """Show the images of the revision that serves: tag, registry, size, layers, age, base, digest."""
    here = this_machine()
    found = built_images(open_deployed(read_spec(session), here), here)
    if session.as_json:
        return print_json("images", ExitCode.OK, {"images": [asdict(one) for one in found]})
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
    waste = drive(pruned(read_spec(session), this_machine(), remove=session.yes), _show_waiting)
    if session.as_json:
        data = {
            "removed": session.yes,
            "bytes": waste.size,
            "images": [image.ref for image in waste.images],
            "secrets": [{"namespace": ref.namespace, "name": ref.name} for ref in waste.secrets],
        }
        print_json("images", ExitCode.OK, data)
    else:
        _show(waste, removed=session.yes)
    return ExitCode.OK


def _show_waiting(event: Event) -> None:
    if isinstance(event, Warned):
        click.echo(event.problem.title, err=True)


def _show(waste: Waste, *, removed: bool) -> None:
    for image in waste.images:
        click.echo(f"image   {image.ref}  {image.size / 2**20:.0f} MiB")
    for ref in waste.secrets:
        click.echo(f"secret  {ref.namespace}/{ref.name}")
    count = len(waste.images) + len(waste.secrets)
    if not count:
        click.echo("nothing to prune: every image and Secret belongs to a kept revision")
    else:
        click.echo(f"{count} removed" if removed else f"{count} would be removed: todo-deploy images prune --yes")
