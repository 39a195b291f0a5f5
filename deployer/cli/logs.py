"""`todo-deploy logs`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from deployer.cli.options import Session, common_options, complete_services
from deployer.core.errors import ExitCode, input_error

if TYPE_CHECKING:
    from deployer.kube.logs import LogLine, Source

# The colours of a terminal's own palette that are read on dark and on light backgrounds.
_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")


@click.command("logs")
@click.argument("services", nargs=-1, shell_complete=complete_services)
@click.option("-f", "--follow", is_flag=True, help="Go on, through restarts and replaced pods, until Ctrl-C.")
@click.option("--previous", is_flag=True, help="What the containers said before their last restart.")
@click.option("--tail", type=click.IntRange(0), default=200, show_default=True, help="Lines of each container.")
@click.option("--no-prefix", is_flag=True, help="Without the pod's name before each line.")
@common_options
def logs(
    session: Session, services: tuple[str, ...], follow: bool, previous: bool, tail: int, no_prefix: bool
) -> int:  # fmt: skip
    """Print or follow the logs of all pods, or of those of the SERVICEs; secret values are masked.

    Here -f is --follow: name a spec file as --file, or before the command.
    """
    if follow and session.as_json:
        raise input_error("USAGE", "--follow does not end, so it makes no JSON document", hints=("leave one out",))
    from deployer.cli.running import print_json, read_spec
    from deployer.commands.connection import open_running
    from deployer.commands.services import chosen, log_sources, services_of
    from deployer.composition import this_machine
    from deployer.kube import logs as podlogs
    from deployer.rollout.stage import take_snapshot
    from deployer.sources.load import load_env

    loaded = read_spec(session)
    load_env(loaded)  # refused where it is malformed: its values would not be masked
    opened = open_running(loaded, this_machine())
    refs = chosen(services_of(opened), services, _spec_hint(services))

    def look(before: bool = False) -> tuple[Source, ...]:
        return log_sources(refs, take_snapshot(refs, opened.kube, events=False), previous=before)

    past = podlogs.read(opened.kube, look(True), tail=tail, previous=True) if previous else iter(())
    lines: Iterator[LogLine]
    if follow:
        lines = chain(past, podlogs.follow(opened.kube.follow, look, tail=tail))
    else:
        lines = past if previous else podlogs.read(opened.kube, look(), tail=tail)
    if session.as_json:
        return print_json("logs", ExitCode.OK, {"lines": [_as_data(line) for line in lines]})
    try:
        count = _print(lines, follow, not no_prefix)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    if not count and not session.quiet:
        why = "no container was restarted, so there is no previous log" if previous else "no log lines"
        click.echo(why, err=True)
    return ExitCode.OK


# Every command takes `-f FILE`; this one alone has a meaning for -f that people expect more.
for _option in logs.params:
    if _option.name == "file":
        _option.opts.remove("-f")


def _print(lines: Iterator[LogLine], follow: bool, prefix: bool) -> int:
    """How many lines were printed; ends early when nobody reads any more."""
    from deployer.core.text import clean

    colours: dict[str, str] | None = {} if _wants_colour(sys.stdout, os.environ) else None
    count = 0
    try:
        for line in lines:
            label = _coloured(line.source.label, colours) + " | " if prefix else ""
            print(label + clean(line.text), flush=follow)
            count += 1
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes standard output once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return count


def _coloured(label: str, colours: dict[str, str] | None) -> str:
    if colours is None:
        return label
    colour = colours.setdefault(label, _COLOURS[len(colours) % len(_COLOURS)])
    return f"\x1b[{colour}m{label}\x1b[0m"


def _wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    return stream.isatty() and not env.get("NO_COLOR") and env.get("TERM") not in ("dumb", "unknown")


def _as_data(line: LogLine) -> dict[str, Any]:
    from deployer.core.text import clean

    source = line.source
    return {
        "service": source.service,
        "namespace": source.namespace,
        "pod": source.pod,
        "container": source.container,
        "line": clean(line.text),
    }


def _spec_hint(services: tuple[str, ...]) -> str:
    """What to type instead of `logs -f todo-deploy.yaml`."""
    file = next((name for name in services if name.endswith((".yaml", ".yml")) and Path(name).is_file()), None)
    return f"for another spec: todo-deploy --file {file} logs" if file else ""
