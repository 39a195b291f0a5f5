"""Reading a spec: files, profile and overrides merged in order, every value with its origin, errors at file:line.

Order: the spec file, `todo-deploy.local.yaml` beside it (git-ignored), the chosen profile, `--set path=value`.
Maps merge, lists and scalars replace, null deletes (RFC 7396). What is validated is the merged whole.
"""

from __future__ import annotations

import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from deployer.config.releases import BUILTIN
from deployer.config.spec import Image, Spec
from deployer.config.types import FORMS
from deployer.core.errors import FOLDER_GONE, DeployError, ExitCode, Problem, input_error
from deployer.core.files import shown_path
from deployer.core.reading import DEEPEST, Malformed, read_text
from deployer.core.text import did_you_mean
from deployer.core.values import path_keys
from deployer.core.yaml import Location, block_lines, parse_yaml


@dataclass(frozen=True, slots=True)
class Outside:
    """A path of the spec, by its place in it, that leads out of the repository; `allowed` by `allowOutside`."""

    location: tuple[str | int, ...]
    path: Path
    allowed: bool

    def title(self) -> str:
        """What is to be said of it, in a sentence."""
        return f"`{'.'.join(map(str, self.location))}` leads out of the repository, to {self.path}"


def work_tree(folder: Path) -> Path:
    """The Git work tree that holds the folder, links resolved; the folder itself where none does."""
    real = folder.resolve()
    return next((one for one in (real, *real.parents) if (one / ".git").exists()), real)


def allowed_folders(spec: Spec, root: Path) -> tuple[Path, ...]:
    """What `allowOutside` names, links resolved."""
    return tuple((root / one).resolve() for one in spec.allow_outside)


def is_within(path: Path, folders: Sequence[Path]) -> bool:
    """Whether the path, links resolved, is one of the folders or lies in one of them."""
    real = path.resolve()
    return any(real.is_relative_to(folder) for folder in folders)


def paths_outside(spec: Spec, root: Path, repository: Path) -> tuple[Outside, ...]:
    """Every path of the spec that leaves the repository."""
    allowed = allowed_folders(spec, root)
    return tuple(
        Outside(location, path.resolve(), is_within(path, allowed))
        for location, path in _paths(spec, root)
        if not is_within(path, (repository,))
    )


def chart_folder(root: Path, chart: str) -> Path:
    """The folder of a release's chart: below the root, or the tool's own for `builtin:component`."""
    if chart != BUILTIN:
        return root / chart
    package = Path(__file__).parents[1]
    packed = package / "charts"
    return (packed if packed.is_dir() else package.parent / "charts") / "workload"


def dockerfile_of(root: Path, image: Image) -> Path:
    """The Dockerfile that the spec names, else that of the context, whose name may be in lower case, as for Docker."""
    path = root / image.dockerfile_path
    lower = path.with_name("dockerfile")
    return lower if not image.dockerfile and lower.is_file() and not path.is_file() else path


def _paths(spec: Spec, root: Path) -> Iterator[tuple[tuple[str | int, ...], Path]]:
    for name, image in spec.images.items():
        context = root / image.context
        yield ("images", name, "context"), context
        dockerfile = dockerfile_of(root, image)
        if image.dockerfile:
            yield ("images", name, "dockerfile"), dockerfile
        # What is read beside them without being named: only as a link can it lead elsewhere.
        beside = (dockerfile, dockerfile.with_name(f"{dockerfile.name}.dockerignore"), context / ".dockerignore")
        yield from ((("images", name, "context"), path) for path in beside if path.is_symlink())
    for name, release in spec.releases.items():
        if release.chart != BUILTIN and not release.is_remote:
            yield ("releases", name, "chart"), root / release.chart
        for index, file in enumerate(release.values_files):
            yield ("releases", name, "valuesFiles", index), root / file
    for index, file in enumerate(spec.env.files):
        yield ("env", "files", index), root / file
    if spec.env.example:
        yield ("env", "example"), root / spec.env.example
    if spec.build.ca:
        yield ("build", "ca"), root / spec.build.ca


