"""`todo-deploy explain`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.composition import Machine, this_machine
from deployer.core.errors import DeployError, ExitCode, input_error
from deployer.core.files import write_private
from deployer.evidence.explain.lines import Line, list_lines, rule_lines, timeline_lines, verdict_lines
from deployer.evidence.explain.page import html
from deployer.evidence.explain.run import Listed, find_run, list_runs, read_run, rules_data, run_data


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    known = list_runs(this_machine().state_dir)
    return [CompletionItem(one.id, help=one.outcome) for one in known if one.id.startswith(incomplete)]


@click.command("explain")
@click.argument("run", required=False, shell_complete=_complete)
@click.option("--list", "listing", is_flag=True, help="List the runs that are kept.")
@click.option("--rules", is_flag=True, help="Print the table of causes, and when each fails a run.")
@click.option(
    "--html", "page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write one page with timeline, logs and diff; it needs no network.",
)  # fmt: skip
@common_options
def explain(session: Session, run: str | None, listing: bool, rules: bool, page: Path | None) -> int:
    """Show again why a run ended as it did: the newest that failed, or RUN (the begin of its id)."""
    if sum((listing, rules, page is not None)) > 1:
        raise input_error("USAGE", "--list, --rules and --html exclude each other", hints=("use one of them",))
    here = this_machine()
    if rules:
        return _printed(session, here, rule_lines(), rules_data())
    known = list_runs(here.state_dir)
    if listing:
        runs = [{**asdict(one), "path": str(one.path)} for one in known]
        return _printed(session, here, list_lines(known, here.clock.now()), {"runs": runs})
    read = read_run(find_run(known if run else _own(session, known), run).path)
    if page is not None:
        _write(page, html(read))
        if session.as_json:
            print_json("explain", ExitCode.OK, {**run_data(read), "html": str(page.resolve())})
        else:
            print(page.resolve().as_uri())
        return ExitCode.OK
    if session.as_json:
        return print_json("explain", ExitCode.OK, run_data(read))
    from deployer.ui.console import make_console, page_of

    console = make_console(sys.stdout, here.env)
    shown = page_of(console)
    width = min(shown.width, 120)
    return _printed(session, here, verdict_lines(read, width, shown.glyphs), {})


def print_timeline(folder: Path) -> None:
    """The timeline of the run of that record is on standard error: standard output carries data."""
    from deployer.ui.console import make_console, page_of

    console = make_console(sys.stderr, this_machine().env)
    page = page_of(console)
    for line in timeline_lines(read_run(folder).timeline, min(page.width, 120), page.glyphs):
        _print_line(console, line)


def _own(session: Session, known: tuple[Listed, ...]) -> tuple[Listed, ...]:
    """The runs of the application whose spec is at hand; all where there is none, or no run of it."""
    with suppress(DeployError, OSError):
        name = read_spec(session).spec.application
        return tuple(one for one in known if one.application == name) or known
    return known


def _printed(session: Session, here: Machine, lines: Iterable[Line], data: dict[str, object]) -> int:
    if session.as_json:
        return print_json("explain", ExitCode.OK, data)
    from deployer.ui.console import make_console

    console = make_console(sys.stdout, here.env)
    for line in lines:
        _print_line(console, line)
    return ExitCode.OK


def _print_line(console: Any, line: Line) -> None:
    from deployer.ui.console import page_of

    for text, style in line:
        code = re.fullmatch(r"\w+\[(\w+)\]", text)
        target = page_of(console).address(code[1]) if code else ""
        console.print(text, style=f"{style} link {target}" if target else style or None, end="", soft_wrap=True)
    console.print()


def _write(path: Path, text: str) -> None:
    """The page says what a cluster said: it is readable by its owner only, as the record is."""
    try:
        write_private(path.parent.resolve(strict=True) / path.name, text)
    except OSError as error:
        detail = error.strerror or str(error)
        raise input_error("PAGE_UNWRITABLE", f"cannot write {path}", detail=detail, hints=("--html FILE",)) from None
