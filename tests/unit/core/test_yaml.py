"""YAML as Helm reads it; tests/charts/test_yaml_like_helm.py compares it with Helm itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from deployer.core.reading import DEEPEST, Malformed
from deployer.core.yaml import parse_manifest, parse_texts, parse_values, parse_yaml, scalar

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
        ("a: &a\n  <<: *a\n", 1),
        ("b: 1\na: &a\n  c: {d: e}\n  <<: [*a, *a]\n", 3),
        ("[" * 3000 + "]" * 3000, None),
        ("- " * 3000 + "a", None),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), 1),
    ],
    ids=range(14),
)
def test_what_is_no_yaml_has_its_line(read: Callable[[str], Any], text: str, line: int | None) -> None:
    with pytest.raises(Malformed) as caught:
        read(text)
    assert line is None or caught.value.line == line


@pytest.mark.parametrize("read", [parse_yaml, parse_manifest])
@pytest.mark.parametrize(
    "value", ["!!int x", "!!float y", "!!bool 3", ".inf", "-.INF", ".nan", "!!binary a!", "!!null x"]
)
def test_a_scalar_that_is_not_what_its_tag_says_has_its_line(read: Callable[[str], Any], value: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(f"a: 1\nb: {value}\n")
    assert caught.value.line == 2
    assert value not in str(caught.value)


def test_texts_are_as_they_are_written() -> None:
    assert parse_texts("{a: 1.10, b: yes, c: ~, d: 010}").value == {"a": "1.10", "b": "yes", "c": "", "d": "010"}


def test_only_helm_takes_a_key_twice_and_several_documents() -> None:
    assert parse_manifest("a: 1\na: 2\n---\n- no map\n---\nb: 3\n---\n") == [{"a": 2}, {"b": 3}]
    for text, line in (("a: 1\na: 2\n", 2), ("a: 1\n---\na: 2\n", 3)):
        with pytest.raises(Malformed) as caught:
            parse_yaml(text)
        assert caught.value.line == line


def test_merge_keys_are_carried_out_and_lines_are_noted() -> None:
    found = parse_yaml("base: &b\n  x: 1\n  z: 2\nmore:\n  <<: *b\n  z: 3\nlist:\n  - a\n  - b\n")
    assert found.value["more"] == {"x": 1, "z": 3}
    assert (found.lines["more", "z"], found.lines["more", "x"], found.lines["list", 1]) == (6, 2, 9)


def test_an_empty_text_is_nothing() -> None:
    assert parse_yaml("").value is None
    assert parse_manifest("# nothing\n") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False), ("On", True), ("y", True), ("yEs", "yEs"), ("~", None), ("NULL", None), ("nULL", "nULL"),
        ("0440", 288), ("0o17", 15), ("0x1F", 31), ("-0b11", -3), ("08", 8.0), ("1_000", 1000), ("_1", "_1"),
        ("22:30", "22:30"), ("2024-04-01", "2024-04-01"), ("=", "="), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0),
        ("1e400", "1e400"), ("9223372036854775808", 2**63), ("18446744073709551616", 2.0**64), ("1.2.3", "1.2.3"),
        ("+.inf", math.inf),
    ],
)  # fmt: skip
def test_a_plain_scalar(text: str, value: object) -> None:
    read = scalar(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\na: 2", {"a": 2}),
        ("{1: a, 1.5: b, yes: c, 1e6: d}", {"1": "a", "1.5": "b", "true": "c", "1e+06": "d"}),
        ("x: &b {a: 1}\nv: {a: 2, <<: *b}\nw: {<<: *b, a: 2}", {"x": {"a": 1}, "v": {"a": 1}, "w": {"a": 2}}),
        ("{<<: [{a: 1}, {a: 2, b: 3}]}", {"a": 1, "b": 3}),
        ("!!str 12", "12"), ("!!float 3", 3.0), ("!!binary aGk=", "hi"), ("!made up", "up"), ("'no'", "no"),
        ("", None), ("x: 1\n---\nx: 2\n---\n# none", {"x": 2}),
    ],
)  # fmt: skip
def test_a_document(text: str, value: Any) -> None:
    assert parse_values(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "!!int 3.5",
        "x: .inf", "&r [*r]", "{~: 1}", "{[a]: b}", "{<<: 1}", "x:\n\ta: 1", "%YAML 1.2\n---\nx: no",
        "*none", "!!binary a!", "{9223372036854775808: a}", "[" * 400 + "]" * 400, "[" * 5000,
    ],
)  # fmt: skip
def test_what_helm_refuses_or_nobody_can_mean(text: str) -> None:
    with pytest.raises(Malformed):
        parse_values(text)


def test_lists_of_objects_are_unpacked_where_they_stand() -> None:
    text = """
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Service, metadata: {name: a}}
  - apiVersion: v1
    kind: ConfigMapList
    items: [{metadata: {name: b}}, 3]
---
{apiVersion: v1, kind: Pod, metadata: {name: c}}
---
{apiVersion: example.com/v1, kind: AllowList, spec: {items: [1]}}
"""
    found = [(one["kind"], (one.get("metadata") or {}).get("name")) for one in parse_manifest(text)]
    assert found == [("Service", "a"), ("ConfigMap", "b"), ("Pod", "c"), ("AllowList", None)]


def test_a_large_number_in_a_manifest_is_whole_as_the_server_gets_it() -> None:
    numbers = parse_manifest("{a: 1e+06, b: 1.5, c: 2.0, d: [1.048576e+06], e: -0.0, f: 1e21}")[0]
    assert json.dumps(numbers) == '{"a": 1000000, "b": 1.5, "c": 2, "d": [1048576], "e": 0, "f": 1e+21}'