SPEC_NAME = "todo-deploy.yaml"
COMMAND_LINE = "--set"
DEFAULT = "default"
_NOTE_COLUMN = 47
_LOCAL_SUFFIX = ".local.yaml"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written: a file and its line, or the command line (line 0)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A valid spec, the folder its paths are relative to, and the origin of every value."""

    spec: Spec
    path: Path
    profile: str | None
    document: Mapping[str, Any]
    origins: Mapping[Location, Origin]
    repository: Path
    """The folder that its paths stay in, links resolved: the Git work tree that holds the spec, else its folder."""
    pins: Mapping[tuple[str, str, str], Any] | None = None
    """The charts that a run has resolved; None where the lock file has them."""

    @property
    def root(self) -> Path:
        """The folder that the spec's paths are relative to."""
        return self.path.parent

    def shown(self, path: Path) -> str:
        """The path as a person reads it: relative to the spec where it lies below it."""
        return shown_path(path, self.root)

    @property
    def readable(self) -> tuple[Path, ...]:
        """The folders that paths of the spec and links of its charts may lead to."""
        return (self.repository, *allowed_folders(self.spec, self.root))

    @property
    def outside(self) -> tuple[Outside, ...]:
        """The paths of the spec that leave the repository."""
        return paths_outside(self.spec, self.root, self.repository)

    def origin(self, *location: str | int) -> Origin:
        """The origin of the value, or of the nearest part that holds it."""
        return _nearest(self.origins, location, Origin(self.path.name, 1))


def find_spec(start: Path) -> Path:
    """The nearest `todo-deploy.yaml` in `start` or a folder above it; input error when there is none."""
    for folder in (start, *start.parents):
        candidate = folder / SPEC_NAME
        if candidate.is_file():
            return candidate
    raise input_error(
        "SPEC_MISSING",
        f"no `{SPEC_NAME}` in {start} or above it",
        hints=("cd to the project, or: todo-deploy -f FILE …",),
    )


def nearest_spec() -> Path:
    """As `find_spec`, from the folder that the process is in; input error where that is gone or closed to this user."""
    try:
        return find_spec(Path.cwd())
    except FileNotFoundError:
        raise DeployError(FOLDER_GONE, ExitCode.INPUT) from None
    except PermissionError as error:
        title = f"this user cannot read {Path(error.filename or '.').parent}"
        raise input_error("FOLDER_CLOSED", title, hints=("cd to the project", "todo-deploy -f FILE …")) from None


def load_spec(
    path: Path, profile: str | None = None, overrides: Sequence[str] = (), *, repository: Path | None = None
) -> LoadedSpec:
    """The merged spec is valid and returned with its origins; all problems are raised together otherwise.

    Its paths stay in the repository (default: the Git work tree that holds the spec) unless it allows others.
    """
    path = _own_place(path)
    document, origins = _with_local(path)
    profiles = _profiles(document, origins, path.name)
    if profile is not None:
        _apply_profile(document, origins, profiles, profile, path.name)
    for override in overrides:
        _apply_override(document, origins, override)
    try:
        spec = Spec.model_validate(document)
    except ValidationError as error:
        items = error.errors(include_url=False, include_input=False)
        problems = [problem for item in items for problem in _problems(item, origins, path.name)]
        raise DeployError(problems, ExitCode.INPUT) from None
    loaded = LoadedSpec(spec, path, profile, document, origins, _holding(path.parent, repository))
    refused = [_leads_out(loaded, one) for one in loaded.outside if not _is_permitted(loaded, one)]
    if refused:
        raise DeployError(refused, ExitCode.INPUT)
    return loaded


def profile_names(path: Path) -> tuple[str, ...]:
    """The names of the profiles that the spec file and its local overlay define."""
    path = _own_place(path)
    document, origins = _with_local(path)
    return tuple(_profiles(document, origins, path.name))


def _profiles(
    document: dict[str, Any], origins: Mapping[Location, Origin], shown: str
) -> dict[str, dict[str, Any] | None]:
    """The profiles, taken out of the document; input error where one is not a map of keys."""
    profiles = document.pop("profiles", None) or {}
    wrong: list[Location] = [("profiles",)] if not isinstance(profiles, dict) else [
        ("profiles", name) for name, one in profiles.items() if not isinstance(one, dict | None)
    ]  # fmt: skip
    if wrong:
        raise DeployError(
            [
                Problem(
                    "SPEC_INVALID",
                    f"{'.'.join(map(str, at))}: should be a mapping",
                    where=str(_nearest(origins, at, Origin(shown, 1))),
                    hints=("todo-deploy schema",),
                )
                for at in wrong
            ],
            ExitCode.INPUT,
        )
    return profiles


