"""`todo-deploy charts update`."""

from __future__ import annotations

from dataclasses import asdict, replace

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec, show_fetch
from deployer.commands.charts import update as story
from deployer.composition import this_machine
from deployer.config.load import profile_names
from deployer.core.errors import ExitCode
from deployer.core.steps import drive
from deployer.sources.pins import lock_file


@click.group("charts")
def charts() -> None:
    """Look after the charts that are fetched from registries and repositories."""


@charts.command("update")
@click.argument("names", nargs=-1)
@common_options
def update(session: Session, names: tuple[str, ...]) -> int:
    """Fetch the newest versions that spec and Chart.yaml allow, of all charts or of those NAMES, and pin them."""
    first = read_spec(session)
    specs = [first, *(read_spec(replace(session, profile=name)) for name in profile_names(first.path))]
    changes = drive(story(specs, this_machine(), names), show_fetch)
    if session.as_json:
        return print_json("charts", ExitCode.OK, {"changes": [asdict(one) for one in changes]})
    for one in changes:
        click.echo(f"{one.name} {one.before or 'new'} → {one.now or 'no longer used'}  {one.repository}")
    name = lock_file(first.path).name
    click.echo(f"{name} is written: commit it, then: todo-deploy up" if changes else f"{name}: nothing has changed")
    return ExitCode.OK
