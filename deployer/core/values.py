"""Nested maps, as specs and Helm values are: reached by dotted paths, and laid over each other."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def path_keys(path: str) -> list[str]:
    """The keys of a dotted path; `\\.` is a dot within a key, as in `helm --set`."""
    return [key.replace("\0", ".") for key in path.replace("\\.", "\0").split(".")]


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    place: Any = values
    for key in path_keys(path):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place


def set_at(values: dict[str, Any], path: str, value: Any) -> None:
    """The value is at a dotted path, maps on the way made; ValueError where something else is in the way."""
    keys = path_keys(path)
    place = values
    for depth, key in enumerate(keys[:-1], start=1):
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise ValueError(f"cannot set `{path}`: `{'.'.join(keys[:depth])}` is not a mapping")
    place[keys[-1]] = value


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `under` with `over` laid over it: maps merge, all else replaces, as Helm does it with values."""
    result = copy.deepcopy(dict(under))
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = overlaid(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result
