"""Text and JSON that others wrote become plain values of the asked shape, or `Malformed` with a line (YAML: `yaml.py`).

Nothing else can come of it: no other exception, no NaN, nothing nested so deeply that whoever walks through it would
fail.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
DEEPEST = 200
"""Levels of maps and lists: Kubernetes' own go to about sixty, and Python's walk of a thousand is at its end."""

_LONGEST = 64 * 2**20
_HALF = re.compile("[\ud800-\udfff]")
_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(ValueError):
    """The text is not what it should be; `line` counts from 1 and is 0 where no line is to blame."""

    def __init__(self, reason: str, line: int = 0) -> None:
        self.line = line
        super().__init__(reason)

    def at(self, shown: str) -> str:
        """`file:line` for the file that is shown as this."""
        return f"{shown}:{self.line or 1}"


def decode(raw: bytes) -> str:
    """The text, without a byte order mark. Raises Malformed for what is not UTF-8 or longer than 64 MiB."""
    if len(raw) > _LONGEST:
        raise Malformed(f"it has {len(raw) >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed("not UTF-8 text", raw.count(b"\n", 0, error.start) + 1) from None


def read_text(path: Path) -> str:
    """The file's text, as of `decode`. Raises OSError and Malformed."""
    return decode(path.read_bytes())


def text_if_any(path: Path) -> str:
    """The file's text, with marks for what is not UTF-8; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_json(path: Path, kind: type[T]) -> T:
    """The file's JSON document in this shape (see `shaped`). Raises OSError and Malformed."""
    return shaped(kind, parse_json(path.read_bytes()))


def parse_json(raw: str | bytes) -> Any:
    """The JSON document. Raises Malformed, for NaN and numbers beyond all bounds too."""
    text = decode(raw) if isinstance(raw, bytes) else raw
    try:
        value = json.loads(text, parse_float=_finite, parse_int=_integer, parse_constant=_no_number)
    except RecursionError:
        raise Malformed(f"more than {DEEPEST} levels") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg}", error.lineno) from None
    return _whole(value) if _ESCAPED_HALF.search(text) else _flat_enough(value)


def shaped(kind: type[T], value: Any) -> T:
    """The value as one of this type: a scalar, a collection of such, or a dataclass of them.

    A dataclass is made of a map (unknown keys are passed over: a newer version wrote them) or, unless its fields are
    keyword-only, of a list of its fields in order; absent fields have their defaults. Raises Malformed with the path
    of what does not fit.
    """
    return typing.cast(T, _shaped(kind, value, ""))


_KINDS = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a mapping"}


def kind_of(value: object) -> str:
    """What kind of value YAML and JSON have it for: `a boolean`, `a mapping`, `null`."""
    return _KINDS.get(type(value), "null")


def _shaped(kind: Any, value: Any, at: str) -> Any:
    if kind is Any:
        return value
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _instance(kind, value, at)
    if origin in (typing.Union, types.UnionType):
        return _one_of(inner, value, at)
    if origin is typing.Literal:
        return value if value in inner and isinstance(value, str) else _misfit(f"none of {', '.join(inner)}", at)
    if origin is tuple:
        return tuple(_items(inner[0], value, at))
    if origin is list:
        return _items(inner[0], value, at)
    if kind is dict or origin in (dict, collections.abc.Mapping):
        if not isinstance(value, dict):
            _misfit("not a mapping", at)
        of = inner[1] if inner else Any
        return {name: _shaped(of, one, f"{at}.{name}" if at else str(name)) for name, one in value.items()}
    return _scalar(kind, value, at)


def _items(kind: Any, value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        _misfit("not a list", at)
    return [_shaped(kind, one, f"{at}[{index}]") for index, one in enumerate(value)]


def _scalar(kind: Any, value: Any, at: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    return value if fits else _misfit(f"not {_KINDS.get(kind, 'null')}", at)


def _one_of(kinds: Sequence[Any], value: Any, at: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _shaped(kind, value, at)
        except Malformed:
            continue
    return _shaped(kinds[-1], value, at)


def _instance(kind: Any, value: Any, at: str) -> Any:
    fields = _fields(kind)
    if isinstance(value, list) and len(value) <= len(fields) and not dataclasses.fields(kind)[0].kw_only:
        value = dict(zip(fields, value, strict=False))
    if not isinstance(value, dict):
        _misfit("not a mapping", at)
    given = {name: value[name] for name in fields if name in value}
    missing = next((name for name, (_, needed) in fields.items() if needed and name not in given), None)
    if missing is not None:
        _misfit(f"without `{missing}`", at)
    return kind(**{name: _shaped(fields[name][0], one, f"{at}.{name}" if at else name) for name, one in given.items()})


@functools.cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """The dataclass's fields: their types, and whether they must be given."""
    kinds = typing.get_type_hints(kind)
    nothing = dataclasses.MISSING
    return {
        one.name: (kinds[one.name], one.default is nothing and one.default_factory is nothing)
        for one in dataclasses.fields(kind)
    }


def _misfit(words: str, at: str) -> typing.NoReturn:
    raise Malformed(f"`{at}` is {words}" if at else f"it is {words}")


def _no_number(text: str) -> typing.NoReturn:
    raise Malformed(f"`{text}` is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _integer(text: str) -> int | float:
    """The number; beyond 64 bits a float, as Go reads it."""
    if len(text) <= 18:
        return int(text)
    if len(text) > 400:
        _no_number(f"{text[:12]}…")
    value = int(text)
    return value if -(2**63) <= value < 2**64 else _finite(str(value))


def _flat_enough(value: Any) -> Any:
    """The value, which is not nested too deeply."""
    level = [value]
    for _ in range(DEEPEST + 1):
        maps = [inner for one in level if type(one) is dict for inner in one.values()]
        level = maps + [inner for one in level if type(one) is list for inner in one]
        if not level:
            return value
    raise Malformed(f"more than {DEEPEST} levels")


def _whole(value: Any, depth: int = 0) -> Any:
    """The value without halves of characters, which no file and no terminal takes."""
    if depth > DEEPEST:
        raise Malformed(f"more than {DEEPEST} levels")
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(one, depth + 1) for name, one in value.items()}
    return value
