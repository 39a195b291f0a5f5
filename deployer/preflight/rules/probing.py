"""Values that a spec maps into a chart: which of them no template uses, found by rendering with other values."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployer.config.spec import Release
from deployer.core.ports import Object
from deployer.core.values import set_at, value_at
from deployer.core.yaml import Location
from deployer.plan import ReleasePlan
from deployer.preflight.rules.model import texts_of


@dataclass(frozen=True, slots=True)
class Mapped:
    """One value that the spec hands over: where the spec says so, its path, and another value to try."""

    location: Location
    path: str
    value: Any
    other: Any

    @property
    def is_image(self) -> bool:
        """Whether it names an image."""
        return self.location[2] == "images"


def mapped_values(name: str, spec: Release, plan: ReleasePlan) -> tuple[Mapped, ...]:
    """Every value that the spec maps into the release, those of parts that are switched off left out."""
    found: list[Mapped] = []
    sides = (("images", spec.images, plan.images), ("secrets", spec.secrets, plan.secrets))
    for kind, mappings, on in sides:
        for source in on:
            for path, template in mappings[source].items():
                mark = f"{len(found) + 1:04d}"
                value = value_at(plan.values, path)
                other = _other(template, value, mark)
                if other != value:
                    found.append(Mapped(("releases", name, kind, source, path), path, value, other))
    return tuple(found)


def verbatim(value: Any, objects: Sequence[Object]) -> bool:
    """Whether the objects contain the text as it is."""
    return isinstance(value, str) and bool(value) and any(value in text for text in texts_of(list(objects)))


def with_others(values: Mapping[str, Any], tried: Sequence[Mapped]) -> dict[str, Any]:
    """The values with each of these replaced by its other one."""
    changed: dict[str, Any] = copy.deepcopy(dict(values))
    for one in tried:
        set_at(changed, one.path, one.other)
    return changed


def without_tags(plan: ReleasePlan, spec: Release, refs: Mapping[str, str]) -> dict[str, Any]:
    """The release's values with the images' tags taken out: what is left decides the shape of what it renders."""
    values = copy.deepcopy(dict(plan.values))
    for image in plan.images:
        for path in spec.images[image]:
            value = value_at(values, path)
            if isinstance(value, str):
                one = Mapped((), path, value, value.replace(refs[image], "TAG"))
                values = with_others(values, (one,))
    return values


def _other(template: str, value: Any, mark: str) -> Any:
    if template == "{checksums}":
        return dict.fromkeys(value, f"{mark}00000000") if isinstance(value, Mapping) else value
    tag = f"0.0.0-{mark}00000000"
    return template.format_map(
        {"registry": "", "repository": f"probe-{mark}", "name": f"probe-{mark}", "tag": tag,
         "ref": f"probe-{mark}:{tag}", "checksum": f"{mark}00000000"}
    )  # fmt: skip
