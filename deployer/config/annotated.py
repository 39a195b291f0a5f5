"""The merged spec as YAML, each value with the place it was written at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.config.load import LoadedSpec
from deployer.core.yaml import Location
from deployer.core.yaml_text import block_lines

DEFAULT = "default"
_COLUMN = 47


def as_yaml(document: Mapping[str, Any], origins: Mapping[Location, str]) -> str:
    """The document as block YAML; a value with an origin is followed by `# <origin>`."""
    lines = (f"{line:<{_COLUMN}} # {origins[at]}" if at in origins else line for at, line in block_lines(document))
    return "\n".join(lines) + "\n"


def whole(loaded: LoadedSpec) -> dict[str, Any]:
    """The spec with every default filled in."""
    return loaded.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def leaf_origins(loaded: LoadedSpec, document: Mapping[str, Any]) -> dict[Location, str]:
    """The origin of every value of the document that is not a map or list with items."""
    return {at: str(loaded.origins[at]) if at in loaded.origins else DEFAULT for at in _leaves(document, ())}


def _leaves(value: Any, at: Location) -> Iterator[Location]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*at, key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, (*at, index))
    elif at:
        yield at
