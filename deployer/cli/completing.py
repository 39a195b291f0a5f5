"""Answers to the shell's Tab: names from the spec file alone, without its rules and without the cluster.

Reading the spec in earnest takes longer than a person waits for a Tab; a name too many or too few does no harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

_SPEC_NAME = "todo-deploy.yaml"


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
        with suppress(Exception):  # a Tab is no place to tell an error
            yield from parse_manifest(read_text(file))[:1]


def _spec(ctx: click.Context) -> Path | None:
    """The file that --file names, here or before the command; else the nearest."""
    asked: click.Context | None = ctx
    while asked is not None:
        if asked.params.get("file"):
            return Path(asked.params["file"])
        asked = asked.parent
    here = Path.cwd()
    return next((folder / _SPEC_NAME for folder in (here, *here.parents) if (folder / _SPEC_NAME).is_file()), None)
