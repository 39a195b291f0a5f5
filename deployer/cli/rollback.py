"""`todo-deploy rollback` and `todo-deploy history`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import duration_option, print_json, read_spec, run, url_data, workload_data
from deployer.commands.connection import open_running
from deployer.commands.rollback import STAGES, RollbackOptions
from deployer.commands.rollback import rollback as story
from deployer.commands.status import astray
from deployer.composition import begin_run, this_machine
from deployer.core.errors import ExitCode
from deployer.sources import load


@click.command("rollback")
@click.option("--to", type=int, metavar="REV", help="Revision to roll back to; default: the newest verified one.")
@click.option("--hold", callback=duration_option, metavar="DURATION", help="How long it must stay Available.")
@click.option("--timeout", callback=duration_option, metavar="DURATION", help="Deadline of the rollout.")
@common_options
def rollback(session: Session, to: int | None, hold: float | None, timeout: float | None) -> int:
    """Bring back the newest revision that was verified healthy: code, configuration and Secrets."""
    loaded = read_spec(session)
    here = this_machine()
    values = load.values_of(load.load_env(loaded))
    ran = run(
        session, "rollback", loaded.spec.application, STAGES,
        lambda run_id: story(begin_run(run_id, loaded, values, here), RollbackOptions(to, hold, timeout)),
        here,
    )  # fmt: skip
    if session.as_json:
        print_json("rollback", ran.exit_code, None if ran.value is None else _data(ran), ran.problems)
    return ran.exit_code


@click.command("history")
@common_options
def history(session: Session) -> int:
    """Show the application's revisions: when, who, commit, images, verdict, why; from the cluster alone."""
    opened = open_running(read_spec(session), this_machine())
    entries, other = opened.record.history, astray(opened.record, opened.kube)
    if session.as_json:
        data = {"revisions": [asdict(entry) for entry in entries], "astray": list(other)}
        return print_json("history", ExitCode.OK, data)
    if not entries:
        if not session.quiet:
            click.echo(
                f"no revisions of `{opened.loaded.spec.application}` yet: todo-deploy up makes the first", err=True
            )
        return ExitCode.OK
    from deployer.ui.console import make_console
    from deployer.ui.tables import history_table

    make_console(sys.stdout, this_machine().env).print(history_table(entries))
    for line in () if session.quiet else other:
        click.echo(line, err=True)
    return ExitCode.OK


def _data(ran: Any) -> dict[str, Any]:
    done = ran.value
    return {
        "changed": True,
        "seconds": round(ran.seconds, 3),
        "revision": done.target.number,
        "releases": [
            {"name": one.name, "namespace": one.namespace, "revision": one.revision, "changed": True}
            for one in done.releases
        ],
        "workloads": workload_data(ran.view.workloads),
        "urls": url_data(done.urls),
    }