def annotated_yaml(document: Mapping[str, Any], origins: Mapping[Location, str]) -> str:
    """The document as block YAML; a value with an origin is followed by `# <origin>`."""
    lines = (f"{line:<{_NOTE_COLUMN}} # {origins[at]}" if at in origins else line for at, line in block_lines(document))
    return "\n".join(lines) + "\n"


def with_defaults(loaded: LoadedSpec) -> dict[str, Any]:
    """The spec with every default filled in."""
    return loaded.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def leaf_origins(loaded: LoadedSpec, document: Mapping[str, Any]) -> dict[Location, str]:
    """The origin of every value of the document that is not a map or list with items."""
    return {at: str(loaded.origins[at]) if at in loaded.origins else DEFAULT for at in _leaves(document, ())}


def _leaves(value: Any, at: Location) -> Iterator[Location]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, (*at, key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from _leaves(item, (*at, index))
    elif at:
        yield at


def _holding(folder: Path, repository: Path | None) -> Path:
    return repository.resolve() if repository and is_within(folder, (repository.resolve(),)) else work_tree(folder)


def _is_permitted(loaded: LoadedSpec, one: Outside) -> bool:
    """What the command line gives is the user's own decision."""
    return one.allowed or loaded.origin(*one.location).file == COMMAND_LINE


def _leads_out(loaded: LoadedSpec, one: Outside) -> Problem:
    entry = os.path.relpath(one.path, loaded.root)
    return Problem(
        "PATH_OUTSIDE",
        one.title(),
        f"the repository is {loaded.repository}; a path or link of a repository could read any of your files",
        str(loaded.origin(*one.location)),
        (f"if it is meant, allow it in the spec: `allowOutside: [{entry}]`", "todo-deploy validate"),
    )


def _with_local(path: Path) -> tuple[dict[str, Any], dict[Location, Origin]]:
    """The spec file with its git-ignored overlay over it."""
    document, origins = _read(path, path.name)
    local = local_overlay(path)
    if local.is_file():
        overlay, overlay_origins = _read(local, local.name)
        _merge(document, origins, overlay, overlay_origins, ())
    return document, origins


def local_overlay(path: Path) -> Path:
    """The git-ignored file that lies over the spec file."""
    return path.with_name(path.stem + _LOCAL_SUFFIX)


def _own_place(path: Path) -> Path:
    """The file itself where `path` is a link to it: its paths are relative to where it really lies."""
    return path.resolve() if path.is_symlink() else path.absolute()


def _read(path: Path, shown: str) -> tuple[dict[str, Any], dict[Location, Origin]]:
    try:
        found = parse_yaml(read_text(path))
    except FileNotFoundError:
        raise input_error("SPEC_MISSING", f"no spec at {path}", hints=("todo-deploy -f FILE …",)) from None
    except OSError as error:
        hints = (f"ls -ld {path}",)
        raise input_error("SPEC_UNREADABLE", f"cannot read {path}", detail=str(error), hints=hints) from None
    except Malformed as error:
        raise input_error("SPEC_YAML", str(error), where=error.at(shown), hints=("todo-deploy schema",)) from None
    if not isinstance(found.value, dict):
        title = "a spec is a mapping" if found.value is not None else "the spec is empty"
        ways = ("todo-deploy schema", "todo-deploy init --overwrite")
        raise input_error("SPEC_YAML", title, where=f"{shown}:1", hints=ways)
    return found.value, {at: Origin(shown, line) for at, line in found.lines.items()}


def _merge(
    base: dict[str, Any],
    origins: dict[Location, Origin],
    over: Mapping[str, Any],
    over_origins: Mapping[Location, Origin],
    at: Location,
) -> None:
    """`over` lies over `base` in place, with its origins (RFC 7396)."""
    for key, value in over.items():
        place = (*at, key)
        current = base.get(key)
        if isinstance(value, Mapping) and isinstance(current, dict):
            _merge(current, origins, value, over_origins, place)
            continue
        for known in [location for location in origins if location[: len(place)] == place]:
            del origins[known]
        if value is None and key in base:
            del base[key]
            continue
        base[key] = value
        origins.update(
            {location: origin for location, origin in over_origins.items() if location[: len(place)] == place}
        )


def _apply_profile(
    document: dict[str, Any],
    origins: dict[Location, Origin],
    profiles: Mapping[str, dict[str, Any] | None],
    name: str,
    shown: str,
) -> None:
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise input_error(
            "PROFILE_UNKNOWN",
            f"no profile `{name}` in the spec",
            detail=f"its profiles: {known}",
            where=str(_nearest(origins, ("profiles",), Origin(shown, 1))),
            hints=did_you_mean(name, profiles, "--profile "),
        )
    overlay = profiles[name] or {}
    prefix: Location = ("profiles", name)
    inner = {
        location[2:]: origin for location, origin in origins.items() if location[:2] == prefix and len(location) > 2
    }
    _merge(document, origins, overlay, inner, ())


def _apply_override(document: dict[str, Any], origins: dict[Location, Origin], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = path_keys(path)
    if not separator or not all(keys) or len(keys) > DEEPEST:
        raise input_error("SET_MALFORMED", f"`--set {override}` is not path=value", hints=("--set cluster.cpus=2",))
    try:
        value: Any = parse_yaml(text).value if text else ""
    except Malformed as error:
        title = f"the value of `--set {path}=…` is not YAML"
        raise input_error("SET_MALFORMED", title, detail=str(error), hints=("--set cluster.cpus=2",)) from None
    overlay: Any = value
    for key in reversed(keys):
        overlay = {key: overlay}
    place = tuple(keys)
    shown: dict[Location, Origin] = {place[: depth + 1]: Origin(COMMAND_LINE, 0) for depth in range(len(place))}
    _merge(document, origins, overlay, shown, ())


def _nearest(origins: Mapping[Location, Origin], location: Sequence[str | int], default: Origin) -> Origin:
    for depth in range(len(location), 0, -1):
        origin = origins.get(tuple(location[:depth]))
        if origin is not None:
            return origin
    return default


_SHAPES = {
    "string_type": ("a text", 'put it in quotes: "1.10"'),
    "tuple_type": ("a list", "write [one, two], or a line with `- ` for each"),
    "dict_type": ("a mapping", "write a line `key: value` for each"),
    "model_type": ("a mapping", "write a line `key: value` for each"),
}
"""What a value is to be, by pydantic's word for what is wrong with it, and how that is written."""


def _problems(item: Any, origins: Mapping[Location, Origin], shown: str) -> Iterator[Problem]:
    """What is wrong, at its line; what the whole spec is refused for may be several things, each beginning with its
    place."""
    if item["loc"]:
        yield _problem(item, origins, shown)
        return
    for text in str(item["msg"]).removeprefix("Value error, ").split("; "):
        place = tuple(text.partition(": ")[0].split("."))
        where = str(_nearest(origins, place, Origin(shown, 1)))
        yield Problem("SPEC_INVALID", text, where=where, hints=("todo-deploy schema",))


def _problem(item: Any, origins: Mapping[Location, Origin], shown: str) -> Problem:
    location: Location = tuple(part for part in item["loc"] if part != "[key]")
    path = ".".join(str(part) for part in location)
    where = str(_nearest(origins, location, Origin(shown, 1)))
    if item["type"] == "extra_forbidden":
        hints = did_you_mean(str(location[-1]), _fields_at(location[:-1])) or ("todo-deploy schema",)
        return Problem("SPEC_UNKNOWN_KEY", f"unknown key `{path}`", where=where, hints=hints)
    if item["type"] == "missing":
        return Problem("SPEC_MISSING_KEY", f"missing key `{path}`", where=where, hints=("todo-deploy schema",))
    if item["type"] in _SHAPES:
        kind, hint = _SHAPES[item["type"]]
        return Problem("SPEC_INVALID", f"{path}: should be {kind}", where=where, hints=(hint, "todo-deploy schema"))
    form = FORMS.get(str(item.get("ctx", {}).get("pattern")))
    message = f"should be {form}" if form else str(item["msg"]).removeprefix("Value error, ")
    return Problem("SPEC_INVALID", f"{path}: {message}", where=where, hints=("todo-deploy schema",))


def _fields_at(location: Location) -> list[str]:
    """The keys that the spec knows at a place."""
    current: Any = Spec
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = fields.get(str(part))
        else:
            current = (typing.get_args(current) or (None,))[-1]
        current = _without_none(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return [field.alias or name for name, field in current.model_fields.items()]
    return []


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((one for one in typing.get_args(annotation) if one is not types.NoneType), None)
    return annotation
