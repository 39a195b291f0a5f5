"""`todo-deploy bundle save`, `bundle load` and `bundle show`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from deployer.cli.options import F, Session, common_options
from deployer.cli.running import print_json, read_spec, run
from deployer.commands.bundle import load as load_story
from deployer.commands.bundle import save as save_story
from deployer.composition import this_machine
from deployer.core.errors import ExitCode, input_error
from deployer.sources import load as sources
from deployer.toolchain.bundle import PARTS, STAGE, Manifest, Part, megabytes, open_bundle

_FILE = click.argument("path", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


def _parts_options(function: F) -> F:
    choice = click.Choice(PARTS)
    only = click.option("--only", multiple=True, type=choice, help="This part alone; repeat for more.")
    without = click.option("--without", multiple=True, type=choice, help="All but this part; repeat for more.")
    return only(without(function))


@click.group("bundle")
def bundle() -> None:
    """Hand on toolchain, images and wheels in one file: for machines without a network, CI caches, class rooms."""


@bundle.command("save")
@_FILE
@_parts_options
@common_options
def save(session: Session, path: Path, only: tuple[Part, ...], without: tuple[Part, ...]) -> int:
    """Write FILE with what `up` needs on another machine: toolchain, images, bases, charts and wheels."""
    parts = _parts(only, without)
    loaded, here = read_spec(session), this_machine()
    values = sources.values_of(sources.env_or_example(loaded))
    ran = run(session, "bundle", loaded.spec.application, (STAGE,),
              lambda _: save_story(loaded, values, here, path, parts), here)  # fmt: skip
    if session.as_json:
        data = None if ran.value is None else _data(ran.value.path, ran.value.size, ran.value.manifest)
        print_json("bundle", ran.exit_code, data, ran.problems)
    return ran.exit_code


@bundle.command("load")
@_FILE
@_parts_options
@common_options
def load(session: Session, path: Path, only: tuple[Part, ...], without: tuple[Part, ...]) -> int:
    """Put what FILE has where `up` finds it; needs Docker and no network. What is there already is left as it is.

    Programs of the file are run by `up`: load only files of people whom you trust.
    """
    parts = _parts(only, without)
    here = this_machine()
    ran = run(session, "bundle", "", (STAGE,), lambda _: load_story(path, here, parts), here)
    if session.as_json:
        data = None
        if ran.value is not None:
            data = {"changed": ran.value.changed} | _data(path, path.stat().st_size, ran.value.manifest)
        print_json("bundle", ran.exit_code, data, ran.problems)
    return ran.exit_code


@bundle.command("show")
@_FILE
@common_options
def show(session: Session, path: Path) -> int:
    """List what FILE has; its checksums are not verified."""
    with open_bundle(path) as opened:
        manifest = opened.manifest
    if session.as_json:
        return print_json("bundle", ExitCode.OK, _data(path, path.stat().st_size, manifest))
    click.echo(f"application {manifest.application}, for {manifest.platform}, by todo-deploy {manifest.tool}")
    for member in manifest.members:
        click.echo(f"{megabytes(member.size):>8}  {member.name}")
        images = {"images/machine.tar": manifest.machine, "images/cluster.tar": manifest.cluster}.get(member.name, {})
        for ref in images:
            click.echo(f"{'':>8}    {ref}")
    return ExitCode.OK


def _parts(only: Collection[Part], without: Collection[Part]) -> frozenset[Part]:
    if only and without:
        raise input_error("USAGE", "--only and --without exclude each other", hints=("use one of them",))
    return frozenset(only or PARTS) - frozenset(without)


def _data(path: Path, size: int, manifest: Manifest) -> dict[str, Any]:
    """The documented `data`."""
    document = asdict(manifest)
    return {
        "file": str(path),
        "bytes": size,
        "application": manifest.application,
        "tool": manifest.tool,
        "platform": manifest.platform,
        "members": document["members"],
        "images": {"machine": document["machine"], "cluster": document["cluster"]},
    }
