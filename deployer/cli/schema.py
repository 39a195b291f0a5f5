"""`todo-deploy schema`."""

from __future__ import annotations

import click

from deployer.cli.options import Session, common_options
from deployer.core.errors import ExitCode


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
