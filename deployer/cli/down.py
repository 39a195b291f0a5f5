"""`todo-deploy down`."""

from __future__ import annotations

from dataclasses import asdict

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import confirm, print_json, read_spec, run
from deployer.commands.down import STAGES, DownOptions
from deployer.commands.down import down as story
from deployer.composition import begin_run, this_machine


@click.command("down")
@click.option("--volumes", is_flag=True, help="Also remove the data: volume claims and the tool's memory. Asks first.")
@click.option("--cluster", is_flag=True, help="Also delete the Minikube profile with everything in it. Asks first.")
@common_options
def down(session: Session, volumes: bool, cluster: bool) -> int:
    """Remove releases and what was made for them; volumes and cluster stay unless asked for."""
    loaded = read_spec(session)
    here = this_machine()
    spec = loaded.spec
    if cluster:
        confirm(session, f"Delete the cluster `{spec.cluster.name}` with everything in it?")
    elif volumes:
        confirm(session, f"Remove the data of application `{spec.application}` for good?")
    options = DownOptions(volumes, cluster)
    ran = run(
        session, "down", spec.application, STAGES,
        lambda run_id: story(begin_run(run_id, loaded, {}, here), options), here,
    )  # fmt: skip
    if session.as_json:
        data = None if ran.value is None else {"changed": ran.value.changed, **asdict(ran.value)}
        print_json("down", ran.exit_code, data, ran.problems)
    return ran.exit_code
