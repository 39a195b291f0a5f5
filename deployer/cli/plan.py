"""`todo-deploy plan`."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec, show_fetch
from deployer.commands.plan import planned_steps, refusal
from deployer.composition import this_machine
from deployer.core.errors import DeployError, ExitCode
from deployer.sources import load


@click.command("plan")
@click.option(
    "--exit-code",
    is_flag=True,
    help=f"End with {int(ExitCode.DIFFERENCES)} when `up` would change something, and as it would where it refuses.",
)
@common_options
def plan(session: Session, exit_code: bool) -> int:
    """Show what `up` would do, and why; nothing is changed."""
    loaded = read_spec(session)
    found = load.env_or_example(loaded)
    problems = load.env_problems(loaded, found)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    here, env = this_machine(), load.values_of(found)
    steps = planned_steps(loaded, env, here, show_fetch)
    changes = [step for step in steps if step.action != "unchanged"]
    refused = refusal(steps)
    ends = ExitCode(refused) if refused else ExitCode.DIFFERENCES if changes else ExitCode.OK
    code = ends if exit_code else ExitCode.OK
    if session.as_json:
        return print_json("plan", code, {"changes": bool(changes), "steps": [asdict(step) for step in steps]})
    from deployer.ui.codes import print_problems
    from deployer.ui.console import make_console
    from deployer.ui.tables import plan_view

    make_console(sys.stdout, here.env).print(plan_view(steps))
    print_problems(load.shipped(loaded, env), "warning")
    return code
