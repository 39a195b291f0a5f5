"""`todo-deploy init`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode, refused

if TYPE_CHECKING:
    from deployer.commands.init import Drafted
    from deployer.init.model import Question


@click.command("init")
@click.option("--overwrite", is_flag=True, help="Draft it anew although there is one: what was written there is lost.")
@click.option("--stdout", "only_shown", is_flag=True, help="Print the draft and write nothing.")
@common_options
def init(session: Session, overwrite: bool, only_shown: bool) -> int:
    """Draft the spec of this folder from its Dockerfiles, charts and env file; asks what they do not say.

    With --yes, or off a terminal, nothing is asked: defaults are taken and marked as guessed.
    """
    from deployer.cli.running import print_json, show_fetch
    from deployer.commands.init import draft_spec
    from deployer.composition import this_machine
    from deployer.config.load import SPEC_NAME

    target = (session.file or Path(SPEC_NAME)).absolute()
    if target.exists() and not (overwrite or only_shown):
        raise refused(
            "SPEC_EXISTS", f"`{target.name}` exists and is not overwritten", where=target.name,
            hints=("todo-deploy init --overwrite", "todo-deploy init --stdout"),
        )  # fmt: skip
    asker, written = _asker(session), not only_shown
    drafted = draft_spec(target, this_machine(), asker, session.overrides, show_fetch, written=written)
    if session.as_json:
        return print_json("init", ExitCode.OK, _data(drafted, target, written=written))
    if only_shown:
        click.echo(drafted.text, nl=False)
    if not session.quiet:
        _show(drafted, target, written=written)
    return ExitCode.OK


def _asker(session: Session) -> Callable[[Question], str] | None:
    """Asks at the terminal; None where nobody can be asked, or where the defaults were wanted."""
    if session.yes or session.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: Question) -> str:
        kind = click.Choice(question.choices) if question.choices else None
        answer = click.prompt(question.text, default=question.default, type=kind, err=True, show_default=True)
        return str(answer).strip()

    return ask


def _show(drafted: Drafted, target: Path, *, written: bool) -> None:
    from deployer.ui.codes import print_problems

    for reading in drafted.unread:
        click.echo(f"warning: chart {reading.chart.path} was not rendered: {reading.problem}", err=True)
    problems = [one.problem for one in drafted.findings]
    print_problems(problems, "warning")
    if not written:
        return
    for context, lines in drafted.draft.ignore.items():
        name = Path(context) / ".dockerignore"
        click.echo(f"{name} was written ({', '.join(lines)}): images would hold the env file", err=True)
    count = guesses(drafted.text)
    guessed = f", {count} {'lines' if count != 1 else 'line'} guessed" if count else ""
    left = len(problems)
    still = f", {left} {'things are' if left != 1 else 'thing is'} left to do" if left else ""
    click.echo(f"{target.name} was drafted{guessed}{still}", err=True)
    click.echo(f"next: todo-deploy {'validate, once that is done' if left else 'up'}", err=True)


def guesses(text: str) -> int:
    """How many lines of the draft say that they were guessed."""
    return sum(line.lstrip().startswith(("# guessed", "# - guessed")) for line in text.splitlines())


def _data(drafted: Drafted, target: Path, *, written: bool) -> dict[str, object]:
    return {
        "file": str(target) if written else None,
        "spec": drafted.draft.document,
        "guessed": guesses(drafted.text),
        "remarks": list(drafted.draft.remarks),
        "ignore": {context: list(lines) for context, lines in drafted.draft.ignore.items()},
        "unread": [{"chart": one.chart.path, "why": one.problem} for one in drafted.unread],
        "toDo": [one.problem.to_wire() for one in drafted.findings],
    }
