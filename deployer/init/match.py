"""Which values of a chart make which image, and which Dockerfile makes it.

Every value that may be part of an image's name is marked, and the rendered pods show what came of the marks. So any
way of composing an image is understood: one reference, registry and repository and tag, or only some of them. The
Dockerfile is chosen by names first, by the ports second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployer.core.image_ref import parse_ref
from deployer.core.ports import Object
from deployer.core.values import dotted, set_over, value_at
from deployer.init.model import USUAL, FoundDockerfile, Reading, Slot
from deployer.plan import ReleasePlan
from deployer.preflight.rules.model import Workload, is_test, workload_of

_NAMING = {"image", "repository", "repo", "registry", "tag"}
_NAMING_WITHIN = {"name", "version"}
_NEVER = {"pull", "policy", "secret", "secrets", "digest", "annotations", "labels"}
_MARK = re.compile(r"draft(\d{4})x")
_SAYS_NOTHING = frozenset({"app", "image", "images", "docker", "service", "svc", "api", "the", ""})
# Images that repositories use and do not make; nginx is what `helm create` leaves in a chart, so it may be replaced.
_SKELETON = "nginx"
_PUBLIC = frozenset({
    "alpine", "busybox", "curl", "debian", "elasticsearch", "etcd", "grafana", "haproxy", "httpd", "kafka", "keycloak",
    "kubectl", "mailhog", "mariadb", "memcached", "minio", "mongo", "mongodb", "mosquitto", "mysql", "nats",
    "opensearch", "otel", "postgres", "postgresql", "prometheus", "rabbitmq", "redis", "traefik", "ubuntu", "valkey",
    "vault", "zookeeper", _SKELETON,
})  # fmt: skip
_BY_NAME = 10
_BY_END = 8
_BY_WORD = 4
_BY_PORT = 3

Path = tuple[str | int, ...]
Makers = dict[tuple[str, int], tuple[FoundDockerfile, bool]]
"""Release and number of its image → the Dockerfile that makes it, and whether that is certain."""


def candidates(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The values that may be part of an image's name."""
    return tuple(at for at, value in leaves(values) if _may_name(at, value))


