"""`todo-deploy doctor`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec, run
from deployer.commands import doctor as checks
from deployer.commands import up
from deployer.commands.toolchain import prepare_cluster_start
from deployer.composition import Machine, this_machine
from deployer.core.errors import DeployError, ExitCode, Problem, input_error
from deployer.core.files import write_private
from deployer.core.steps import Outcome, Steps, stage
from deployer.sources import load
from deployer.toolchain import STAGE as TOOLCHAIN


@click.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what can be mended: Docker, toolchain, env file.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.zip",
    help="Also write an archive for an issue: checks, spec and newest runs, without secret values.",
)
@common_options
def doctor(session: Session, fix: bool, report: Path | None) -> int:
    """Check machine, Docker, toolchain, cluster, spec and `.env`; each failure comes with the command that mends it."""
    here = this_machine()
    if fix:
        code = _mend(session, here)
        if code != ExitCode.OK:
            return code
    found = tuple(checks.examine(lambda: read_spec(session), here))
    if report is not None:
        _write(session, report, found, here)
    bad = tuple(one for one in found if one.state == "fail")
    inputs_only = all(one.name in ("spec", "env", "sources", "certificates") for one in bad)
    code = ExitCode.OK if not bad else ExitCode.INPUT if inputs_only else ExitCode.MACHINE
    if session.as_json:
        problems = tuple(Problem("CHECK_FAILED", f"{one.name}: {one.detail}", hints=(one.hint,)) for one in bad)
        return print_json("doctor", code, {"checks": [asdict(one) for one in found]}, problems)
    from deployer.core.text import glyphs_for
    from deployer.ui.console import make_console
    from deployer.ui.tables import checks_table

    make_console(sys.stdout, here.env).print(checks_table(found, glyphs_for(sys.stdout.encoding)))
    return code


def _write(session: Session, target: Path, found: tuple[checks.Check, ...], here: Machine) -> None:
    """The archive is in the file, readable by its owner; standard error says so."""
    try:
        document = read_spec(session).document
    except DeployError:  # what is wrong with the spec is among the checks
        document = {}
    try:
        write_private(target, checks.report(found, document, here))
    except OSError as error:
        raise input_error("REPORT_UNWRITABLE", f"cannot write {target}", detail=str(error.strerror),
                          hints=("--report FILE.zip",)) from None  # fmt: skip
    click.echo(f"the report is in {target}: look through it before you send it", err=True)


def _mend(session: Session, here: Machine) -> ExitCode:
    loaded = read_spec(session)
    done = load.ensure_env(loaded)
    for name in loaded.spec.env.files:
        path = loaded.root / name
        if path.is_file():
            path.chmod(0o600)

    def steps(run_id: str) -> Steps[None]:
        yield from up.notices(done)

        def body() -> Steps[Outcome[None]]:
            toolchain = yield from prepare_cluster_start(loaded.spec, here)
            return Outcome(None, True, toolchain.why)

        yield from stage(TOOLCHAIN, body(), here.clock)

    ran = run(session, "doctor", loaded.spec.application, (TOOLCHAIN,), steps, here)
    return ran.exit_code
