"""`todo-deploy up`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from deployer.cli.options import Session, common_options, complete_services
from deployer.cli.running import (
    Ran,
    confirm,
    confirm_cluster,
    duration_option,
    objects_option,
    print_json,
    profiled,
    read_spec,
    run,
    show_fetch,
    url_data,
    workload_data,
)
from deployer.commands import connection
from deployer.commands.planning import refuse_unknown
from deployer.commands.up import UpOptions, UpResult, notices, stages_of
from deployer.commands.up import up as story
from deployer.composition import Machine, begin_run, this_machine
from deployer.config.load import LoadedSpec
from deployer.config.spec import FailFast
from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.events import Warned
from deployer.core.steps import Steps
from deployer.sources import load
from deployer.sources.dotenv import EnvFile
from deployer.state.lock import watched_by
from deployer.status import ClusterPhase
from deployer.ui.view import to_data


@click.command("up")
@click.argument("services", nargs=-1, shell_complete=complete_services)
@click.option("--rebuild", is_flag=True, help="Build every image again, without cache.")
@click.option("--no-build", is_flag=True, help="Fail instead of building a missing image.")
@click.option("--adopt", is_flag=True, help="Take over Secrets, releases and objects of these names that nobody has.")
@click.option("--force-conflicts", is_flag=True, help="Set the charts' fields also where others have changed them.")
@click.option("--replace-secrets", is_flag=True, help="Put this clone's secret values in place of those that serve.")
@click.option(
    "--replace",
    multiple=True,
    metavar="KIND/NAME",
    callback=objects_option,
    help="Delete this object and make it anew where Kubernetes does not let it change.",
)
@click.option("--recreate-cluster", is_flag=True, help="Delete the cluster with its data and make it as the spec asks.")
@click.option(
    "--hold", callback=duration_option, metavar="DURATION", help="How long it must stay Available (0: do not wait)."
)
@click.option("--timeout", callback=duration_option, metavar="DURATION", help="Deadline of the rollout.")
@click.option("--on-failure", type=click.Choice(["rollback", "keep"]), help="What follows a failed rollout.")
@click.option("--fail-fast", type=click.Choice([one.value for one in FailFast]), help="How soon a bad sign is fatal.")
@click.option(
    "--profile-run",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write where the time of this run goes, function by function.",
)
@click.option("--timeline", is_flag=True, help="Show when each part ran, and what the run waited for.")
@common_options
def up(
    session: Session,
    no_build: bool,
    recreate_cluster: bool,
    fail_fast: str | None,
    profile_run: Path | None,
    timeline: bool,
    **more: Any,
) -> int:
    """Build, deploy and prove the application; with SERVICE names, build only those images."""
    if more["rebuild"] and no_build:
        raise input_error("USAGE", "--rebuild and --no-build exclude each other", hints=("use one of them",))
    asked = UpOptions(
        build=not no_build,
        recreate=recreate_cluster,
        fail_fast=FailFast(fail_fast) if fail_fast else None,
        **more,
    )
    if recreate_cluster:
        name = read_spec(session).spec.cluster.name
        confirm(session, f"Delete the cluster `{name}` with everything in it?")
    with profiled(profile_run):
        ran = run_up(session, asked)
    if timeline and ran.record is not None:
        from deployer.cli.explain import print_timeline

        print_timeline(ran.record)
    if session.as_json:
        print_json("up", ran.exit_code, up_data(ran), ran.problems)
    elif ran.value is not None and not sys.stdout.isatty():
        for url in ran.value.urls:
            if url.show:
                print(f"{url.name}\t{url.url}")
    return ran.exit_code


def run_up(session: Session, asked: UpOptions) -> Ran[UpResult]:
    """How the `up` went; input error, before anything is touched, where spec or env files are wrong."""
    here = this_machine()
    loaded, values, done = read_inputs(session)
    refuse_unknown(asked.services, {*loaded.spec.images, *loaded.spec.releases})
    _check_before_start(loaded, asked, here)

    def steps(run_id: str) -> Steps[UpResult]:
        yield from notices(done)
        if holder := watched_by(here.folder(loaded.spec)):
            title = f"`todo-deploy dev` ({holder}) deploys `{loaded.spec.application}` from its sources, too"
            yield Warned(Problem("DEV_AT_WORK", title, hints=("leave it first, if only one of them is to deploy",)))
        return (yield from story(begin_run(run_id, loaded, values, here), asked))

    return run(session, "up", loaded.spec.application, stages_of(loaded), steps, here)


def read_inputs(session: Session) -> tuple[LoadedSpec, dict[str, str], tuple[str, ...]]:
    """The spec, the values of the env files, made where need be, and what was done for that; input error otherwise.

    Refused for a cluster that is not of this machine and that the user has not agreed to.
    """
    loaded = read_spec(session)
    confirm_cluster(session, loaded, this_machine())
    if any((loaded.root / name).exists() for name in loaded.spec.env.files):
        _refuse_env(loaded)  # before generated keys are added to it: a refused run changes nothing
    done = load.ensure_env(loaded)
    env = _refuse_env(loaded)
    load.build_prelude(loaded)  # a file that cannot be read is reported before anything is touched
    return loaded, load.values_of(env), done


def _refuse_env(loaded: LoadedSpec) -> EnvFile:
    """The env files give every required key a real value; input error otherwise."""
    env = load.load_env(loaded)
    problems = load.env_problems(loaded, env)
    if problems:
        raise DeployError(problems, ExitCode.INPUT)
    return env


def _check_before_start(loaded: LoadedSpec, asked: UpOptions, here: Machine) -> None:
    """A cluster that is to be deleted is ours alone, and where one must be made or started, the rules hold before that.

    They are asked again in any case.
    """
    try:
        seen = connection.see_cluster(loaded, here)
    except DeployError:  # the run itself starts what is lacking, or says why it cannot
        return
    if asked.recreate:
        connection.refuse_shared(loaded, seen.facts, here)
    if seen.toolchain is not None and (asked.recreate or seen.facts.phase is not ClusterPhase.RUNNING):
        # A run that changes nothing does not pay for their import.
        from deployer.commands.validate import examine
        from deployer.preflight.validate import refuse_broken

        refuse_broken(examine(loaded, here, show_fetch).findings)


def up_data(ran: Ran[UpResult]) -> dict[str, Any]:
    """The documented `data` of `up -o json`."""
    stages = [
        {"name": stage["name"], "seconds": round(stage["seconds"] or 0.0, 3), "changed": stage["changed"]}
        for stage in to_data(ran.view)["stages"]
        if stage["state"] != "waiting"
    ]
    result = ran.value
    data: dict[str, Any] = {"changed": ran.view.changed, "seconds": round(ran.seconds, 3), "stages": stages}
    if result is None:
        return data | {"images": [], "releases": [], "workloads": workload_data(ran.view.workloads), "urls": []}
    return data | {
        "changed": result.changed,
        "images": [
            {"name": one.name, "ref": one.ref, "built": one.built, "reason": one.reason}
            | ({"scan": one.scan} if one.scan else {})
            for one in result.images
        ],
        "releases": [
            {"name": one.name, "namespace": one.namespace, "revision": one.revision, "changed": one.changed}
            for one in result.releases
        ],
        "workloads": workload_data(ran.view.workloads),
        "urls": url_data(result.urls),
    }
