"""`todo-deploy validate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from deployer.cli.options import Session, common_options
from deployer.cli.running import print_json, read_spec
from deployer.composition import this_machine
from deployer.config.load import LoadedSpec, profile_names
from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.preflight.rules.model import Finding
from deployer.sources import load

if TYPE_CHECKING:
    from deployer.preflight.validate import Examined


@click.command("validate")
@click.option("--all-profiles", is_flag=True, help="Check the spec under each of its profiles too.")
@click.option("--rules", "listing", is_flag=True, help="List the rules: name, severity, source, what must hold.")
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
            "findings": [_wire(one) for one in findings],
            "capacity": [asdict(one) for one in examined.capacity],
        }
        print_json("validate", code, data, tuple(problems))
        return code
    _show(loaded, findings, quiet=session.quiet)
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
        problems = load.env_problems(loaded, load.load_env(loaded))
        return errors(problems) if problems else validation.examine(loaded, this_machine())
    except DeployError as error:
        if error.exit_code is ExitCode.MACHINE:
            raise
        return errors(error.problems)


def _show(loaded: LoadedSpec, findings: Sequence[Finding], *, quiet: bool) -> None:
    from deployer.preflight.rules.judging import RULES
    from deployer.ui.words import problem_lines

    errors = [one.problem for one in findings if one.severity == "error"]
    warnings = [] if quiet else [one.problem for one in findings if one.severity == "warning"]
    notes = [] if quiet else [one.problem for one in findings if one.severity == "note"]
    blocks = [problem_lines(errors), problem_lines(warnings, "warning")]
    for block in filter(None, blocks):
        click.echo("\n".join([*block, ""]), err=True)
    for one in notes:
        click.echo(f"note[{one.code}]: {one.title}", err=True)
    counts = [_count(len(errors), "error"), _count(len(warnings), "warning")]
    if errors:
        click.echo(f"{loaded.path.name}: " + ", ".join(filter(None, counts)), err=True)
        if any(one.rule in {rule.name for rule in RULES} for one in findings if one.severity == "error") and not quiet:
            click.echo("A rule may be broken for a reason: rules.waive in the spec.", err=True)
    elif not quiet:
        more = f" ({counts[1]})" if warnings else ""
        click.echo(f"{loaded.path.name}: spec, env file, sources, charts and rules are in order{more}")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' if number > 1 else ''}" if number else ""


def _wire(one: Finding) -> dict[str, Any]:
    return {"rule": one.rule, "severity": one.severity, "object": one.object, **one.problem.to_wire()}


def _list_rules(session: Session) -> int:
    from deployer.preflight.rules.judging import RULES

    if session.as_json:
        rules = [{key: value for key, value in asdict(one).items() if key != "check"} for one in RULES]
        print_json("validate", ExitCode.OK, {"rules": rules})
        return ExitCode.OK
    for one in RULES:
        click.echo(f"{one.name:24}{one.severity:9}{one.sentence}")
        click.echo(f"{'':33}{one.source}")
    return ExitCode.OK
