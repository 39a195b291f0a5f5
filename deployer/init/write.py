"""A draft as YAML: block maps, short ones on a line, and above each line the reason for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployer.core.yaml import Location, block_lines
from deployer.init.model import Draft

_WIDTH = 116
_APART = ("env", "cluster", "images", "secrets", "releases", "urls", "rules")

Place = tuple[str, ...]


def as_yaml(draft: Draft, head: str) -> str:
    """The draft's text, beneath lines of comment; remarks are at its end."""
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    lines += _lines(draft.document, draft.comments)
    if draft.remarks:
        lines += ["", "# Also seen:", *(f"# - {_one_line(remark)}" for remark in draft.remarks)]
    return "\n".join(lines) + "\n"


def _lines(document: Mapping[str, Any], comments: Mapping[Place, str]) -> Iterator[str]:
    commented = {place[:depth] for place, comment in comments.items() if comment for depth in range(len(place))}

    def inline(at: Location, line: str) -> bool:
        return isinstance(at[-1], int) or (len(at) > 2 and at not in commented and len(line) <= _WIDTH)

    for at, line in block_lines(document, inline):
        if len(at) == 1 and at[0] in _APART:
            yield ""
        comment = comments.get(tuple(map(str, at)))
        if comment:
            yield f"{' ' * (len(line) - len(line.lstrip()))}# {_one_line(comment)}"
        yield line


def _one_line(text: str) -> str:
    """What others wrote does not end the comment that it is in."""
    return " ".join(text.split())
