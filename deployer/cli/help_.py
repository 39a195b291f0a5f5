"""`todo-deploy help`: what a code means and what to do about it, without a network; or the help of a command."""

from __future__ import annotations

import re

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode, input_error
from deployer.core.text import did_you_mean
from deployer.ui.codes import entry_of, every_code


@click.command("help")
@click.argument("subject", metavar="[CODE|COMMAND]", default="")
@common_options
@click.pass_context
def help_(ctx: click.Context, session: Session, subject: str) -> int:
    """Explain a code that was printed (an error, a rule, a cause), or show the help of a command.

    Without an argument, lists every code.
    """
    group = ctx.parent
    command = group.command.get_command(group, subject) if group and isinstance(group.command, click.Group) else None
    if command is not None:
        click.echo(command.get_help(click.Context(command, parent=group, info_name=subject)))
        return ExitCode.OK
    codes = every_code()
    if not subject:
        return _shown(session, "\n".join(f"{code}: {first_sentence(text)}" for code, text in codes.items()), codes)
    code = subject.upper()
    entry = entry_of(code)
    if entry not in codes:
        hints = did_you_mean(code, codes) or ("todo-deploy help",)
        raise input_error("CODE_UNKNOWN", f"no code and no command is named `{subject[:60]}`", hints=hints)
    return _shown(session, f"{code}\n\n{codes[entry]}", {code: codes[entry]})


def first_sentence(text: str) -> str:
    """The first sentence of an entry, on one line."""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def _shown(session: Session, text: str, codes: dict[str, str]) -> int:
    if session.as_json:
        from deployer.cli.running import print_json

        print_json("help", ExitCode.OK, {"codes": codes})
    else:
        click.echo(text.replace("**", ""))
    return ExitCode.OK
