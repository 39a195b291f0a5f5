"""Rules on the values of a release: those that its chart does not use."""

from __future__ import annotations

import copy
import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from deployer.config.load import LoadedSpec
from deployer.core.ports import Object, ObjectRef, ref_of
from deployer.core.values import dotted
from deployer.helm.storage import changed_paths
from deployer.preflight.rules.model import Place, Subject, Violation, rule

Path = tuple[str, ...]
Render = Callable[[Mapping[str, Any]], Sequence[Object] | None]


@rule("VALUE_WITHOUT_EFFECT", "advice", "Helm docs, Values Files",
      hint="look for the name in the chart's values.yaml")  # fmt: skip
def without_effect(subject: Subject) -> Iterator[Violation]:
    """The chart of a release knows its values, or renders otherwise without them."""
    for one in subject.releases:
        for path, near in one.without_effect:
            title = f"release `{one.release.name}`: the chart does not use the value `{dotted(path)}`"
            hints = (f"did you mean `{near}`?",) if near else ()
            place = Place(one.release.name, spec=_location(subject.loaded, one.release.name, path))
            yield Violation(title, place, "it is not in the chart's values, and changes nothing that renders", hints)


def _location(loaded: LoadedSpec, release: str, path: Path) -> tuple[str, ...]:
    there = ("releases", release, "values", *path)
    return there if there in loaded.origins else ("releases", release, "valuesFiles")


def unknown(values: Mapping[str, Any], defaults: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, str]]:
    """The paths of values that the chart's own do not have, with the nearest name; anything may be in an empty map."""
    for key, value in values.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, 1)
            yield (*at, key), dotted((*at, close[0])) if close else ""
        elif isinstance(value, Mapping) and isinstance(defaults[key], Mapping) and defaults[key]:
            yield from unknown(value, defaults[key], (*at, key))


def idle(values: Mapping[str, Any], paths: Sequence[Path], render: Render, is_same: Callable[[Any], bool]) -> set[Path]:
    """Those of the paths without which, and with other values of which, the chart renders the same."""
    if not paths:
        return set()
    trials = (render(_changed(values, paths, remove=remove)) for remove in (True, False))
    if all(trial is not None and is_same(trial) for trial in trials):
        return {*paths}
    half = len(paths) // 2
    return idle(values, paths[:half], render, is_same) | idle(values, paths[half:], render, is_same) if half else set()


def alike(first: Sequence[Object], second: Sequence[Object], random: Collection[tuple[ObjectRef, str]]) -> bool:
    """Whether two renders differ only where the chart renders otherwise each time, names of objects included."""
    ours, others = {ref_of(one): one for one in first}, {ref_of(one): one for one in second}
    if Counter((ref.kind, ref.namespace) for ref in ours) != Counter((ref.kind, ref.namespace) for ref in others):
        return False
    if any((ref, "kind") not in random for ref in ours.keys() - others.keys()):  # there only under another name
        return False
    both = (ref for ref in ours if ref in others)
    return all((ref, path) in random for ref in both for path in changed_paths(ours[ref], others[ref]))


def _changed(values: Mapping[str, Any], paths: Sequence[Path], *, remove: bool) -> dict[str, Any]:
    changed = copy.deepcopy(dict(values))
    for *above, key in paths:
        place = changed
        for name in above:
            place = place[name]
        if remove:
            del place[key]
        else:
            place[key] = _other(place[key])
    return changed


def _other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, Mapping):
        return {key: _other(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_other(one) for one in value]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value or ''}x"
