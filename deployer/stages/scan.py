"""A part of the images stage: every image was scanned for vulnerabilities, or it was said that it was not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Protocol

from deployer.core.errors import DeployError, ExitCode, Problem
from deployer.core.events import Item, ItemState, Warned
from deployer.core.files import write_private
from deployer.core.ports import ImagePort
from deployer.core.reading import Malformed, read_json
from deployer.core.steps import Clock, Steps
from deployer.images.scanner import Scan

STAGE = "images"
# Of a deploy no more than this is spent on a database that does not come; less where an earlier one has spent it.
_DATABASE_SECONDS, _WITHOUT_BUILD_SECONDS = 120.0, 10.0
# The databases of vulnerabilities change daily.
_FRESH_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image to scan; `fresh` when this run built it."""

    name: str
    ref: str
    fresh: bool


class ImageScanner(Protocol):
    """A scanner that looks into the daemon of the images."""

    @property
    def name(self) -> str:
        """The program."""

    @property
    def renewal(self) -> Sequence[str]:
        """The command that downloads its database of vulnerabilities."""

    def unready(self, seconds: float) -> str:
        """Why it cannot scan, known after so many seconds for its database; empty where it can."""

    def scan(self, ref: str) -> Scan:
        """What it finds in the image; not scanned, with the reason, where it fails."""


def scan_images(
    images: Sequence[Wanted],
    daemon: ImagePort,
    scanner: ImageScanner | None,
    mode: Literal["report", "block"],
    memory: Path,
    clock: Clock,
) -> Steps[tuple[Scan, ...]]:
    """Every image has the verdict of its scan; with `block`, none has a critical vulnerability. `scanner` may be None.

    The scan of an image that has not changed is taken from `memory` for a day, unless it would block and can be made
    anew. The scanner is asked once whether it can scan: what keeps it from it (a database that cannot be downloaded) is
    waited for once and not for each image.
    """
    known, shown, scans, said = _recall(memory, clock), [], {}, set[str]()
    unready = None if scanner is not None else "neither trivy nor grype is on PATH"
    for image in images:
        facts = daemon.image(image.ref)
        key = facts.id if facts is not None else image.ref
        found = known.get(key)
        if found is None or (mode == "block" and found.critical and scanner is not None):
            if scanner is not None:
                yield Item(STAGE, image.name, ItemState.RUNNING, f"{scanner.name} looks for vulnerabilities")
                limit = _DATABASE_SECONDS if any(one.fresh for one in images) else _WITHOUT_BUILD_SECONDS
                unready = scanner.unready(limit) if unready is None else unready
            new = scanner.scan(image.ref) if scanner is not None and not unready else Scan(why=unready or "")
            found = new if new.scanner or found is None else found
            words = found.words if found.scanner or found.why not in said else "not scanned, for the same reason"
            said.add(found.why)
            yield Item(STAGE, image.name, ItemState.DONE if found.scanner else ItemState.UNCHANGED, words)
        if found.scanner:
            scans[key] = found
        shown.append((image, found))
    _remember(memory, known, scans, clock)
    without = sorted({found.why for image, found in shown if not found.scanner and image.fresh})
    if without:
        way = "install trivy or grype" if scanner is None else f"`{' '.join(scanner.renewal)}` downloads its database"
        yield Warned(Problem("NOT_SCANNED", "images were not scanned for vulnerabilities", "\n".join(without),
                             hints=(f"{way}; `rules.scan: off` asks for no scan",)))  # fmt: skip
    bad = [(image, found) for image, found in shown if found.critical]
    if bad and mode == "block":
        raise DeployError([_vulnerable(image, found) for image, found in bad], ExitCode.BUILD)
    return tuple(found for _, found in shown)


def _vulnerable(image: Wanted, found: Scan) -> Problem:
    many = "a critical vulnerability" if len(found.critical) == 1 else f"{len(found.critical)} critical vulnerabilities"
    title = f"image `{image.ref}` has {many} ({found.scanner})"
    hints = ("build it on a newer base image, or update the packages; `rules.scan: report` only reports them",)
    return Problem("IMAGE_VULNERABLE", title, "\n".join(found.critical[:20]), hints=hints)


@dataclass(frozen=True, slots=True)
class _Memory:
    """The file: when its day began, and the scans by image."""

    at: float
    scans: Mapping[str, Scan]


def _recall(path: Path, clock: Clock) -> dict[str, Scan]:
    try:
        known = read_json(path, _Memory)
    except (OSError, Malformed):
        return {}
    return dict(known.scans) if known.at + _FRESH_SECONDS >= clock.now() else {}


def _remember(path: Path, known: Mapping[str, Scan], scans: Mapping[str, Scan], clock: Clock) -> None:
    """The scans of these images are remembered; the day begins anew only when all of them are new."""
    if all(known.get(key) == one for key, one in scans.items()):
        return
    with suppress(OSError, Malformed):
        at = read_json(path, _Memory).at if known else clock.now()
        document = {"at": at, "scans": {key: asdict(one) for key, one in {**known, **scans}.items()}}
        write_private(path, json.dumps(document))
