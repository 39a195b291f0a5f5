"""The options that every command takes, before or after its name, the session they make, and what Tab offers.

Tab is answered from the spec file alone, without its rules and without the cluster: reading the spec in earnest takes
longer than a person waits, and a name too many or too few does no harm.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_SPEC_NAME = "todo-deploy.yaml"


@dataclass(frozen=True, slots=True)
class Session:
    """What the user asked of the tool as a whole; None and empty mean "not said"."""

    file: Path | None = None
    profile: str | None = None
    output: Literal["text", "json"] | None = None
    progress: Literal["auto", "live", "plain", "json"] | None = None
    quiet: bool = False
    verbose: int = 0
    context: str | None = None
    toolchain: str | None = None
    forward: str | None = None
    registry: str | None = None
    ca: Path | None = None
    yes: bool = False
    overrides: tuple[str, ...] = ()

    @property
    def as_json(self) -> bool:
        """Whether standard output carries one JSON document."""
        return self.output == "json"


def complete_services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The services that the spec builds, without those already given."""
    given = ctx.params.get(param.name or "") or ()
    return [name for name in _names(ctx, "images") if name.startswith(incomplete) and name not in given]


def complete_urls(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The URLs of the spec."""
    return [name for name in _names(ctx, "urls") if name.startswith(incomplete)]


def complete_profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The profiles of the spec."""
    return [name for name in _names(ctx, "profiles") if name.startswith(incomplete)]


def _names(ctx: click.Context, part: str) -> list[str]:
    parts = (document.get(part) for document in _documents(ctx))
    return list(dict.fromkeys(str(name) for found in parts if isinstance(found, dict) for name in found))


def _documents(ctx: click.Context) -> Iterator[Mapping[str, Any]]:
    """The spec and what lies over it; nothing where they cannot be read."""
    from deployer.core.reading import read_text
    from deployer.core.yaml import parse_manifest

    path = _spec(ctx)
    for file in () if path is None else (path, path.with_name(path.stem + ".local.yaml")):
        with suppress(Exception):  # Tab shows no errors
            yield from parse_manifest(read_text(file))[:1]


def _spec(ctx: click.Context) -> Path | None:
    """The file of --file, here or before the command; else the nearest."""
    asked: click.Context | None = ctx
    while asked is not None:
        if asked.params.get("file"):
            return Path(asked.params["file"])
        asked = asked.parent
    here = Path.cwd()
    return next((folder / _SPEC_NAME for folder in (here, *here.parents) if (folder / _SPEC_NAME).is_file()), None)


_OPTIONS = (
    click.option("-f", "--file", type=click.Path(path_type=Path),
                 help="Spec file; default: todo-deploy.yaml, here or above."),
    click.option("--profile", shell_complete=complete_profiles, help="Profile of the spec."),
    click.option("-o", "--output", type=click.Choice(["text", "json"]), help="What standard output carries."),
    click.option("--progress", type=click.Choice(["auto", "live", "plain", "json"]), help="How progress is shown."),
    click.option("-q", "--quiet", is_flag=True, default=None, help="Only problems."),
    click.option("-v", "--verbose", count=True, default=None, help="More detail; repeat for more."),
    click.option("--context", help="Use this kubeconfig context instead of the spec's cluster."),
    click.option("--toolchain", type=click.Choice(["auto", "path", "download", "source"]),
                 help="Where docker, minikube, helm and kubectl come from."),
    click.option("--forward", type=click.Choice(["auto", "always", "never"]),
                 help="Whether this machine serves the URLs itself, by a background process."),
    click.option("--registry", metavar="HOST[:PORT][/PREFIX]",
                 help="Registry that images are pushed to and pulled from."),
    click.option("--ca", type=click.Path(path_type=Path),
                 help="PEM file of a company's CA certificates, for builds."),
    click.option("-y", "--yes", is_flag=True, default=None, help="Answer yes to every question."),
    click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override a value of the spec."),
)  # fmt: skip


def common_options(function: F) -> F:
    """The command takes the common options and gets them as one Session, those after its name winning."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        said = {field.name: kwargs.pop(field.name, None) for field in fields(Session)}
        context = click.get_current_context()
        before = context.obj if isinstance(context.obj, Session) else Session()
        session = replace(before, **{name: value for name, value in said.items() if value})
        return function(session, *args, **kwargs)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]
