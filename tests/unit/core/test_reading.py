from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from deployer.core.reading import (
    DEEPEST,
    Malformed,
    decode,
    parse_json,
    parse_manifest,
    parse_texts,
    parse_yaml,
    read_json,
    shaped,
)

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
READERS: tuple[Callable[[str], Any], ...] = (parse_yaml, parse_texts, parse_manifest)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\n\tb: 2\n", 2),
        ("a: [\n", 1),
        ("a: 1\nb: \x07\n", 2),
        ("a: 1\nb: *nothing\n", 2),
        ("a: 1\n? [b]\n: 2\n", 2),
        ("a: 1\nb: {<<: [1]}\n", 2),
        ("\ud800: 1", 0),
        (BOMB, None),
        ("a: &a [*a]", 1),
        ("[" * 3000 + "]" * 3000, None),
        ("- " * 3000 + "a", None),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), 1),
    ],
    ids=range(12),
)
def test_what_is_no_yaml_has_its_line(read: Callable[[str], Any], text: str, line: int | None) -> None:
    with pytest.raises(Malformed) as caught:
        read(text)
    assert line is None or caught.value.line == line


@pytest.mark.parametrize("read", [parse_yaml, parse_manifest])
@pytest.mark.parametrize("value", ["!!int x", "!!float y", "!!bool 3", ".inf", "-.INF", ".nan", "1e999", "9" * 5000])
def test_a_scalar_that_is_not_what_its_tag_says_has_its_line(read: Callable[[str], Any], value: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(f"a: 1\nb: {value}\n")
    assert caught.value.line == 2
    assert value not in str(caught.value)


SCALARS = "{a: yes, b: 010, c: 2026-02-30, d: =, e: 1:30, f: 0o17, g: 0x10, h: 1e3, i: ~, j: !own x, k: 1_000, l: 1.10}"


def test_a_spec_is_read_by_yaml_1_2() -> None:
    assert parse_yaml(SCALARS).value == {
        "a": "yes", "b": 10, "c": "2026-02-30", "d": "=", "e": "1:30", "f": 15, "g": 16, "h": 1000.0, "i": None,
        "j": "x", "k": 1000, "l": 1.1,
    }  # fmt: skip


def test_charts_and_values_are_read_by_yaml_1_1_without_dates() -> None:
    (found,) = parse_manifest(SCALARS)
    assert found == {
        "a": True, "b": 8, "c": "2026-02-30", "d": "=", "e": "1:30", "f": 15, "g": 16, "h": 1000.0, "i": None,
        "j": "x", "k": 1000, "l": 1.1,
    }  # fmt: skip
    assert parse_manifest("on: 1\n1: 2\n2026-01-01: 3\n") == [{"true": 1, "1": 2, "2026-01-01": 3}]


def test_texts_are_as_they_are_written() -> None:
    assert parse_texts("{a: 1.10, b: yes, c: ~, d: 010}").value == {"a": "1.10", "b": "yes", "c": "", "d": "010"}


def test_only_helm_takes_a_key_twice_and_several_documents() -> None:
    assert parse_manifest("a: 1\na: 2\n---\n- no map\n---\nb: 3\n---\n") == [{"a": 2}, {"b": 3}]
    for text, line in (("a: 1\na: 2\n", 2), ("a: 1\n---\na: 2\n", 3)):
        with pytest.raises(Malformed) as caught:
            parse_yaml(text)
        assert caught.value.line == line


def test_merge_keys_are_carried_out_and_lines_are_noted() -> None:
    found = parse_yaml("base: &b\n  x: 1\n  y: 2\nmore:\n  <<: *b\n  y: 3\nlist:\n  - a\n  - b\n")
    assert found.value["more"] == {"x": 1, "y": 3}
    assert (found.lines["more", "y"], found.lines["more", "x"], found.lines["list", 1]) == (6, 2, 9)


def test_an_empty_text_is_nothing() -> None:
    assert parse_yaml("").value is None
    assert parse_manifest("# nothing\n") == []


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


def test_a_file_is_read_in_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"name": "x"}')
    assert read_json(path, Inner) == Inner("x")
    with pytest.raises(OSError):
        read_json(tmp_path, Inner)
