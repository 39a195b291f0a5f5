"""Which Dockerfile makes which image of a chart: by their names first, by the ports they speak of second."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployer.init.model import FoundDockerfile, Slot
from deployer.sources.image_ref import parse_ref

_SAYS_NOTHING = frozenset({"app", "image", "images", "docker", "service", "svc", "api", "the", ""})


def best(slot: Slot, dockerfiles: Sequence[FoundDockerfile]) -> tuple[FoundDockerfile | None, bool]:
    """The Dockerfile that seems to make the image, and whether that is certain: by name, and no other is as good."""
    if not dockerfiles or not slot.values:
        return None, True
    scored = sorted(((score(slot, one), -index, one) for index, one in enumerate(dockerfiles)), reverse=True)
    first = scored[0]
    if first[0] <= 0:
        return None, False
    tie = len(scored) > 1 and scored[1][0] == first[0]
    return first[2], not tie and first[0] >= _BY_NAME


_BY_NAME = 10
_BY_WORD = 4
_BY_PORT = 3


def score(slot: Slot, dockerfile: FoundDockerfile) -> int:
    """How much speaks for the Dockerfile: its name in the image's name, in the values' paths, or in the workload's."""
    names = [parse_ref(slot.image).last, *(part for path in slot.values for part in path.split(".")[:-1])]
    names += [user.rpartition("/")[2] for user in slot.users]
    found = _BY_NAME if dockerfile.name in names else 0
    common = _words(dockerfile.name) & {word for name in names for word in _words(name)}
    found += _BY_WORD * len(common) if not found else 0
    return found + (_BY_PORT if set(slot.ports) & set(dockerfile.ports) else 0)


def repository(slot: Slot | None, dockerfile: FoundDockerfile, taken: Sequence[str]) -> str:
    """The name of the image that is built: the one the chart has for it, without its registry, if it is free."""
    wanted = parse_ref(slot.image).last if slot is not None else ""
    valid = re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", wanted)
    return wanted if valid and wanted not in taken else dockerfile.name


def version(slot: Slot | None, app_version: str) -> tuple[str, bool]:
    """X.Y.Z of the chart's appVersion or of the image's tag, and whether one of them said so."""
    tag = parse_ref(slot.image).tag if slot is not None else ""
    for text in (app_version, tag):
        if match := re.fullmatch(r"v?(\d+\.\d+\.\d+)", text):
            return match[1], True
    return "0.1.0", False


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower())) - _SAYS_NOTHING
