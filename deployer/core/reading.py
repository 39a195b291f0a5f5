"""Every text that others wrote: YAML and JSON become plain values of the asked shape, or `Malformed` with a line.

Nothing else can come of it: no other exception, no date, no NaN, no map with other keys than texts, nothing nested so
deeply or repeated so often that whoever walks through it would fail.
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Location = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

DEEPEST = 200
"""Levels of maps and lists: Kubernetes' own go to about sixty, and Python's walk of a thousand is at its end."""

_MOST_REPEATED = 100_000
"""Values that YAML aliases may repeat in one document: a bomb has millions."""

_LONGEST = 64 * 2**20
_TAG = "tag:yaml.org,2002:"
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


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, and the line (from 1) of each key and list item in it."""

    value: Any
    lines: Mapping[Location, int] = field(default_factory=dict)


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


def parse_yaml(text: str) -> Document:
    """The one document, by YAML 1.2's core schema (`yes` is a text), as specs are written. Raises Malformed.

    A key that is there twice is malformed; merge keys (`<<`) are carried out.
    """
    return _document(text, _core())


def parse_texts(text: str) -> Document:
    """As `parse_yaml`, but every scalar is the text that is written (null is empty): appVersion 1.10 is not 1.1."""
    return _document(text, _texts())


def parse_manifest(text: str) -> list[dict[str, Any]]:
    """The maps among the documents, by YAML 1.1 as Helm reads charts and values and prints objects. Raises Malformed.

    The place for everything in which sigs.k8s.io/yaml differs from YAML 1.1 (`_helm`): dates and `=` are texts.
    """
    rules = _helm()
    built = (_Builder(rules).build(node) for node in _composed(text, rules))
    return [one for one in built if isinstance(one, dict)]


def _document(text: str, rules: _Rules) -> Document:
    nodes = _composed(text, rules)
    if len(nodes) > 1:
        raise Malformed("a second document begins here", _line(nodes[1]))
    builder = _Builder(rules)
    return Document(builder.build(nodes[0]) if nodes else None, builder.lines)


def shaped(kind: type[T], value: Any) -> T:
    """The value as one of this type: a scalar, a collection of such, or a dataclass of them.

    A dataclass is made of a map (unknown keys are passed over: a newer version wrote them) or of a list of its fields
    in order; absent fields have their defaults. Raises Malformed with the path of what does not fit.
    """
    return typing.cast(T, _shaped(kind, value, ""))


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
            _misfit("no map", at)
        of = inner[1] if inner else Any
        return {name: _shaped(of, one, f"{at}.{name}" if at else str(name)) for name, one in value.items()}
    return _scalar(kind, value, at)


