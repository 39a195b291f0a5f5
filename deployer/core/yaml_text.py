"""Values as YAML text that YAML 1.1 and 1.2 read alike, in one way for each value, so that texts can be compared."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deployer.core.yaml import Location, scalar

_BARE = re.compile(r"(?:[A-Za-z/_•]|\.[A-Za-z/_])[\w./:@+()• -]*|\d+\.\d+\.\d+")
_BLOCK = re.compile(r"(?!\s)[^\r\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]+(?<!\s)\n?")
# What YAML does not allow in a text, or takes for a line break.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")

Inline = Callable[[Location, str], bool]
"""Whether a map or list is written on one line, given its location and that line."""


def text_of(value: Any) -> str:
    """The value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text_of(str(key))}: {text_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text_of(item) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, str) and _is_bare(value):
        return value
    quoted = json.dumps(value, ensure_ascii=False, default=str)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted)


def block_lines(
    value: Any, inline: Inline = lambda at, line: False, at: Location = (), indent: str = ""
) -> Iterator[tuple[Location, str]]:
    """The value as lines of block YAML, each with its location; () within a text of several lines."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{text_of(str(key))}:", item, (*at, key), indent, inline)
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            here = (*at, index)
            if _is_inline(item, here, f"{indent}- {text_of(item)}", inline):
                yield from _entry(f"{indent}-", item, here, indent, inline)
                continue
            (first, line), *rest = block_lines(item, inline, here, f"{indent}  ")
            yield first, f"{indent}- {line[len(indent) + 2 :]}"
            yield from rest
    else:
        yield at, indent + text_of(value)


def _entry(head: str, value: Any, at: Location, indent: str, inline: Inline) -> Iterator[tuple[Location, str]]:
    """A key or dash with its value."""
    if isinstance(value, str) and "\n" in value and _BLOCK.fullmatch(value):
        yield at, f"{head} {'|' if value.endswith(chr(10)) else '|-'}"
        yield from (((), f"{indent}  {line}" if line else "") for line in value.removesuffix("\n").split("\n"))
    elif _is_inline(value, at, line := f"{head} {text_of(value)}", inline):
        yield at, line
    else:
        yield at, head
        yield from block_lines(value, inline, at, f"{indent}  ")


def _is_inline(value: Any, at: Location, line: str, inline: Inline) -> bool:
    return not isinstance(value, Mapping | list | tuple) or not value or inline(at, line)


def _is_bare(text: str) -> bool:
    return bool(_BARE.fullmatch(text)) and scalar(text) == text and ": " not in text and text[-1] not in " :"
