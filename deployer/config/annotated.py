"""The merged spec as YAML, each value with the place it was written at."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from deployer.config.load import LoadedSpec
from deployer.core.yaml import Location

DEFAULT = "default"
_COLUMN = 48


def as_yaml(document: Mapping[str, Any], origins: Mapping[Location, str]) -> str:
    """The document as block YAML; a value with an origin is followed by `# <origin>`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    def noted(value: Any, at: Location) -> Any:
        made: Any
        if isinstance(value, Mapping) and value:
            made = CommentedMap((key, noted(item, (*at, key))) for key, item in value.items())
            pairs: list[tuple[Any, Any]] = list(value.items())
        elif isinstance(value, list | tuple) and value:
            made = CommentedSeq(noted(item, (*at, index)) for index, item in enumerate(value))
            pairs = list(enumerate(value))
        else:
            return list(value) if isinstance(value, tuple) else value
        for key, item in pairs:
            origin = origins.get((*at, key))
            if origin is not None and not (isinstance(item, Mapping | list | tuple) and item):
                made.yaml_add_eol_comment(origin, key=key, column=_COLUMN)
        return made

    writer = YAML()
    writer.width = 4096  # a folded value would take its comment into itself
    writer.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    writer.dump(noted(document, ()), stream)
    return stream.getvalue()


def whole(loaded: LoadedSpec) -> dict[str, Any]:
    """The spec with every default filled in."""
    return loaded.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def leaf_origins(loaded: LoadedSpec, document: Mapping[str, Any]) -> dict[Location, str]:
    """The origin of every value of the document that is no filled map or list."""
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
