"""`todo-deploy config` and `todo-deploy schema`."""

from __future__ import annotations

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode


@click.group("config")
@common_options
@click.pass_context
def config(ctx: click.Context, session: Session) -> None:
    """Show the merged spec and where each value comes from."""
    ctx.obj = session


@config.command("view")
@click.option("--show-origin", is_flag=True, help="After each value, the file and line it comes from.")
@click.option("--defaults", is_flag=True, help="Also the values that nothing sets.")
@common_options
def view(session: Session, show_origin: bool, defaults: bool) -> int:
    """The spec as it is used: file, local overlay, profile and --set merged."""
    from deployer.cli.running import print_json, read_spec
    from deployer.config.load import annotated_yaml, leaf_origins, with_defaults

    loaded = read_spec(session)
    document = with_defaults(loaded) if defaults else dict(loaded.document)
    origins = leaf_origins(loaded, document) if show_origin else {}
    if session.as_json:
        data = {"profile": loaded.profile, "spec": document}
        if show_origin:
            data["origins"] = {".".join(map(str, at)): origin for at, origin in origins.items()}
        return print_json("config", ExitCode.OK, data)
    click.echo(annotated_yaml(document, origins), nl=False)
    return ExitCode.OK


@config.command("profiles")
@common_options
def profiles(session: Session) -> int:
    """The names of the spec's profiles, one a line."""
    from deployer.cli.running import print_json
    from deployer.config.load import nearest_spec, profile_names

    path = session.file if session.file is not None else nearest_spec()
    names = profile_names(path)
    if session.as_json:
        return print_json("config", ExitCode.OK, {"profiles": list(names)})
    for name in names:
        click.echo(name)
    return ExitCode.OK


@click.command("schema")
@common_options
def schema(session: Session) -> int:
    """Print the JSON Schema of the spec, for editors and checks."""
    from deployer.config.schema import spec_schema

    text = spec_schema()
    if session.as_json:
        import json

        from deployer.cli.running import print_json

        print_json("schema", ExitCode.OK, json.loads(text))
    else:
        click.echo(text, nl=False)
    return ExitCode.OK