def _items(kind: Any, value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        _misfit("no list", at)
    return [_shaped(kind, one, f"{at}[{index}]") for index, one in enumerate(value)]


def _scalar(kind: Any, value: Any, at: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    return value if fits else _misfit(f"no {kind.__name__}", at)


def _one_of(kinds: Sequence[Any], value: Any, at: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return _shaped(kind, value, at)
        except Malformed:
            continue
    return _shaped(kinds[-1], value, at)


def _instance(kind: Any, value: Any, at: str) -> Any:
    fields = _fields(kind)
    if isinstance(value, list) and len(value) == len(fields):
        value = dict(zip(fields, value, strict=True))
    if not isinstance(value, dict):
        _misfit("no map", at)
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


def _integer(text: str, base: int = 10) -> int | float:
    """The number; beyond 64 bits a float, as Go reads it."""
    if len(text) <= 18:
        return int(text, base)
    if len(text) > 400:
        _no_number(f"{text[:12]}…")
    value = int(text, base)
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


@dataclass(frozen=True, slots=True)
class _Rules:
    """How scalars are read: the loader whose resolver finds their tags, and what makes values of them."""

    loader: Any
    scalars: Mapping[str, Callable[[str], Any]]
    repeated_keys: bool = False
    """Whether a key may be there twice, the last one counting, as Helm lets it."""


def _core() -> _Rules:
    """YAML 1.2's core schema."""
    return _Rules(_loader("true|false", "[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+"), _SCALARS)


def _helm() -> _Rules:
    """YAML 1.1 without dates, `=` and numbers to the base of 60, which are texts for Helm too."""
    numbers = "[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)"
    loader = _loader("true|false|yes|no|on|off", numbers)
    return _Rules(loader, {**_SCALARS, "int": _octal}, repeated_keys=True)


def _texts() -> _Rules:
    """Every scalar is what is written."""
    return replace(_helm(), scalars={"null": lambda text: ""}, repeated_keys=True)


@functools.cache
def _loader(words: str, numbers: str) -> Any:
    """A loader, in C where it is there (seven times as fast), that knows these words and whole numbers."""
    import yaml

    spelled = "|".join(form for word in words.split("|") for form in (word, word.title(), word.upper()))
    digits = "-+0123456789."
    floats = (
        r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    )
    known = (
        ("bool", spelled, {form[0] for form in spelled.split("|")}),
        ("int", numbers, digits),
        ("float", floats, digits),
        ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", "<<", "<"),
    )
    resolvers: dict[str, list[Any]] = {}
    for tag, pattern, firsts in known:
        for first in firsts:
            resolvers.setdefault(first, []).append((_TAG + tag, re.compile(f"(?:{pattern})\\Z")))
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return type("Loader", (base,), {"yaml_implicit_resolvers": resolvers})


def _composed(text: str, rules: _Rules) -> list[Any]:
    """The documents as nodes, with tags and marks."""
    import yaml

    try:
        return list(yaml.compose_all(text, Loader=rules.loader))
    except yaml.reader.ReaderError as error:
        raise Malformed("a character that YAML does not allow", text.count("\n", 0, error.position) + 1) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = str(getattr(error, "problem", None) or "not YAML").splitlines()[0]
        last = text.rstrip().count("\n") + 1  # what is never closed is missed after the end
        raise Malformed(reason, min(mark.line + 1, last) if mark is not None else 0) from None
    except UnicodeError:
        raise Malformed("not UTF-8 text") from None
    except RecursionError:
        raise Malformed(f"more than {DEEPEST} levels") from None


class _Builder:
    """Makes plain values of YAML nodes, and notes the line of each key and item."""

    def __init__(self, rules: _Rules) -> None:
        self.lines: dict[Location, int] = {}
        self._rules = rules
        self._seen: set[int] = set()
        self._repeated = 0

    def build(self, node: Any, at: Location = (), depth: int = 0, *, again: bool = False) -> Any:
        """The node's value; `again`: it has been built before, for another alias."""
        scalar = isinstance(node.value, str)
        again = again or (not scalar and id(node) in self._seen)
        self._repeated += again
        if depth > DEEPEST:  # an alias within itself has no end either
            raise Malformed(f"more than {DEEPEST} levels", _line(node))
        if self._repeated > _MOST_REPEATED:
            raise Malformed("its aliases repeat too much", _line(node))
        if scalar:
            return self._scalar(node)
        self._seen.add(id(node))
        if node.id == "mapping":
            return self._map(node, at, depth, again)
        self.lines.update({(*at, index): _line(item) for index, item in enumerate(node.value)})
        return [self.build(item, (*at, index), depth + 1, again=again) for index, item in enumerate(node.value)]

    def _map(self, node: Any, at: Location, depth: int, again: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                for one in value.value if value.id == "sequence" else [value]:
                    if one.id != "mapping":
                        raise Malformed("`<<` merges maps only", _line(one))
                    merged = {**self.build(one, at, depth + 1, again=again), **merged}
                continue
            name = self._name(key)
            if name in found and not self._rules.repeated_keys:
                raise Malformed(f"the key `{name}` is there twice", _line(key))
            self.lines[(*at, name)] = _line(key)
            found[name] = self.build(value, (*at, name), depth + 1, again=again)
        return {**merged, **found} if merged else found

    def _name(self, key: Any) -> str:
        if not isinstance(key.value, str):
            raise Malformed("a key must be a text", _line(key))
        value = self._scalar(key) if key.tag == f"{_TAG}bool" and self._rules.repeated_keys else key.value
        return value if isinstance(value, str) else str(value).lower()  # sigs.k8s.io/yaml makes `true:` of `on:`

    def _scalar(self, node: Any) -> Any:
        """The scalar's value; of a tag that is not YAML's own it is the text."""
        kind = str(node.tag).removeprefix(_TAG)
        make = self._rules.scalars.get(kind, str)
        try:
            return make(node.value)
        except ValueError:
            words = "a finite number" if kind in ("int", "float") else f"a {kind}"
            raise Malformed(f"this is not {words}", _line(node)) from None


def _bool(text: str) -> bool:
    word = text.lower()
    if word not in ("true", "yes", "on", "false", "no", "off"):
        raise ValueError(text)
    return word in ("true", "yes", "on")


def _int(text: str) -> int | float:
    plain = text.replace("_", "").lower()
    sign, digits = ("-" if plain.startswith("-") else ""), plain.lstrip("+-")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return _integer(sign + digits[2:], base)
    return _integer(sign + digits)


def _octal(text: str) -> int | float:
    digits = text.replace("_", "").lstrip("+-")
    return _int(text.replace("0", "0o", 1) if len(digits) > 1 and digits.isdigit() and digits[0] == "0" else text)


def _float(text: str) -> float:
    return _finite(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": _bool,
    "int": _int,
    "float": _float,
}


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1
