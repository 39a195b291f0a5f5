"""What differs between the values a release was made with and those it gets, in paths a person can look up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.core.redact import KNOWN, SECRET_NAME

_SHOWN = 3
_LONGEST = 60


def value_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Each changed path, with its values where they are short and no secrets: `backend.replicaCount: 2 → 3`."""
    return tuple(_changes(old, new, ""))


def in_words(changes: tuple[str, ...], *, chart: bool) -> str:
    """The first changes and how many more there are; `chart` when the chart itself changed."""
    told = (("chart files",) if chart else ()) + changes
    if not told:
        return "inputs changed"
    more = len(told) - _SHOWN
    return ", ".join(told[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _changes(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        before, after = KNOWN(_short(old)), KNOWN(_short(new))
        shown = before and after and len(before) + len(after) < _LONGEST and not SECRET_NAME.search(path)
        yield f"{path}: {before} → {after}" if shown else path


def _short(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return ""
    return "none" if value is None else str(value)
