"""Differential: thousands of scalars, keys and small documents, read by Helm itself and by `core.yaml`."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.core.reading import Malformed
from deployer.core.yaml import parse_values

# What YAML 1.1, YAML 1.2 and Go read differently, beside what the generator finds by chance.
WORDS = """
y Y yes Yes YES yEs n N no No NO on On ON off Off OFF true True TRUE tRue false null Null NULL nULL ~
0 00 0440 08 09 0o17 0O17 0x1f 0X1F 0b101 0B11 -0b11 +0b11 -0x1F 1_000 _1 1_ 0x_1 0_8 1__0 0x 0b 0o 0o8
+1 -1 + . .5 5. -.5 +.5 1e3 1E3 1e+3 1e400 -1e400 1.0 1.10 1e1 .e1 ._1 1._5 0.1e-7 1,000 1.2.3 v1 ${X} a#b = =~ <<
.inf .Inf -.inf +.inf .nan .NaN 22:30 1:2:3 190:20:30.15 2024-04-01 2024-4-1 2001-12-14t21:59:43.10-05:00
9223372036854775807 9223372036854775808 18446744073709551615 18446744073709551616 -9223372036854775808
-9223372036854775809 +9223372036854775808
"""
ATOMS = "0123456789abcdefxXoOeE+-._:~yYnNtTruefalsonINF= "
TAGS = ("!!int", "!!float", "!!bool", "!!str", "!!null", "!!binary", "!!timestamp", "!own")
DOCUMENTS = (
    "x: {a: 1, <<: {a: 2, b: 3}}", "x: &a {p: 1}\ny: *a",
    "x:\n  - &b {a: 1}\n  - {<<: *b, a: 2}\n  - {a: 2, <<: *b}\n  - {<<: [*b, {a: 5, c: 3}]}",
    "x: 1\nx: 2", "x: {a: 1, a: 2}", "x: &r [*r]", "x: {? [a]: b}", "x: {~: 1}", "x:\n\ta: 1", "x: 'a\n\n  b'",
    "x: |\n  a\n  b\n", "x: >-\n  a\n  b\n", 'x: "\\u00e9\\x41\\n"', "---\nx: 1\n---\nx: 2",
    "x: {1.5: a, 0x10: c, yes: d}", "x: {<<: 1}", "x: !!set {a, b}", "x: !!omap [a: 1]", "x: [a, b: c]",
    "x: {a, b}", "x: {a:1}",
    "x: *nope",
    'x: "\ttab"', "x: a\tb", "x: @a", "x: `a", "x: %a", "x: {'<<': {a: 1}}", "x: {!!merge <<: {a: 1}}",
    "%YAML 1.2\n---\nx: no", "x: \u00e9", "x: [1, 2,]", "x: {a: 1,}", "x: - a", "x: 'it''s'",
    "x:   # c\n", "x: []", "x: {}", "", "# c", "x: !!binary aGk=", "x: !!binary 'a!'",
    "x: [.1, 1., +1.5e3, 12e03, 1e-2, 123456789012345678901234567890]",
)  # fmt: skip


def scalars(count: int) -> list[str]:
    """Plain scalars that may stand behind `key: `, the same at each run."""
    chance = random.Random(20260701)
    found = dict.fromkeys(WORDS.split())
    while len(found) < count:
        text = "".join(chance.choice(ATOMS) for _ in range(chance.randint(1, 6))).strip()
        plain = text and text not in "-?:" and not text.startswith(("- ", "? ", ":")) and not text.endswith(":")
        if plain and ": " not in text and " #" not in text:
            found[text] = None
    return list(found)


class Comparison:
    """Reads one text both ways; a text that is refused is halved until the line is found that one side alone takes."""

    def __init__(self, helm: str, chart: Path) -> None:
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: differ\nversion: 0.1.0\n")
        (chart / "templates" / "all.yaml").write_text("v: {{ .Values | toJson }}\n")
        self.command = [helm, "template", "differ", str(chart), "-f", str(chart / "read.yaml")]
        self.values = chart / "read.yaml"
        self.compared = 0

    def helm(self, text: str) -> Any:
        self.values.write_text(text)
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=60, check=False)
        return json.loads(done.stdout.split("\nv: ", 1)[1]) if done.returncode == 0 else "refused"

    def ours(self, text: str) -> Any:
        try:
            read = parse_values(text)
        except Malformed:
            return "refused"
        return {key: value for key, value in (read or {}).items() if value is not None}

    def differ(self, lines: Sequence[str], head: str = "x:\n") -> list[str]:
        text = head + "".join(lines)
        theirs, own = self.helm(text), self.ours(text)
        if as_json(theirs) == as_json(own) and theirs != "refused":
            self.compared += len(lines)
            return []
        if len(lines) == 1:
            self.compared += 1
            return [] if theirs == own == "refused" else [f"{text!r}: helm {theirs}, we {own}"]
        middle = len(lines) // 2
        return self.differ(lines[:middle], head) + self.differ(lines[middle:], head)


def as_json(value: Any) -> Any:
    """The value without nulls in maps, which Helm leaves out, and with all numbers as floats."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.fixture(scope="module")
def comparison(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return Comparison(helm, tmp_path_factory.mktemp("differ") / "chart")


def test_scalars_are_read_as_helm_reads_them(comparison: Comparison) -> None:
    before = comparison.compared
    assert comparison.differ([f"  k{n}: {text}\n" for n, text in enumerate(scalars(3000))]) == []
    assert comparison.compared - before == 3000


@pytest.mark.parametrize("tag", TAGS)
def test_tagged_scalars_are_read_as_helm_reads_them(comparison: Comparison, tag: str) -> None:
    # Without those that decode to control characters, which Helm's own output cannot hold.
    taken = ["aGk=", "a!", "aGk", "aG k="] if tag == "!!binary" else scalars(len(WORDS.split()))[::4]
    assert comparison.differ([f"  k{n}: {tag} {text}\n" for n, text in enumerate(taken)]) == []


def test_keys_are_read_as_helm_reads_them(comparison: Comparison) -> None:
    # Two keys that become one string are in no order in Go; so numbers written in two ways are left out.
    taken = [text for text in scalars(1000) if ":" not in text and text.strip("+-_.0123456789eExXoObB")]
    assert comparison.differ([f"  {text}: v{n}\n" for n, text in enumerate(taken)]) == []


def test_documents_are_read_as_helm_reads_them(comparison: Comparison) -> None:
    assert [found for text in DOCUMENTS for found in comparison.differ([text], head="")] == []
