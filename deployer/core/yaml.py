"""YAML as Helm and kubectl read it: the semantics of sigs.k8s.io/yaml over go-yaml v2, parsed by libyaml.

`no` and `on` are booleans, `0440` is octal, `22:30`, `2024-04-01` and `=` are strings, keys become strings, of a key
given twice the later one counts, and `<<` takes effect where it stands. A differential test compares all of this with
what Helm itself makes of the same text (tests/charts/test_yaml_like_helm.py). The spec is read by the same rules, so
that values mean the same in it as in a values file; only a key given twice is refused there.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from deployer.core.reading import DEEPEST, Malformed
from deployer.core.values import overlaid

Location = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

Scalar = str | int | float | bool | None

_MOST_REPEATED = 100_000
"""Values that aliases may repeat in one document: a bomb has millions."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = f"{_TAG}plain"
"""The tag of a scalar without quotes and without a tag: what it is, is decided by `scalar`."""

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}\S*)?\Z")
_OTHER_VERSION = re.compile(r"%YAML[ \t]+(?!1\.1\s)", re.MULTILINE)
_INT = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)\Z")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, and the line (from 1) of each key and list item in it."""

    value: Any
    lines: Mapping[Location, int] = field(default_factory=dict)


def parse_yaml(text: str) -> Document:
    """The one document; a key that is there twice is malformed. Raises Malformed."""
    return _document(text, _Builder(unique_keys=True))


def parse_texts(text: str) -> Document:
    """The one document with every scalar as the text that is written (null is empty): appVersion 1.10 is not 1.1.

    Raises Malformed.
    """
    return _document(text, _Builder(_written))


RESET = object()
"""What `!reset` leaves of a value in a Compose file."""


class Replaced(list[Any]):
    """A list that `!override` puts in the place of another one, in a Compose file."""


def parse_compose(text: str) -> Document:
    """The one document as Compose reads it: of YAML's words for truth, `true` and `false` alone. Raises Malformed."""
    return _document(text, _ComposeBuilder(_core))


def parse_values(text: str) -> Any:
    """A values file: its documents, each laid over those before it as Helm 4 does (3 took the first); None for none.

    Raises Malformed.
    """
    documents = [one for node in _composed(text) if (one := _Builder().build(node)) is not None]
    if len(documents) > 1 and all(isinstance(one, dict) for one in documents):
        return reduce(overlaid, documents)
    return documents[0] if documents else None


def parse_manifest(text: str) -> list[dict[str, Any]]:
    """The maps among the documents, those of a list in its place. Raises Malformed."""
    built = (_Builder(_sent).build(node) for node in _composed(text))
    return [one for document in built if isinstance(document, dict) for one in _unpacked(document)]


def _unpacked(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects of a `kind: List` or `ConfigMapList`, as Helm takes it (apimachinery: UnstructuredJSONScheme)."""
    kind, items = body.get("kind"), body.get("items")
    if not (isinstance(kind, str) and kind.endswith("List") and isinstance(items, list) and "apiVersion" in body):
        yield body
        return
    for one in items:
        if isinstance(one, dict):
            named = {} if one.get("kind") or kind == "List" else {
                "apiVersion": body["apiVersion"], "kind": kind.removesuffix("List")
            }  # fmt: skip
            yield from _unpacked({**named, **one})


def yaml_error() -> type[Exception]:
    """What the yaml package raises for a text that it cannot read, for callers of packages that use it too."""
    import yaml

    return yaml.YAMLError


def scalar(text: str) -> Scalar:
    """The value of a plain scalar as go-yaml v2 resolves it (its resolve.go)."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if not (first.isascii() and (first.isdigit() or first in "+-.")):
        return text
    plain = text if first == "." else text.replace("_", "")
    if first != "." and (whole := _INT.match(plain)):
        number = _integer(whole[1], whole[2])
        if -(2**63) <= number < 2**63 or (number < 2**64 and not whole[1]):
            return number
    if _FLOAT.match(plain):
        number_ = float(plain)
        if not math.isinf(number_):
            return number_
    return text


def _integer(sign: str, digits: str) -> int:
    lower = digits.lower()
    if lower.startswith(("0x", "0b", "0o")):
        number = int(lower, 0)
    elif lower.startswith("0") and len(lower) > 1:
        number = int(lower, 8)
    else:
        number = int(lower)
    return -number if sign == "-" else number


def _document(text: str, builder: _Builder) -> Document:
    nodes = _composed(text)
    while len(nodes) > 1 and nodes[-1].value == "" and nodes[-1].tag == _PLAIN:  # `---` ends it
        nodes.pop()
    if len(nodes) > 1:
        raise Malformed("a second document begins here", _line(nodes[1]))
    return Document(builder.build(nodes[0]) if nodes else None, builder.lines)


@functools.cache
def _loader() -> Any:
    """A loader, in C where it is there (seven times as fast), that leaves the type of a plain scalar open."""
    import yaml

    def resolve(_: Any, kind: Any, value: str | None, implicit: Any) -> str:
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else f"{_TAG}str"
        return f"{_TAG}map" if kind is yaml.MappingNode else f"{_TAG}seq"

    return type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"resolve": resolve})


