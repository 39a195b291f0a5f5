"""`todo-deploy validate`."""

from __future__ import annotations

import click

from deployer import inputs
from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.errors import DeployError, ExitCode, Problem
from deployer.specfile import profile_names
from deployer.validation import render_problems
from deployer.world import this_world


@click.command("validate")
@click.option("--all-profiles", is_flag=True, help="Check the spec under each of its profiles too.")
@common_options
def validate(session: Session, all_profiles: bool) -> int:
    """Check spec, `.env`, sources and charts without touching anything."""
    loaded = read_spec(session)
    if all_profiles:
        from deployer.specfile import load_spec

        for name in profile_names(loaded.path):
            load_spec(loaded.path, name, session.overrides)
    here = this_world()
    problems: list[Problem] = []
    try:
        env = inputs.load_env(loaded)
        problems += inputs.env_problems(loaded, env)
        if not problems:
            problems += render_problems(loaded, inputs.values_of(env), here)
    except DeployError as error:
        problems += error.problems
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    if session.as_json:
        print_json("validate", ExitCode.OK, {"spec": loaded.path.name, "application": loaded.spec.application})
    else:
        click.echo(f"{loaded.path.name}: spec, env file, sources and charts are valid")
    return ExitCode.OK
