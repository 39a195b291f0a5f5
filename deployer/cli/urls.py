"""`todo-deploy urls` and `todo-deploy open`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from deployer.cli.options import Session, common_options, complete_urls
from deployer.core.errors import ExitCode, input_error, machine_error
from deployer.core.text import did_you_mean

if TYPE_CHECKING:
    from deployer.commands.services import Address


@click.command("urls")
@click.option("--all", "everything", is_flag=True, help="Also those that `up` only proves.")
@common_options
def urls(session: Session, everything: bool) -> int:
    """Print the application's URLs: name, tab, address."""
    from deployer.cli.running import print_json

    every = _addresses(session)
    found = [one for one in every if one.show or everything]
    if session.as_json:
        data = {"urls": [{"name": one.name, "url": one.url or None, "show": one.show} for one in found]}
        return print_json("urls", ExitCode.OK, data)
    for one in found:
        if one.url:
            click.echo(f"{one.name}\t{one.url}")
        else:
            click.echo(f"{one.name}: {one.problem}", err=True)
    if not found and not session.quiet:
        click.echo(
            "no URL is shown: --all lists those that are only proven" if every else "no URLs in the spec", err=True
        )
    return ExitCode.OK


@click.command("open")
@click.argument("name", required=False, shell_complete=complete_urls)
@common_options
def open_(session: Session, name: str | None) -> int:
    """Open a URL in the browser, the first one without NAME; print it where there is no display."""
    from deployer.cli.running import print_json

    found = _addresses(session)
    chosen = next((one for one in found if one.name == name or (name is None and one.show)), None)
    if chosen is None:
        known = ", ".join(one.name for one in found) or "none"
        raise input_error(
            "URL_UNKNOWN", f"no url `{name}` in the spec" if name else "the spec has no url to open",
            detail=f"its urls: {known}", hints=did_you_mean(name or "", (one.name for one in found)),
        )  # fmt: skip
    if not chosen.url:
        raise machine_error("URL_NOT_EXPOSED", chosen.problem, hints=("todo-deploy status",))
    shown = can_show(os.environ, sys.platform) and launch(chosen.url)
    if session.as_json:
        print_json("open", ExitCode.OK, {"name": chosen.name, "url": chosen.url, "opened": shown})
    elif not shown:
        click.echo(chosen.url)
    return ExitCode.OK


def can_show(env: Mapping[str, str], platform: str) -> bool:
    """Whether a browser would come up where the user sees it."""
    if env.get("BROWSER"):
        return True
    return platform in ("darwin", "win32") or bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


def launch(url: str) -> bool:
    """Whether a browser took the URL; what it says goes to standard error, for our standard output is data."""
    import webbrowser

    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        return webbrowser.open(url)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _addresses(session: Session) -> list[Address]:
    from deployer.cli.running import read_spec
    from deployer.commands.connection import not_deployed, open_running
    from deployer.commands.services import addresses
    from deployer.composition import this_machine

    opened = open_running(read_spec(session), this_machine())
    if not opened.record.releases:
        raise not_deployed(opened)
    return addresses(opened)
