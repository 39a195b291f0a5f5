"""What was measured, kept in files: a long table may be made in turns, and what is measured again replaces itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.topologies.journey import Journey, points_of
from bench.topologies.together import Together

_TOGETHER = "all-at-once.json"


def keep_journey(folder: Path, spec: Path, journey: Journey) -> None:
    """The folder has the journey of the spec, instead of an earlier one."""
    _write(folder / _file_of(spec), asdict(journey))


def keep_together(folder: Path, result: Together) -> None:
    """The folder has what ran at once."""
    _write(folder / _TOGETHER, asdict(result))


def kept_journeys(folder: Path, root: Path, specs: Sequence[Path]) -> list[Journey]:
    """The journeys of those specs that have one, with the points that the checklists of `root` have now."""
    found = []
    for spec in specs:
        path = folder / _file_of(spec)
        if path.is_file():
            fields: dict[str, Any] = json.loads(path.read_text())
            fields |= {"points": points_of(root / spec), "problems": tuple(fields["problems"])}
            found.append(Journey(**fields))
    return found


def kept_together(folder: Path) -> Together | None:
    """What ran at once, as far as that was tried."""
    path = folder / _TOGETHER
    if not path.is_file():
        return None
    fields: dict[str, Any] = json.loads(path.read_text())
    return Together(**fields | {"refused": [(name, words) for name, words in fields["refused"]]})


def _file_of(spec: Path) -> str:
    return "-".join(spec.with_suffix(".json").parts)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))
