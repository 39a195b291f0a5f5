"""Nested maps, as specs and Helm values are: reached by dotted paths, and laid over each other.

A path may go into a list as in `helm --set`, `services[0].image.tag`, or by an item's name, `services[front].image`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_IN_LIST = re.compile(r"([^\[\]]+)((?:\[[^\[\]]+\])+)")

Step = str | tuple[str]
"""A key of a map, or in a tuple the index or name of a list's item."""


def path_keys(path: str) -> list[str]:
    """The keys of a dotted path; `\\.` is a dot within a key, as in `helm --set`."""
    return [key.replace("\0", ".") for key in path.replace("\\.", "\0").split(".")]


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    place: Any = values
    for step in _steps(path):
        if isinstance(step, str):
            place = place.get(step) if isinstance(place, Mapping) else None
        else:
            index = _index(place, step[0]) if isinstance(place, list) else None
            place = place[index] if index is not None and index < len(place) else None
    return place


def set_at(values: dict[str, Any], path: str, value: Any) -> None:
    """The value is at a dotted path, maps and new items on the way made; ValueError where something is in the way."""
    steps = _steps(path)
    place: Any = values
    for depth, step in enumerate(steps):
        last = depth == len(steps) - 1
        new = value if last else [] if isinstance(steps[depth + 1], tuple) else {}
        if isinstance(step, str):
            key: Any = step
            wrong = "" if isinstance(place, dict) else _not_mapping(place, step)
        else:
            key = _index(place, step[0]) if isinstance(place, list) else None
            wrong = "" if key is not None and key <= len(place) else _not_list(place, step[0])
        if wrong:
            raise ValueError(f"cannot set `{path}`: `{_shown(steps[:depth])}` {wrong}")
        if isinstance(place, list) and key == len(place):
            place.append(None)
        there = place.get(key) if isinstance(place, dict) else place[key]
        place[key] = new if last or there is None else there
        place = place[key]


def set_over(values: dict[str, Any], path: str, value: Any, under: Mapping[str, Any]) -> None:
    """As `set_at`, for values that are laid over `under`: a list is replaced whole, so the path goes into its copy."""
    items = list_of(path)
    if items and value_at(values, items) is None:
        set_at(values, items, copy.deepcopy(value_at(under, items)))
    set_at(values, path, value)


def list_of(path: str) -> str:
    """The path of the first list that the path goes into; empty where it goes into none."""
    steps = _steps(path)
    first = next((depth for depth, step in enumerate(steps) if isinstance(step, tuple)), 0)
    return dotted([str(step) for step in steps[:first]])


def dotted(keys: Sequence[str | int]) -> str:
    """The path of these keys as a spec writes it; a number is an index."""
    texts = (f"[{key}]" if isinstance(key, int) else "." + key.replace(".", "\\.") for key in keys)
    return "".join(texts).removeprefix(".")


def _steps(path: str) -> list[Step]:
    found: list[Step] = []
    for key in path_keys(path):
        match = _IN_LIST.fullmatch(key)
        found += [match[1], *((item,) for item in match[2][1:-1].split("]["))] if match else [key]
    return found


def _index(items: list[Any], item: str) -> int | None:
    if item.isdecimal():
        return int(item)
    named = (at for at, one in enumerate(items) if isinstance(one, Mapping) and one.get("name") == item)
    return next(named, None)


def _shown(steps: Sequence[Step]) -> str:
    return "".join(f"[{step[0]}]" if isinstance(step, tuple) else f".{step}" for step in steps).removeprefix(".")


def _not_mapping(place: Any, key: str) -> str:
    if isinstance(place, list):
        names = [str(one["name"]) for one in place if isinstance(one, Mapping) and "name" in one]
        known = f"[{key}]" if key.isdecimal() or key in names else "[0]"
        return f"is a list: write `{known}` for an item of it"
    return "is not a mapping"


def _not_list(place: Any, item: str) -> str:
    if not isinstance(place, list):
        return "is not a list"
    if item.isdecimal():
        return f"has {len(place)} items"
    names = ", ".join(str(one["name"]) for one in place if isinstance(one, Mapping) and "name" in one)
    return f"has no item with the name `{item}`; it has: {names or 'none with a name'}"


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


def mapped(value: Any, change: Callable[[str, tuple[str | int, ...]], str], at: tuple[str | int, ...] = ()) -> Any:
    """The value with every text in it changed, which is given with its place; keys stay."""
    if isinstance(value, dict):
        return {key: mapped(item, change, (*at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [mapped(item, change, (*at, index)) for index, item in enumerate(value)]
    return change(value, at) if isinstance(value, str) else value
