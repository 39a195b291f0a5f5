from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from deployer.core.reading import Malformed, decode, parse_json, read_json, shaped


@pytest.mark.parametrize(
    "text",
    ["", "<html></html>", '{"a":', "NaN", "[1e999]", "-Infinity", "[" * 3000 + "]" * 3000,
     '{"a":' * 300 + "1" + "}" * 300, "9" * 5000, b"\xff\xfe", b"\x1f\x8b\x08"],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_json_is_malformed(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        parse_json(text)


def test_halves_of_characters_are_replaced_in_json() -> None:
    assert parse_json(r'{"a\ud800": ["\udc00", "\ud83d\ude00"]}') == {"a\ufffd": ["\ufffd", "\U0001f600"]}


def test_numbers_beyond_64_bits_are_floats() -> None:
    assert parse_json("[18446744073709551615, 18446744073709551616]") == [2**64 - 1, float(2**64)]


def test_text_has_no_byte_order_mark_and_bad_text_its_line() -> None:
    assert decode(b"\xef\xbb\xbfa: 1") == "a: 1"
    with pytest.raises(Malformed) as caught:
        decode("a: 1\nb: caf\xe9\n".encode("latin-1"))
    assert caught.value.at("values.yaml") == "values.yaml:2"


@dataclass(frozen=True)
class Inner:
    name: str
    count: int = 0


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    parts: tuple[Inner, ...] = ()
    by_name: Mapping[str, Inner] = field(default_factory=dict)
    share: float | None = None
    rest: dict[str, Any] | None = None


def test_a_value_takes_its_shape_and_newer_fields_are_passed_over() -> None:
    wire = {"kind": "a", "parts": [{"name": "x", "new": 1}, ["y", 2]], "by_name": {"z": {"name": "z"}}, "share": 1}
    assert shaped(Outer, wire) == Outer("a", (Inner("x"), Inner("y", 2)), {"z": Inner("z")}, 1.0)
    assert shaped(Outer, {"kind": "b", "share": None, "rest": {"x": [1]}}) == Outer("b", rest={"x": [1]})


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        (None, "it"), ([], "it"), ({}, "kind"), ({"kind": "c"}, "kind"), ({"kind": ["a"]}, "kind"),
        ({"kind": "a", "parts": {}}, "parts"), ({"kind": "a", "parts": [1]}, "parts[0]"),
        ({"kind": "a", "parts": [{"name": "x", "count": True}]}, "parts[0].count"),
        ({"kind": "a", "parts": [{"name": "x", "count": 1.5}]}, "parts[0].count"),
        ({"kind": "a", "by_name": {"z": {"name": 3}}}, "by_name.z.name"), ({"kind": "a", "share": "1"}, "share"),
        ({"kind": "a", "rest": []}, "rest"),
    ],
)  # fmt: skip
def test_what_has_another_shape_is_malformed_at_its_path(wire: Any, path: str) -> None:
    with pytest.raises(Malformed, match=path.replace("[", r"\[")):
        shaped(Outer, wire)


@dataclass(frozen=True, kw_only=True)
class ByName:
    name: str
    count: int = 0


def test_a_shape_with_keyword_only_fields_is_no_list() -> None:
    assert shaped(ByName, {"name": "x"}) == ByName(name="x")
    with pytest.raises(Malformed):
        shaped(ByName, ["x", 1])


def test_a_file_is_read_in_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"name": "x"}')
    assert read_json(path, Inner) == Inner("x")
    with pytest.raises(OSError):
        read_json(tmp_path, Inner)
