"""`todo-deploy secrets`."""

from __future__ import annotations

from dataclasses import asdict

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import DeployError, ExitCode, refused
from deployer.core.text import table_lines


@click.group("secrets")
@common_options
@click.pass_context
def secrets(ctx: click.Context, session: Session) -> None:
    """Make and check the env file."""
    ctx.obj = session


@secrets.command("init")
@common_options
def init(session: Session) -> int:
    """Make the env file (mode 0600) from its example, with generated values; one that exists is never overwritten."""
    from deployer.cli.running import print_json, read_spec
    from deployer.sources import load

    loaded = read_spec(session)
    existing = next((name for name in loaded.spec.env.files if (loaded.root / name).exists()), None)
    if existing is not None:
        raise refused(
            "ENV_EXISTS", f"`{existing}` exists and is never overwritten", where=existing,
            hints=("todo-deploy secrets check", f"move `{existing}` away first, or edit it"),
        )  # fmt: skip
    done = load.ensure_env(loaded)
    problems = load.env_problems(loaded, load.load_env(loaded))
    if session.as_json:
        return print_json("secrets", ExitCode.OK, {"file": loaded.spec.env.files[0], "done": list(done)})
    for sentence in done or ("nothing to do: the spec has no secrets",):
        click.echo(sentence)
    for problem in problems:
        click.echo(f"still to do: {problem.title}", err=True)
    return ExitCode.OK


@secrets.command("check")
@common_options
def check(session: Session) -> int:
    """Show where each secret key stands, never its value; fails where something required is wrong."""
    from deployer.cli.running import print_json, read_spec
    from deployer.commands.validate import env_file_problems
    from deployer.sources import load
    from deployer.sources.env_files import key_rows

    loaded = read_spec(session)
    unread, warnings = env_file_problems(loaded)
    if unread:
        raise DeployError(unread, ExitCode.INPUT)
    env = load.load_env(loaded)
    warnings += env.notes
    problems = load.env_problems(loaded, env)
    rows = key_rows(loaded.spec, env, problems)
    code = ExitCode.INPUT if problems else ExitCode.OK
    if session.as_json:
        data = {"keys": [asdict(row) for row in rows], "warnings": [problem.to_wire() for problem in warnings]}
        return print_json("secrets", code, data, tuple(problems))
    from deployer.ui.codes import print_problems

    table = [("SECRET", "KEY", "FROM", "KIND", "STATE", "WHERE")]
    table += [(row.secret, row.key, row.source, row.kind, row.state, row.where) for row in rows]
    for line in table_lines(table):
        click.echo(line)
    print_problems(warnings, "warning")
    print_problems(problems)
    return code


@secrets.command("pull")
@common_options
def pull(session: Session) -> int:
    """Take the values that serve in the cluster into the env file; what it had is kept beside it. Prints no value."""
    from deployer.cli.running import confirm, print_json, read_spec
    from deployer.commands.clones import values_to_pull
    from deployer.commands.connection import not_deployed, open_own
    from deployer.composition import this_machine
    from deployer.sources import load
    from deployer.sources.env_files import set_values

    loaded = read_spec(session)
    opened = open_own(loaded, this_machine())
    if not opened.record.history:
        raise not_deployed(opened)
    values = values_to_pull(opened, load.values_of(load.load_env(loaded)))
    name = loaded.spec.env.files[-1]
    kept = None
    if values:
        if (loaded.root / name).exists():
            confirm(session, f"Put the values that serve into `{name}` ({', '.join(values)})?")
        kept = set_values(loaded.root / name, values)
    if session.as_json:
        return print_json(
            "secrets", ExitCode.OK, {"file": name, "keys": list(values), "kept": str(kept) if kept else None}
        )
    click.echo(f"{name}: took {', '.join(values)} from the cluster" if values else f"{name}: nothing differs")
    if kept is not None:
        click.echo(f"the file as it was: {kept.name}")
    return ExitCode.OK
