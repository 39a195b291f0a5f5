"""A draft as YAML: block maps, short ones on a line, and above each line the reason for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deployer.init.model import Draft

_PLAIN = re.compile(r"[A-Za-z/_][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_WIDTH = 116
_APART = ("env", "images", "secrets", "releases", "urls", "rules")

Place = tuple[str, ...]


def as_yaml(draft: Draft, head: str) -> str:
    """The draft's text, beneath lines of comment; what is remarkable stands at its end."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    lines += _lines(draft.document, (), draft.comments)
    if draft.remarks:
        lines += ["", "# Also seen:", *(f"# - {remark}" for remark in draft.remarks)]
    return "\n".join(lines) + "\n"


def _lines(document: Mapping[str, Any], at: Place, comments: Mapping[Place, str]) -> Iterator[str]:
    indent = "  " * len(at)
    for key, value in document.items():
        place = (*at, str(key))
        if not at and key in _APART:
            yield ""
        if comments.get(place):
            yield f"{indent}# {comments[place]}"
        name = f"{indent}{scalar(str(key))}:"
        told = any(known[: len(place)] == place and len(known) > len(place) and comments[known] for known in comments)
        short = f"{name} {flow(value)}"
        if not isinstance(value, Mapping | list) or not value or (len(at) >= 2 and not told and len(short) <= _WIDTH):
            yield short
        elif isinstance(value, Mapping):
            yield name
            yield from _lines(value, place, comments)
        else:
            yield name
            yield from (f"{indent}  - {flow(item)}" for item in value)


def flow(value: Any) -> str:
    """The value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """The value as YAML 1.1 and 1.2 both read it."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS
    version = re.fullmatch(r"\d+\.\d+\.\d+", value) is not None
    return value if plain or version else json.dumps(value, ensure_ascii=False)
