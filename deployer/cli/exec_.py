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
from deployer.core.errors import input_error, machine_error


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
    from deployer.commands.services import best_pod, chosen, services_of
    from deployer.composition import this_machine
    from deployer.env.shell import no_proxy
    from deployer.rollout.stage import take_snapshot
    from deployer.status.objects import dig, rows

    loaded, here = read_spec(session), this_machine()
    opened = open_own(loaded, here)
    (ref, *_) = chosen(services_of(opened), (service,))
    if opened.toolchain is None:
        raise machine_error(
            "TOOLCHAIN_MISSING", "this machine has no kubectl of the tool yet", hints=("todo-deploy up",)
        )
    found = best_pod(ref, take_snapshot((ref,), opened.kube, events=False))
    if found is None:
        hints = (f"todo-deploy logs {service}", "todo-deploy status")
        raise machine_error("NO_RUNNING_POD", f"no pod of `{service}` runs", hints=hints)
    pod, ready = found
    name = str(dig(pod, "metadata", "name"))
    if not ready and not session.quiet:
        click.echo(f"no pod of `{service}` is ready; {name} runs", err=True)
    containers = [str(one["name"]) for one in rows(pod, "spec", "containers")]
    if container is not None and container not in containers:
        known = ", ".join(containers)
        raise input_error(
            "CONTAINER_UNKNOWN",
            f"no container `{container}` in {name}",
            detail=f"its containers: {known}",
            hints=("--container NAME",),
        )
    cluster = loaded.spec.cluster
    argv = [
        str(opened.toolchain.kubectl), "--kubeconfig", str(here.kubeconfig),
        "--context", cluster.context or cluster.name, "--namespace", ref.namespace,
        "exec", *_terminal(), name, "--container", container or containers[0], "--", *words,
    ]  # fmt: skip
    proxies = no_proxy(here.env, opened.facts.node_ip)
    return _run(argv, {**here.env, "NO_PROXY": proxies, "no_proxy": proxies})


def _terminal() -> tuple[str, ...]:
    """Standard input is always passed on; a terminal is made where there is one at both ends."""
    return ("--stdin", "--tty") if sys.stdin.isatty() and sys.stdout.isatty() else ("--stdin",)


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