def _composed(text: str) -> list[Any]:
    """The documents as nodes, with tags and marks."""
    import yaml

    if _OTHER_VERSION.match(text):
        raise Malformed("only %YAML 1.1 is read", 1)
    try:
        return list(yaml.compose_all(text, Loader=_loader()))
    except yaml.reader.ReaderError as error:
        raise Malformed("a character that YAML does not allow", text.count("\n", 0, error.position) + 1) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = str(getattr(error, "problem", None) or "not YAML").splitlines()[0]
        last = text.rstrip().count("\n") + 1  # what is never closed is missed after the end
        if mark is not None and "cannot start" in reason and "\t" in text.split("\n")[mark.line]:
            reason = "a tab is here; YAML wants spaces"
        raise Malformed(reason, min(mark.line + 1, last) if mark is not None else 0) from None
    except UnicodeError:
        raise Malformed("not UTF-8 text") from None
    except RecursionError:
        raise Malformed(f"more than {DEEPEST} levels") from None


class _Builder:
    """Makes plain values of YAML nodes, and notes the line of each key and item."""

    def __init__(self, read: Callable[[Any], Scalar] | None = None, *, unique_keys: bool = False) -> None:
        self.lines: dict[Location, int] = {}
        self._read = read or _value
        self._unique_keys = unique_keys
        self._seen: set[int] = set()
        self._repeated = 0

    def build(self, node: Any, at: Location = (), depth: int = 0, *, again: bool = False) -> Any:
        """The node's value; `again`: it has been built before, for another alias."""
        is_scalar = isinstance(node.value, str)
        again = again or (not is_scalar and id(node) in self._seen)
        self._repeated += again
        if depth > DEEPEST:  # an alias within itself and a map merged into itself have no end either
            raise Malformed(f"more than {DEEPEST} levels", _line(node))
        if self._repeated > _MOST_REPEATED:
            raise Malformed("its aliases repeat too much", _line(node))
        if is_scalar:
            return self._read(node)
        self._seen.add(id(node))
        if node.id == "mapping":
            return self._map(node, at, depth, again)
        self.lines.update({(*at, index): _line(item) for index, item in enumerate(node.value)})
        return [self.build(item, (*at, index), depth + 1, again=again) for index, item in enumerate(node.value)]

    def _map(self, node: Any, at: Location, depth: int, again: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own: set[str] = set()
        for key, value in node.value:
            if key.value == "<<" and key.tag in (_PLAIN, f"{_TAG}merge"):
                # Of several maps the first counts.
                for one in reversed(value.value) if value.id == "sequence" else [value]:
                    if one.id != "mapping":
                        raise Malformed("`<<` merges maps only", _line(one))
                    found.update(self.build(one, at, depth + 1, again=again))
                continue
            name = _name(key)
            if self._unique_keys and name in own:
                raise Malformed(f"the key `{name}` is there twice", _line(key))
            own.add(name)
            self.lines[(*at, name)] = _line(key)
            found[name] = self.build(value, (*at, name), depth + 1, again=again)
        return found


class _ComposeBuilder(_Builder):
    """Has Compose's own tags (docs.docker.com/reference/compose-file/merge)."""

    def build(self, node: Any, at: Location = (), depth: int = 0, *, again: bool = False) -> Any:
        """The node's value, or what stands for it where it is reset."""
        if node.tag == "!reset":
            return RESET
        value = super().build(node, at, depth, again=again)
        return Replaced(value) if node.tag == "!override" and isinstance(value, list) else value


def _name(node: Any) -> str:
    """The key as a string, as sigs.k8s.io/yaml makes it for JSON: `on:` is `true:`."""
    if not isinstance(node.value, str):
        raise Malformed("a key must be a string", _line(node))
    value = _resolved(node)
    if value is None or (type(value) is int and value >= 2**63):
        raise Malformed("a key must be a string", _line(node))
    if isinstance(value, bool):
        return "true" if value else "false"
    return _short_float(value) if isinstance(value, float) else str(value)


def _short_float(number: float) -> str:
    """The number in the fewest digits that tell its 32-bit float from others, as Go's FormatFloat(…, 'g', -1, 32)."""
    try:
        wanted = _as_float32(number)
    except OverflowError:
        wanted = math.copysign(math.inf, number)
    if not math.isfinite(wanted):
        return {math.inf: ".inf", -math.inf: "-.inf"}.get(wanted, ".nan")
    digits = next(n for n in range(17) if _as_float32(float(f"{wanted:.{n}e}")) == wanted)
    mantissa, _, exponent = f"{wanted:.{digits}e}".partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        return f"{float(f'{wanted:.{digits}e}'):.{max(digits - power, 0)}f}"
    return f"{mantissa}e{power:+03d}"


def _as_float32(number: float) -> float:
    packed: float = struct.unpack("f", struct.pack("f", number))[0]
    return packed


def _value(node: Any) -> Scalar:
    """The scalar's value; JSON has no infinity."""
    value = _resolved(node)
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed("this is not a finite number", _line(node))
    return value


def _sent(node: Any) -> Scalar:
    """The scalar as it reaches the API server: Go's JSON writes 1e+06, as Helm renders a large number, 1000000."""
    value = _value(node)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def _core(node: Any) -> Scalar:
    """The scalar by the words of YAML 1.2."""
    value = _sent(node)
    return str(node.value) if isinstance(value, bool) and str(node.value).lower() not in ("true", "false") else value


def _written(node: Any) -> str:
    """The scalar's text; null is empty."""
    return "" if _resolved(node) is None else str(node.value)


_KINDS: Mapping[str, type] = {"bool": bool, "int": int, "float": float, "null": type(None)}


def _resolved(node: Any) -> Scalar:
    """What the tag makes of the text; of a tag that is not YAML's own it is the text."""
    kind, text = str(node.tag).removeprefix(_TAG), str(node.value)
    if node.tag == _PLAIN:
        return scalar(text)
    if kind == "binary":
        return _decoded(node)
    if kind == "timestamp" and not _TIMESTAMP.match(text):
        raise Malformed("this is not a timestamp", _line(node))
    if kind not in _KINDS:
        return text
    value = scalar(text)
    if kind == "float" and type(value) is int and value < 2**63:
        return float(value)
    if type(value) is not _KINDS[kind]:
        raise Malformed(f"this is not of the type !!{kind}", _line(node))
    return value


def _decoded(node: Any) -> str:
    try:
        data = base64.b64decode(re.sub("[\r\n]", "", node.value), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("this is not base64", _line(node)) from None
    # Each byte that is no UTF-8 becomes a replacement character of its own, as in Go.
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode(errors="surrogateescape"))


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


_BARE = re.compile(r"(?:[A-Za-z/_•]|\.[A-Za-z/_])[\w./:@+()• -]*|\d+\.\d+\.\d+|(?!0[box])\d[\w.-]*[A-Za-z][\w.-]*")
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
