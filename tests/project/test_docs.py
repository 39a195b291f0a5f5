"""The pages for contributors name only what exists: every path, and every function or class in a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import ROOT

PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"[\w./-]*(/[\w.-]+|\w\.(py|md|toml))(::\w+)?")


def names(page: str) -> Iterator[str]:
    """What the page writes as code and looks like a path, fenced blocks left out."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    yield from (name for name in _CODE.findall(text) if _PATH.fullmatch(name))


def exists(name: str) -> bool:
    """Whether the path is there, from the root or below the package, and the file defines what follows `::`."""
    path, _, wanted = name.partition("::")
    places = [place for place in (ROOT / path, ROOT / "deployer" / path) if place.exists()]
    return any(not wanted or wanted in defined(place) for place in places)


def defined(path: Path) -> set[str]:
    """The functions, classes and constants of the module's own level."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for one in targets if isinstance(one, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_what_exists(page: str) -> None:
    assert [name for name in names(page) if not exists(name)] == []


def test_what_does_not_exist_is_found() -> None:
    assert exists("deployer/cli") and exists("core/errors.py::Problem") and exists("cli/entry.py::COMMANDS")
    assert not any(map(exists, ("deployer/nothing", "core/errors.py::Nothing", "core/nothing.py::Problem")))


def test_the_walk_of_an_up_has_ten_steps_that_are_read() -> None:
    steps = [line for line in (ROOT / PAGES[0]).read_text(encoding="utf-8").splitlines() if re.match(r"\d+\. `", line)]
    assert len([name for name in names(PAGES[0]) if "::" in name]) >= 40
    assert len(steps) >= 10


def test_the_drawing_has_every_package() -> None:
    text = (ROOT / PAGES[0]).read_text(encoding="utf-8")
    drawing = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert drawing is not None
    packages = {path.parent.name for path in (ROOT / "deployer").glob("*/__init__.py")}
    assert packages - set(re.findall(r"\w+", drawing[1])) == set()


def test_a_command_of_the_docs_that_breaks_a_file_changes_it() -> None:
    """`sed -i 's/…/…/' FILE`: the pattern is in the file, or whoever follows the page sees nothing happen."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [
        one for page in pages for one in re.findall(r"sed -i 's/(.+?)/(.+?)/' (\S+)", page.read_text(encoding="utf-8"))
    ]
    assert found
    for pattern, replacement, file in found:
        before = (ROOT / file).read_text(encoding="utf-8")
        assert re.sub(pattern, lambda _, new=replacement: new, before, flags=re.MULTILINE) != before, (pattern, file)


@pytest.mark.parametrize(
    "path",
    [".pre-commit-config.yaml", *(str(one.relative_to(ROOT)) for one in sorted((ROOT / ".github").rglob("*.yml")))],
)
def test_what_a_forge_reads_is_yaml_and_has_no_empty_field(path: str) -> None:
    """GitHub shows no form that it cannot read, and says nothing; the strictest reader is asked."""
    document = yaml.load((ROOT / path).read_bytes(), Loader=yaml.SafeLoader)
    assert document and all(value is not None for key, value in document.items() if key is not True)  # `on` is true
    for field in document.get("body", ()):
        assert field["type"] in ("textarea", "input", "markdown", "dropdown") and field["attributes"]["label"]
