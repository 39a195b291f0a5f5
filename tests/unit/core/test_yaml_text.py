"""Values are written in one way, and read back as they are, by YAML 1.1 and 1.2."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from ruamel.yaml import YAML

from deployer.core.yaml import block_lines, parse_values, text_of


def written(value: Any) -> str:
    return "".join(f"{line}\n" for _, line in block_lines(value))


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ({"a": {"b": [1, "x"]}}, ["a:", "  b:", "    - 1", "    - x"]),
        ({"a": "yes", "b": "1.5", "c": ""}, ['a: "yes"', 'b: "1.5"', 'c: ""']),
        ({"a": "one\ntwo", "b": "one\n\ntwo\n"}, ["a: |-", "  one", "  two", "b: |", "  one", "", "  two"]),
        ({"a": "b\n\n", "c": " d\ne", "f": "\n"}, [r'a: "b\n\n"', r'c: " d\ne"', r'f: "\n"']),
        ({"a": ["x\ny", ["z"]]}, ["a:", "  - |-", "    x", "    y", "  - - z"]),
        ({"a": [], "b": {}, "c": None}, ["a: []", "b: {}", "c: null"]),
        ([{"a": 1, "b": 2}], ["- a: 1", "  b: 2"]),
        (
            {"a": "b: c", "d": "e:", "f": "•••", "g": "••• (changed)"},
            ['a: "b: c"', 'd: "e:"', "f: •••", "g: ••• (changed)"],
        ),
    ],
)
def test_yaml_is_written_in_one_way(value: Any, lines: list[str]) -> None:
    assert written(value).splitlines() == lines


def test_what_may_be_on_one_line_is() -> None:
    value = {"a": {"b": [1, {"c": "d"}]}, "e": {"f": {"g": 1}}}
    found = list(block_lines(value, lambda at, line: len(at) > 1 and len(line) < 16))
    assert found == [
        (("a",), "a:"), (("a", "b"), "  b:"), (("a", "b", 0), "    - 1"), (("a", "b", 1), "    - {c: d}"),
        (("e",), "e:"), (("e", "f"), "  f: {g: 1}"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    ["yes", "1.0", "1e3", "{name}", "a: b", "", "#x", "a #b", "null", "~", "2.4.0", "a.b/c:1", "-x", "ä", ".5", ".inf",
     ".env", "=", "0o7", "0x1", "a:", ":a", "@x", "...", "---", "*a", "&a", "x\ty", "a\u2028b", "e5", "_1", "\x7f"],
)  # fmt: skip
def test_scalars_are_read_back_as_they_are(value: str) -> None:
    for text in (f"x: {text_of(value)}", f"x: [{text_of(value)}, {{{text_of('k')}: {text_of(value)}}}]"):
        assert YAML(typ="safe", pure=True).load(text) == parse_values(text)
    assert parse_values(f"x: {text_of(value)}") == {"x": value}


WORDS = ["yes", "null", "0440", "22:30", "é", "\x7f", "\x85", "\u2028", "\ufeff", "😀"]
PIECES = [*"ab0 1:-#,[]{}&*!|>'%@`=~?_.\n\t\\/\"", *WORDS]


def some_value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8 if depth < 3 else 5)
    if kind < 3:
        return "".join(random.choices(PIECES, k=random.randrange(6)))
    if kind < 5:
        return random.choice([None, True, False, 0, -7, 2**40, 1.5])
    if kind == 5:
        return [some_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {str(some_value(random, 3)): some_value(random, depth + 1) for _ in range(random.randrange(4))}


def test_every_document_is_read_back_as_it_is() -> None:
    random = Random(12)
    for _ in range(3000):
        value = {"x": some_value(random)}
        assert parse_values(written(value)) == value
        assert parse_values(text_of(value)) == value
