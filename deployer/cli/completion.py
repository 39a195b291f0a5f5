"""`todo-deploy completion`."""

from __future__ import annotations

import os

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode
from deployer.env.shell import SHELLS, Shell, shell_of

_PROGRAM = "todo-deploy"
_VARIABLE = "_TODO_DEPLOY_COMPLETE"


@click.command("completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@common_options
def completion(session: Session, shell: Shell | None) -> int:
    """Print the completion script of a SHELL; default: that of $SHELL.

    \b
    bash:        eval "$(todo-deploy completion bash)"         in ~/.bashrc
    zsh:         eval "$(todo-deploy completion zsh)"          in ~/.zshrc, after compinit
    fish:        todo-deploy completion fish | source          in ~/.config/fish/config.fish
    PowerShell:  todo-deploy completion powershell | Out-String | Invoke-Expression
    """
    from click.shell_completion import get_completion_class

    from deployer.cli.entry import cli

    chosen = shell or shell_of(os.environ)
    made = get_completion_class(chosen)
    assert made is not None
    script = made(cli, {}, _PROGRAM, _VARIABLE).source()
    if session.as_json:
        from deployer.cli.running import print_json

        print_json("completion", ExitCode.OK, {"shell": chosen, "script": script})
    else:
        click.echo(script)
    return ExitCode.OK