def marked(values: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """The chart's values with a mark at each path, which is its number among them, and without digests."""
    made = nested({path: f"draft{number:04d}x" for number, path in enumerate(paths)}, values)
    for path in _digests(values):
        set_over(made, dotted(path), "", values)
    return made


def slots(
    objects: Sequence[Object], with_marks: Sequence[Object] | None, paths: Sequence[Path], values: Mapping[str, Any],
    plan: ReleasePlan,
) -> tuple[Slot, ...]:  # fmt: skip
    """The images of what is rendered; `with_marks` is the same with every path marked, None where that fails."""
    plain = {place: (image, work) for place, image, work in _images(objects, plan)}
    changed = {place: image for place, image, _ in _images(with_marks, plan)} if with_marks is not None else {}
    always = {place for place, _, work in _images(objects, plan) if place[3] in _pulled(work)}
    found: dict[tuple[str, ...], Slot] = {}
    for place, (image, work) in {**_only(with_marks, plan, plain), **plain}.items():
        slot = _slot(changed.get(place, ""), paths, values)
        default = image if not _MARK.search(image) else _default(image, paths, values)
        fixed = {**slot.fixed, **{_shown(at, values): "" for at, text in _digests(values).items() if text in image}}
        if slot.values and place in always:
            fixed |= {_shown(at, values): "IfNotPresent" for at in _always(values, changed.get(place, ""), paths)}
        key = (*sorted(slot.values), slot.repository) if slot.values else (default,)
        known = found.get(key)
        users = dict.fromkeys([*(known.users if known else ()), work.label])
        ports = dict.fromkeys([*(known.ports if known else ()), *_ports(work, place[3])])
        fixed = {**(known.fixed if known else {}), **fixed}
        found[key] = replace(slot, image=default, users=tuple(users), ports=tuple(ports), fixed=fixed)
    return tuple(found.values())


def ports_of(objects: Sequence[Object], plan: ReleasePlan) -> dict[tuple[str, ...], list[int]]:
    """Kind, namespace and name of each workload with each of its containers → the ports that it declares."""
    return {place: _ports(work, place[3]) for place, _, work in _images(objects, plan)}


def nested(texts: Mapping[Path, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values in which each path has its text, to be laid over these."""
    made: dict[str, Any] = {}
    for path, text in texts.items():
        set_over(made, dotted(path), text, values)
    return made


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The path of every value that is neither a map, a list nor a switch, and the value.

    A key with brackets is left out: in a path it would be an item of a list.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if "[" not in str(key):
                yield from leaves(inner, (*at, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*at, index))
    elif not isinstance(value, bool):
        yield at, value


def _digests(values: Mapping[str, Any]) -> dict[Path, str]:
    """The values that are an image's digest: they win over its tag."""
    return {at: value for at, value in leaves(values) if isinstance(value, str) and value.startswith("sha256:")}


def _always(values: Mapping[str, Any], image: str, paths: Sequence[Path]) -> list[Path]:
    """The values beside those of the image's name, or under global, that have it pulled at each start."""
    beside = {paths[int(mark[1])][:-1] for mark in _MARK.finditer(image)} | {("global",), ("global", "image")}
    return [at for at, value in leaves(values) if value == "Always" and at[:-1] in beside]


def _pulled(work: Workload) -> set[str]:
    """The containers whose image is pulled at each start; what is built here is in no registry."""
    return {str(one.get("name")) for one in work.containers(init=True) if one.get("imagePullPolicy") == "Always"}


def _may_name(at: Path, value: Any) -> bool:
    keys = [key for key in at if isinstance(key, str)]
    words, above = _words(keys[-1]), _words(keys[-2]) if len(keys) > 1 else set()
    if words & _NEVER or isinstance(at[-1], int):
        return False
    if "registry" in words and not value:
        return False  # a registry that is not used is best left so
    return bool(words & _NAMING) or (bool(above & {"image", "images"}) and bool(words & _NAMING_WITHIN))


def _words(key: str) -> set[str]:
    """`imageTag` and `image_tag` are two words; `targetPercentage` has no tag in it."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", key)}


def _shown(path: Path, values: Mapping[str, Any]) -> str:
    """The path as a spec writes it, with the names of items of lists where they have some."""
    text = ""
    for depth, key in enumerate(path):
        name = value_at(values, f"{dotted(path[: depth + 1])}.name") if isinstance(key, int) else None
        by_name = isinstance(name, str) and re.fullmatch(r"[A-Za-z][\w-]*", name)
        text += (
            f"[{name}]" if by_name else dotted(path[depth : depth + 1]) if isinstance(key, int) else f".{dotted([key])}"
        )
    return text.removeprefix(".")


def _slot(image: str, paths: Sequence[Path], values: Mapping[str, Any]) -> Slot:
    """Which values make the parts of an image's name, recognized in the name with their marks."""
    shown = {mark[0]: _shown(paths[int(mark[1])], values) for mark in _MARK.finditer(image)}
    if image in shown:
        return Slot("", {shown[image]: "{ref}"}, (), ())
    ref = parse_ref(image)
    mapped = {shown[ref.tag]: "{tag}"} if ref.tag in shown else {}
    if not mapped:  # a tag that is written in a template is not the one that is built
        return Slot("", {}, (), ())
    first, _, name = ref.name.partition("/")
    fixed = {shown[first]: "{registry}"} if name and first in shown else {}
    name = name if fixed else ref.name
    if name in shown:
        return Slot("", {shown[name]: "{repository}", **mapped}, (), (), fixed)
    return Slot("", mapped, (), (), fixed, _default(name, paths, values))


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


def makers(readings: Sequence[Reading], dockerfiles: Sequence[FoundDockerfile]) -> Makers:
    """The Dockerfile that seems to make each image: by its name, or because both are what is left.

    What only words or ports speak for is not certain.
    """
    places = {(reading.release, number): slot for reading in readings for number, slot in enumerate(reading.slots)}
    found: Makers = {}
    for place, slot in places.items():
        one, certain = best(slot, dockerfiles)
        if one is not None:
            found[place] = (one, certain)
    paths = {one.path for one in dockerfiles} - {one.path for one, _ in found.values()}
    left = [place for place, slot in places.items() if place not in found and slot.values]
    own = [place for place in left if parse_ref(places[place].image).last not in _PUBLIC]
    skeletons = [place for place in left if parse_ref(places[place].image).short == _SKELETON]
    alone = own if len(own) == 1 else skeletons if not own and len(skeletons) == 1 else []
    usual = [path for path in paths if path.rpartition("/")[2] in USUAL]
    for path in usual if len(usual) == 1 else paths if len(paths) == 1 else ():
        found |= dict.fromkeys(alone, (next(one for one in dockerfiles if one.path == path), False))
    return found


def best(slot: Slot, dockerfiles: Sequence[FoundDockerfile]) -> tuple[FoundDockerfile | None, bool]:
    """The Dockerfile that seems to make the image, and whether that is certain: by name, and no other is as good."""
    if not dockerfiles or not slot.values:
        return None, True
    scored = sorted(((score(slot, one), -index, one) for index, one in enumerate(dockerfiles)), reverse=True)
    first = scored[0]
    public = parse_ref(slot.image).last in _PUBLIC and first[0] < _BY_NAME
    if first[0] <= 0 or public:
        return None, public
    tie = len(scored) > 1 and scored[1][0] == first[0]
    return first[2], not tie and first[0] >= _BY_END


def score(slot: Slot, dockerfile: FoundDockerfile) -> int:
    """How much speaks for the Dockerfile: its name in the image's name, in the values' paths, or in the workload's."""
    names = [parse_ref(slot.image).last, *(part for path in slot.values for part in re.split(r"[.\[\]]+", path)[:-1])]
    names += [user.rpartition("/")[2] for user in slot.users]
    found = _BY_NAME if dockerfile.name in names or names[0] in dockerfile.images else 0
    if not found and any(name.endswith(f"-{dockerfile.name}") for name in names):
        found = _BY_END
    common = _name_words(dockerfile.name) & {word for name in names for word in _name_words(name)}
    found += _BY_WORD * len(common) if not found else 0
    return found + (_BY_PORT if set(slot.ports) & set(dockerfile.ports) else 0)


def repository(slot: Slot, dockerfile: FoundDockerfile, taken: Sequence[str]) -> str:
    """The name of the image that is built: what templates want, or the chart's own without its registry if free."""
    if slot.repository:
        return slot.repository
    wanted = parse_ref(slot.image).last
    valid = re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", wanted) and wanted not in _PUBLIC
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
