"""`todo-deploy restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployer.cli.completing import complete_services
from deployer.cli.options import Session, common_options

if TYPE_CHECKING:
    from deployer.commands.connection import Opened
    from deployer.composition import World
    from deployer.core.steps import Steps
    from deployer.status import WorkloadRef, WorkloadStatus


@click.command("restart")
@click.argument("services", nargs=-1, required=True, shell_complete=complete_services)
@common_options
def restart(session: Session, services: tuple[str, ...]) -> int:
    """Replace the pods of SERVICEs one after the other, without a change, and wait until they are stable."""
    from deployer.cli.running import print_json, read_spec, run
    from deployer.commands.connection import open_own
    from deployer.commands.services import chosen, services_of
    from deployer.composition import this_world
    from deployer.sources.load import load_env
    from deployer.state.build_cache import deployment_dir
    from deployer.state.lock import locked

    loaded, here = read_spec(session), this_world()
    load_env(loaded)  # refused where it is malformed: its values would not be masked
    opened = open_own(loaded, here)
    refs = chosen(services_of(opened), services)
    spec = loaded.spec
    folder = deployment_dir(here.state_dir, spec.cluster.name, spec.application)
    ran = run(
        session, "restart", spec.application, ("restart", "rollout"),
        lambda _: locked(folder, here.clock, _steps(opened, refs, here)), here,
    )  # fmt: skip
    if session.as_json:
        statuses = ran.value if ran.value is not None else ran.report.view.workloads
        data = {
            "changed": ran.report.changed,
            "seconds": round(ran.seconds, 3),
            "workloads": [
                {"kind": one.ref.kind, "name": one.ref.name, "namespace": one.ref.namespace,
                 "phase": one.phase.value, "ready": one.ready, "desired": one.desired, "restarts": one.restarts}
                for one in statuses
            ],
        }  # fmt: skip
        print_json("restart", ran.exit_code, data, ran.problems)
    return ran.exit_code


def _steps(opened: Opened, refs: tuple[WorkloadRef, ...], here: World) -> Steps[tuple[WorkloadStatus, ...]]:
    from deployer.config.spec import seconds
    from deployer.core.steps import stage
    from deployer.rollout.stage import Rollout, await_rollout, judging_by
    from deployer.stages.restart import restart_workloads

    rules, clock = opened.loaded.spec.rollout, here.clock
    since = clock.now()
    yield from stage("restart", restart_workloads(refs, opened.kube, clock), clock)
    judging = judging_by(rules, seconds(rules.timeout))
    rollout = Rollout(refs, opened.kube, clock, judging, since)
    return (yield from stage("rollout", await_rollout(rollout), clock)).value
