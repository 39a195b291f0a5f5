"""`todo-deploy exec`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType

import click

from deployer.cli.options import Session, common_options, complete_services
from deployer.core.errors import input_error


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("service", shell_complete=complete_services)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.option("-c", "--container", help="Container; default: the pod's first.")
@common_options
def exec_(session: Session, service: str, command: tuple[str, ...], container: str | None) -> int:
    """Run a command in a container of a SERVICE, in a pod that is ready; its exit code is this command's.

    Options stand before SERVICE: everything after it belongs to the command.
    """
    words = command[1:] if command[:1] == ("--",) else command
    if not words:
        raise input_error("USAGE", "no command to run", hints=(f"todo-deploy exec {service} -- sh",))
    from deployer.cli.running import read_spec
    from deployer.commands.connection import open_own
    from deployer.commands.services import container_of, kubectl_exec
    from deployer.composition import this_machine

    machine = this_machine()
    opened = open_own(read_spec(session), machine)
    chosen = container_of(opened, service, container)
    if not chosen.ready and not session.quiet:
        click.echo(f"no pod of `{service}` is ready; {chosen.pod} runs", err=True)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return _run(*kubectl_exec(opened, machine, chosen, words, terminal=terminal))


def _run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """The program's exit code; it has our terminal, and the terminal's Ctrl-C reaches it without us."""
    child = subprocess.Popen(list(argv), env=dict(env))

    def pass_on(signum: int, frame: FrameType | None) -> None:
        child.send_signal(signum)

    signal.signal(signal.SIGTERM, pass_on)
    while True:
        with suppress(KeyboardInterrupt):
            code = child.wait()
            return code if code >= 0 else 128 - code
