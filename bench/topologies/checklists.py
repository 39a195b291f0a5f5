"""The checklists beside the topologies' specs: each point of a document, where it is met, and what proves it.

The format is described in topologies/README.md.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPOLOGIES = ROOT / "topologies"
SUFFIX = ".checklist.md"

_HEAD = ("point", "met by", "proven by")
_TEST = re.compile(r"`([^`:]+)::([^`]+)`")
_DEVIATION = re.compile(r"deviation \((ruling \d+|issue \d+|rulings, [^)]+)\): \S.{10,}", re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")


class Malformed(ValueError):
    """A checklist that cannot be read; the message names the file and its line."""


@dataclass(frozen=True, slots=True)
class TestName:
    """A test as a checklist names it."""

    file: str
    name: str


@dataclass(frozen=True, slots=True)
class Point:
    """One row of a checklist."""

    section: str
    text: str
    met_by: str
    tests: tuple[TestName, ...]
    deviation: str
    where: str


def checklist_of(spec: Path) -> Path:
    """The checklist that belongs to a spec."""
    return spec.with_name(spec.stem + SUFFIX)


def read_checklist(path: Path) -> tuple[Point, ...]:
    """Every point of the checklist; Malformed for a row with an empty cell, or without a proof or a deviation."""
    points: list[Point] = []
    section, within = "", False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.name}:{number}"
        if line.startswith("#"):
            section, within = line.lstrip("# "), False
        elif not line.startswith("|"):
            within = False
        elif not within:
            if tuple(_cells(line)) != _HEAD:
                raise Malformed(f"{where}: a table's head is | {' | '.join(_HEAD)} |")
            within = True
        elif not set(line) <= set("|-: "):
            points.append(_point(section, line, where))
    return tuple(points)


def unresolved(point: Point) -> Iterator[str]:
    """What the point names and is not there."""
    for test in point.tests:
        file = ROOT / test.file
        if not file.is_file():
            yield f"{point.where}: no file {test.file}"
        elif test.name not in _tests_in(file):
            yield f"{point.where}: no test `{test.name}` in {test.file}"


def _point(section: str, line: str, where: str) -> Point:
    cells = _cells(line)
    if len(cells) != len(_HEAD) or not all(cells):
        raise Malformed(f"{where}: {len(_HEAD)} cells, none of them empty")
    text, met_by, proof = cells
    tests = tuple(TestName(*found) for found in _TEST.findall(proof))
    deviation = _DEVIATION.search(met_by)
    if not tests and not deviation:
        raise Malformed(f"{where}: `{text}` names no test and no deviation with its ruling")
    if not tests and proof != "-":
        raise Malformed(f"{where}: `{text}`: a deviation that nothing proves has `-` in the last cell")
    return Point(section, text, met_by, tests, deviation[0] if deviation else "", where)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _CELL.split(line.strip())[1:-1]]


@cache
def _tests_in(file: Path) -> frozenset[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return frozenset(re.findall(r'^\s*test\("([^"]+)"', text, re.MULTILINE))
    return frozenset(_functions(ast.parse(text), ""))


def _functions(tree: ast.AST, prefix: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}::")
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield prefix + node.name
