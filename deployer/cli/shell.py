"""What a shell evaluates: `todo-deploy env` and `todo-deploy completion`."""

from __future__ import annotations

import os

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode, input_error, machine_error
from deployer.core.shell import (
    SHELLS,
    Shell,
    ShellTarget,
    Variables,
    cleared_variables,
    cluster_variables,
    lines,
    shell_of,
    usage,
)


@click.command("env")
@click.option("--shell", type=click.Choice(SHELLS), help="Whose syntax; default: that of $SHELL.")
@click.option("--unset", is_flag=True, help="Put the shell back to how it was.")
@common_options
def env(session: Session, shell: Shell | None, unset: bool) -> int:
    """Print shell exports: plain kubectl, helm, minikube and docker are the tool's own and talk to this cluster.

    \b
    bash, zsh:   eval "$(todo-deploy env)"
    fish:        todo-deploy env --shell fish | source
    PowerShell:  & todo-deploy env --shell powershell | Out-String | Invoke-Expression
    """
    from deployer.cli.running import print_json

    chosen = shell or shell_of(os.environ)
    variables = cleared_variables(os.environ) if unset else _variables(session)
    if session.as_json:
        return print_json("env", ExitCode.OK, {"shell": chosen, "variables": variables})
    for line in lines(variables, chosen):
        click.echo(line)
    click.echo(f"# {usage(chosen, 'todo-deploy env --unset' if unset else 'todo-deploy env')}")
    return ExitCode.OK


def _variables(session: Session) -> Variables:
    """The running cluster's variables; a private kubeconfig for them is written beside this machine's other memory."""
    from deployer import composition
    from deployer.cli.running import read_spec
    from deployer.commands.connection import not_running, see_cluster
    from deployer.kube import kubeconfig
    from deployer.status import ClusterPhase

    loaded, here = read_spec(session), composition.this_machine()
    seen = see_cluster(loaded, here)
    if seen.facts.phase is not ClusterPhase.RUNNING:
        raise not_running(seen)
    if seen.toolchain is None:
        raise machine_error(
            "TOOLCHAIN_MISSING", "todo-deploy has no kubectl, helm and minikube on this machine yet",
            hints=("todo-deploy up",),
        )  # fmt: skip
    cluster = loaded.spec.cluster
    context = cluster.context_name
    private = here.folder(loaded.spec) / "kubeconfig"
    kubeconfig.write_context(here.kubeconfig, context, private)
    profile = cluster.name if cluster.provider == "minikube" else None
    target = ShellTarget(seen.toolchain.bin, private, context, profile, seen.facts.docker, seen.facts.node_ip)
    return cluster_variables(os.environ, target)


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
    if made is None:
        raise input_error(
            "SHELL_UNKNOWN", f"this version of click has no completion for {chosen}", hints=("pip install -U click",)
        )
    script = made(cli, {}, _PROGRAM, _VARIABLE).source()
    if session.as_json:
        from deployer.cli.running import print_json

        print_json("completion", ExitCode.OK, {"shell": chosen, "script": script})
    else:
        click.echo(script)
    return ExitCode.OK
