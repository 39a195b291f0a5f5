"""Which values of a chart make which image, and which Dockerfile makes it.

Every value that may be part of an image's name is marked, and the rendered pods show what came of the marks. So any
way of composing an image is understood: one reference, registry and repository and tag, or only some of them. The
Dockerfile is chosen by names first, by the ports second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployer.core.image_ref import DEFAULT_REGISTRY, parse_ref
from deployer.core.ports import Object
from deployer.core.values import set_at, value_at
from deployer.init.model import FoundDockerfile, Slot
from deployer.plan import ReleasePlan
from deployer.preflight.rules.model import Workload, is_test, workload_of

_NAMING = {"image", "repository", "repo", "registry", "tag"}
_NAMING_WITHIN = {"name", "version"}
_NEVER = {"pull", "policy", "secret", "secrets", "digest", "annotations", "labels"}
_MARK = re.compile(r"draft(\d{4})x")
# What Docker means by a name without a registry: the local image is found under it.
LOCAL_REGISTRY = DEFAULT_REGISTRY
_SAYS_NOTHING = frozenset({"app", "image", "images", "docker", "service", "svc", "api", "the", ""})
_BY_NAME = 10
_BY_WORD = 4
_BY_PORT = 3

Path = tuple[str, ...]


def candidates(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The values that may be part of an image's name."""
    return tuple(at for at, value in leaves(values) if _may_name(at, value))


def marked(values: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """The chart's values with a mark at each path, which is its number among them."""
    return nested({path: f"draft{number:04d}x" for number, path in enumerate(paths)})


def slots(
    objects: Sequence[Object], with_marks: Sequence[Object] | None, paths: Sequence[Path], values: Mapping[str, Any],
    plan: ReleasePlan,
) -> tuple[Slot, ...]:  # fmt: skip
    """The images of what is rendered; `with_marks` is the same with every path marked, None where that fails."""
    plain = {place: (image, work) for place, image, work in _images(objects, plan)}
    changed = {place: image for place, image, _ in _images(with_marks, plan)} if with_marks is not None else {}
    found: dict[tuple[str, ...], Slot] = {}
    for place, (image, work) in {**_only(with_marks, plan, plain), **plain}.items():
        templates = _templates(changed.get(place, ""), paths)
        fixed = {at: text for at, text in templates.items() if text == LOCAL_REGISTRY}
        mapped = {at: text for at, text in templates.items() if at not in fixed}
        default = image if not _MARK.search(image) else _default(image, paths, values)
        key = tuple(sorted(mapped)) or (default,)
        known = found.get(key)
        users = dict.fromkeys([*(known.users if known else ()), work.label])
        ports = dict.fromkeys([*(known.ports if known else ()), *_ports(work, place[3])])
        found[key] = Slot(default, mapped, tuple(users), tuple(ports), fixed)
    return tuple(found.values())


def dotted(path: Sequence[str]) -> str:
    """The path as a spec writes it."""
    return ".".join(key.replace(".", "\\.") for key in path)


def nested(texts: Mapping[Path, str]) -> dict[str, Any]:
    """Values in which each path has its text."""
    made: dict[str, Any] = {}
    for path, text in texts.items():
        set_at(made, dotted(path), text)
    return made


def leaves(values: Mapping[str, Any], at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The path of every value that is neither a map, a list nor a switch, and the value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*at, str(key)))
        elif not isinstance(value, list | bool):
            yield (*at, str(key)), value


def _may_name(at: Path, value: Any) -> bool:
    words, above = _words(at[-1]), _words(at[-2]) if len(at) > 1 else set()
    if words & _NEVER or at[0] == "global":
        return False
    if "registry" in words and not value:
        return False  # a registry that is not used is best left so
    return bool(words & _NAMING) or ("image" in above and bool(words & _NAMING_WITHIN))


def _words(key: str) -> set[str]:
    """`imageTag` and `image_tag` are two words; `targetPercentage` has no tag in it."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", key)}


def _templates(image: str, paths: Sequence[Path]) -> dict[str, str]:
    """Value path → the template of the part of the image's name that it makes."""
    ref = parse_ref(image)
    found = {}
    for match in _MARK.finditer(image):
        at = dotted(paths[int(match[1])])
        if match[0] == image:
            found[at] = "{ref}"
        elif match[0] == ref.tag:
            found[at] = "{tag}"
        elif match[0] in (ref.last, ref.name):
            found[at] = "{repository}"
        elif ref.name.startswith(f"{match[0]}/"):
            found[at] = LOCAL_REGISTRY
    return found


def _default(image: str, paths: Sequence[Path], values: Mapping[str, Any]) -> str:
    """The image's name with the chart's own values in the place of the marks."""
    return _MARK.sub(lambda match: str(value_at(values, dotted(paths[int(match[1])])) or ""), image).strip(":/")


Spot = tuple[str, str, str, str]


def _images(objects: Sequence[Object] | None, plan: ReleasePlan) -> Iterator[tuple[Spot, str, Workload]]:
    for body in objects or ():
        work = None if is_test(body) else workload_of(plan, body)
        for container in work.containers(init=True) if work is not None else ():
            assert work is not None
            yield (work.kind, work.namespace, work.name, str(container.get("name"))), str(container.get("image")), work


def _only(
    with_marks: Sequence[Object] | None, plan: ReleasePlan, plain: Mapping[Spot, tuple[str, Workload]]
) -> dict[Spot, tuple[str, Workload]]:
    """What renders only with an image given: a chart may refuse to render, or leave out, what has none."""
    return {place: (image, work) for place, image, work in _images(with_marks, plan) if place not in plain}


def _ports(work: Workload, container: str) -> list[int]:
    return [
        port["containerPort"] for one in work.containers(init=True) if one.get("name") == container
        for port in one.get("ports") or () if isinstance(port.get("containerPort"), int)
    ]  # fmt: skip


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


def score(slot: Slot, dockerfile: FoundDockerfile) -> int:
    """How much speaks for the Dockerfile: its name in the image's name, in the values' paths, or in the workload's."""
    names = [parse_ref(slot.image).last, *(part for path in slot.values for part in path.split(".")[:-1])]
    names += [user.rpartition("/")[2] for user in slot.users]
    found = _BY_NAME if dockerfile.name in names else 0
    common = _name_words(dockerfile.name) & {word for name in names for word in _name_words(name)}
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


def _name_words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.lower())) - _SAYS_NOTHING
