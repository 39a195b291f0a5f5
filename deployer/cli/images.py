"""`todo-deploy images prune`."""

from __future__ import annotations

import click

from deployer import world
from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.errors import ExitCode, machine_error
from deployer.opening import Opened, not_deployed, open_running
from deployer.prune import Waste, find_waste, remove_waste, used_images
from deployer.world import this_world


@click.group("images")
def images() -> None:
    """Look after the images that were built for the application."""


@images.command("prune")
@common_options
def prune(session: Session) -> int:
    """Remove images and Secret copies that no kept revision refers to; shows them only, until --yes is given."""
    opened = open_running(read_spec(session), this_world())
    if not opened.is_deployed:
        raise not_deployed(opened)
    if opened.facts.docker is None:
        raise machine_error("NO_DAEMON", "this cluster has no Docker daemon that can be reached")
    daemon = world.open_images(opened.facts.docker)
    spaces = _namespaces(opened)
    application = opened.loaded.spec.application
    waste = find_waste(application, spaces, opened.record, used_images(spaces, opened.kube), opened.kube, daemon)
    if session.yes:
        remove_waste(waste, opened.kube, daemon)
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
