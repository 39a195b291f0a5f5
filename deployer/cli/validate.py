"""`todo-deploy validate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec, show_fetch
from deployer.composition import this_machine
from deployer.config.load import LoadedSpec, profile_names
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.text import count
from deployer.preflight.rules.model import Finding
from deployer.sources import load

if TYPE_CHECKING:
    from deployer.preflight.validate import Examined


@click.command("validate")
@click.option("--all-profiles", is_flag=True, help="Check the spec under each of its profiles too.")
@click.option("--rules", "listing", is_flag=True, help="List the rules: name, tier, source, what must hold.")
@common_options
def validate(session: Session, all_profiles: bool, listing: bool) -> int:
    """Check spec, `.env`, sources, charts and rules without touching anything."""
    if listing:
        return _list_rules(session)
    loaded = read_spec(session)
    if all_profiles:
        for name in profile_names(loaded.path):
            read_spec(replace(session, profile=name))
    examined = _examined(loaded)
    findings = examined.findings
    problems = [one.problem for one in findings if one.severity == "error"]
    code = ExitCode.INPUT if problems else ExitCode.OK
    if session.as_json:
        data = {
            "spec": loaded.path.name,
            "application": loaded.spec.application,
            "findings": [{"rule": one.rule, "severity": one.severity, "object": one.object, **one.problem.to_wire()}
                         for one in findings],
            "capacity": [asdict(one) for one in examined.capacity],
        }  # fmt: skip
        return print_json("validate", code, data, tuple(problems))
    _show(loaded, findings, quiet=session.quiet, verbose=session.verbose > 0)
    for share in () if session.quiet else examined.capacity:
        click.echo(share.words)
    return code


def _examined(loaded: LoadedSpec) -> Examined:
    """What is wrong; what cannot be read or rendered stands for what rules would have said of it."""
    from deployer.commands import validate as validation
    from deployer.preflight.validate import Examined

    def errors(problems: Sequence[Problem]) -> Examined:
        return Examined(tuple(Finding(one.code, "error", one) for one in problems))

    try:
        problems = load.env_problems(loaded, load.env_or_example(loaded))
        return errors(problems) if problems else validation.examine(loaded, this_machine(), show_fetch)
    except DeployError as error:
        if error.exit_code is ExitCode.MACHINE:
            raise
        return errors(error.problems)


def _show(loaded: LoadedSpec, findings: Sequence[Finding], *, quiet: bool, verbose: bool) -> None:
    """Errors; with `verbose` each piece of advice and each fact, else one line of advice."""
    from deployer.preflight.rules.judging import RULES, advice, errors, summary
    from deployer.ui.codes import print_problems

    rules = {rule.name for rule in RULES}
    wrong, advised = errors(findings), () if quiet else advice(findings)
    if wrong:
        print_problems(wrong)
        click.echo(err=True)
    if advised and verbose:
        print_problems(advised, "advice")
        click.echo(err=True)
    for one in findings:
        if one.severity == "note" and not quiet and (verbose or one.rule not in rules):
            click.echo(f"note[{one.rule}]: {one.problem.title}", err=True)
    if wrong:
        click.echo(f"{loaded.path.name}: {count(len(wrong), 'error')}", err=True)
    elif not quiet:
        click.echo(f"{loaded.path.name}: spec, env file, sources, charts and rules are in order")
    if advised and not verbose:
        click.echo(summary(advised), err=True)
    if any(one.severity == "error" and one.rule in rules for one in findings) and not quiet:
        click.echo("A rule may be broken for a reason: rules.waive in the spec.", err=True)


def _list_rules(session: Session) -> int:
    from deployer.preflight.rules.judging import RULES

    if session.as_json:
        rules = [{key: value for key, value in asdict(one).items() if key != "check"} for one in RULES]
        return print_json("validate", ExitCode.OK, {"rules": rules})
    for one in RULES:
        click.echo(f"{one.name:24}{one.tier:9}{one.sentence}")
        click.echo(f"{'':33}{one.source}")
    return ExitCode.OK
