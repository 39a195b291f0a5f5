"""`todo-deploy restart`."""

from __future__ import annotations

import click

from deployer.cli.options import Session, common_options, complete_services


@click.command("restart")
@click.argument("services", nargs=-1, required=True, shell_complete=complete_services)
@common_options
def restart(session: Session, services: tuple[str, ...]) -> int:
    """Replace the pods of SERVICEs one after the other, without a change, and wait until they are stable."""
    from deployer.cli.running import print_json, read_spec, run, workload_data
    from deployer.commands.connection import open_own
    from deployer.commands.restart import STAGES
    from deployer.commands.restart import restart as story
    from deployer.commands.services import chosen, services_of
    from deployer.composition import begin_run, this_machine
    from deployer.sources.load import load_env

    loaded, here = read_spec(session), this_machine()
    load_env(loaded)  # refused where it is malformed: its values would not be masked
    opened = open_own(loaded, here)
    refs = chosen(services_of(opened), services)
    spec = loaded.spec
    ran = run(
        session, "restart", spec.application, STAGES,
        lambda run_id: story(begin_run(run_id, loaded, {}, here), opened, refs), here,
    )  # fmt: skip
    if session.as_json:
        statuses = ran.value if ran.value is not None else ran.view.workloads
        data = {
            "changed": ran.view.changed,
            "seconds": round(ran.seconds, 3),
            "workloads": workload_data(statuses),
        }
        print_json("restart", ran.exit_code, data, ran.problems)
    return ran.exit_code
