"""A case: a small repository that somebody could have, and what is expected of it by hand and by `up`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
HERE = CHECKOUT / "tests" / "parity"
CASES = HERE / "cases"
BASE = HERE / "base"
GIVEN = HERE / "given.yaml"
SPEC = "todo-deploy.yaml"
EXPECTATION = "parity.yaml"
# The names of all cases' applications, namespaces and images hold it.
_TOKEN = re.compile(r"\bcase-\d+")


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file: `find` becomes `put`; without `find`, `put` is appended."""

    file: str
    put: str
    find: str = ""

    def apply(self, root: Path) -> None:
        """The file is changed; ValueError where it lacks what is to be found."""
        path = root / self.file
        before = path.read_text() if path.exists() else ""
        if self.find and self.find not in before:
            raise ValueError(f"{self.file} has no {self.find!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(before.replace(self.find, self.put) if self.find else before + self.put)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of a step: `works`, `refused` (before any change), `fails`; empty: the same as by hand."""

    hand: str = ""
    up: str = ""
    code: str = ""
    """The code of an error of ours, where ours is not to work."""
    advice: str = ""
    """The code of a finding that `validate` shows."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    folder: Path
    why: str = ""
    based: bool = False
    """Whether its files lie over those of tests/parity/base."""
    objects: str = ""
    """Manifests that are in the cluster before, made by kubectl."""
    edits: tuple[Edit, ...] = ()
    first: Expected = Expected()
    change: tuple[Edit, ...] = ()
    """Default: a label more in the first image."""
    then: Expected = Expected()
    """What is expected of the change."""
    arguments: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further words for a command of ours: {up: [--adopt]}."""
    settle: float = 3.0
    """Seconds after which a fault has shown itself, by hand."""
    tamper: tuple[Sequence[str], ...] = ()
    """Words for kubectl, between `status` and the change: the next `up` has to mend what they do."""
    random: bool = False
    """Whether its chart renders another text each time."""
    skip: str = ""
    """Why it is not run."""

    @property
    def number(self) -> str:
        """What its application is named by, the variant included."""
        number, _, variant = self.name.partition("/")
        return number.split("-")[0] + variant

    def token(self, prefix: str) -> str:
        """What is in the names of its application, namespaces and images, and in no other's."""
        return f"{prefix}-{self.number}"

    def stage(self, target: Path, prefix: str) -> None:
        """The folder has the case's files, with names of their own instead of `case-NN`."""
        for source in (BASE, self.folder) if self.based else (self.folder,):
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        (target / EXPECTATION).unlink(missing_ok=True)
        for path in target.rglob("*"):
            if path.is_file() and not path.is_symlink():
                self._rename(path, prefix)
        for edit in self.edits:
            replace(edit, put=self.renamed(edit.put, prefix), find=self.renamed(edit.find, prefix)).apply(target)

    def renamed(self, text: str, prefix: str) -> str:
        """The text with the case's own names for `case-NN`."""
        return _TOKEN.sub(self.token(prefix), text)

    def _rename(self, path: Path, prefix: str) -> None:
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            return
        if (renamed := self.renamed(text, prefix)) != text:
            path.write_bytes(renamed.encode())


def all_cases(elsewhere: Path | None) -> list[Case]:
    """The cases of the folder, where it is there, and those of the repository; each variant is one."""
    given: Mapping[str, Any] = yaml.safe_load(GIVEN.read_text()) or {}
    found = list[Case]()
    if elsewhere is not None and elsewhere.is_dir():
        for folder in _folders(elsewhere):
            found += _read(folder, given.get(folder.name, {}), based=False)
    if CASES.is_dir():
        for folder in _folders(CASES):
            found += _read(folder, yaml.safe_load((folder / EXPECTATION).read_text()), based=True)
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and re.match(r"\d+-", path.name))


def _read(folder: Path, expectation: Mapping[str, Any], *, based: bool) -> Iterator[Case]:
    rest = dict(expectation)
    variants = rest.pop("variants", {})
    alone = rest.pop("alone", True)
    if alone:
        yield _case(folder.name, folder, rest, based)
    for name, more in variants.items():
        # A variant's edits come after those of the case.
        edits = [*rest.get("edits", []), *more.get("edits", [])]
        yield _case(f"{folder.name}/{name}", folder, {**rest, **more, "edits": edits}, based)


def _case(name: str, folder: Path, said: Mapping[str, Any], based: bool) -> Case:
    rest = dict(said)
    edits = tuple(Edit(**one) for one in rest.pop("edits", []))
    change = tuple(Edit(**one) for one in rest.pop("change", []))
    then = Expected(**rest.pop("then", {}))
    first = Expected(**{key: rest.pop(key) for key in ("hand", "up", "code", "advice") if key in rest})
    based = rest.pop("based", based)
    rest["tamper"] = tuple(rest.get("tamper", ()))
    return Case(name, folder, edits=edits, change=change, first=first, then=then, based=based, **rest)
