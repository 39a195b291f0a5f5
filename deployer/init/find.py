"""What the files of a repository say: Dockerfiles and their contexts, charts and their values, keys of the env file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from deployer.core.errors import DeployError, input_error
from deployer.core.reading import Malformed, read_text
from deployer.core.yaml import parse_manifest
from deployer.init.builds import with_builds
from deployer.init.compose_file import COMPOSE, load
from deployer.init.model import USUAL, FoundChart, FoundDockerfile, Repository, dashed
from deployer.init.services import services
from deployer.sources import charts, dotenv
from deployer.sources.dockerfile import arguments, base_images, copied_words, exposed_ports, instructions
from deployer.status.objects import dig

_SKIPPED = frozenset({"node_modules", "vendor", "dist", "target", "__pycache__", "venv", "site-packages"})
# Folders and stages whose names say what is done there, not what is made.
_WORK = frozenset({
    "build", "builder", "builds", "ci", "container", "containers", "deploy", "deployment", "docker", "dockerfiles",
    "images", "infra", "ops", "package", "src",
    "base", "compile", "deps", "dependencies", "dev", "development", "final", "install", "lint", "prod", "production",
    "release", "run", "runner", "runtime", "test", "tests",
})  # fmt: skip
# What lies beside a Dockerfile in a folder that is there for Dockerfiles alone.
_BESIDE = (
    "*Dockerfile", "*.sh", "*.conf", "*.md", "*.dockerignore", ".dockerignore", "*.template", "README*", "*.yml",
    "*.yaml",
)  # fmt: skip
_BY_ARGUMENT = re.compile(r"(?<![\w./-])((?:[\w.-]+/)+)\$\{?(\w+)")
_DOCKERFILE = (*USUAL, "Dockerfile.*", "*.Dockerfile", "*.dockerfile")
_NOT_DOCKERFILE = ("*.dockerignore", "*.md", "*.j2", "*.tmpl")
_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", "example.env")
_DEEPEST = 6
_HALF = re.compile("[\ud800-\udfff]")


def find(root: Path) -> Repository:
    """What is in the repository; hidden folders and those of other people's packages are left out."""
    files = sorted(_walk(root))
    broken: list[DeployError] = []
    named = [one for one in files if PurePosixPath(one).name == "Chart.yaml" and (root / one).is_file()]
    found_charts = tuple(_charts(root, named, broken))
    if broken and not found_charts:
        raise broken[0]
    inside = tuple(f"{one.path}/" for one in found_charts)
    paths = [file for file in files if _is_dockerfile(file) and not file.startswith(inside) and (root / file).is_file()]
    dockerfiles = _named(tuple(_dockerfile(root, path, files) for path in paths))
    variants = {variant.name: variant for one in reversed(dockerfiles) for variant in _variants(root, one)}
    for one in dockerfiles:
        variants.pop(one.name, None)
    example = next((name for name in _EXAMPLES if (root / name).is_file()), None)
    has_env = (root / ".env").is_file()
    has_compose = any((root / name).is_file() for name in COMPOSE)
    keys = plain = _env_keys(root / (example or ".env")) if example or has_env else {}
    if has_compose and keys:
        keys = _env_keys(root / (example or ".env"), lambda _: None)
    found = (*dockerfiles, *variants.values())
    if found_charts:
        found = with_builds(root, files, found, keys, lambda path: _dockerfile(root, path, files))
    made = () if found_charts else services(root, found, keys)
    if made and not has_compose:
        aside = (f"{one} has a Compose file, which is not read: cd {one}, then: todo-deploy init"
                 for one in _elsewhere(files))  # fmt: skip
        made = (replace(made[0], remarks=(*made[0].remarks, *aside)), *made[1:])
    return Repository(root, found, found_charts, keys, example, has_env, keys != plain, tuple(broken), made)


def nothing_found(root: Path) -> DeployError:
    """Why there is nothing to draft, and what to do: the Compose file runs no service, or is in another folder."""
    others = _elsewhere(sorted(_walk(root)))
    hints = [f"cd {folder}, then: todo-deploy init" for folder in others] or [
        "cd to the repository",
        "helm create NAME",
    ]
    file = load(root, _env_keys(root / ".env") if (root / ".env").is_file() else {})
    if file is None:
        return input_error("INIT_NO_CHART", f"no Helm chart, Dockerfile or Compose file in {root}", hints=tuple(hints))
    aside = "; ".join(one for one in file.remarks if "profile" in one)
    if aside:
        hints = ["a line COMPOSE_PROFILES=NAME in .env, as for Compose, then: todo-deploy init"]
    return input_error(
        "INIT_NO_CHART", f"no service of {file.name} has an image or is built" if not aside else
        f"no service of {file.name} is started", detail=aside, where=f"{file.name}:1", hints=tuple(hints),
    )  # fmt: skip


def _elsewhere(files: Sequence[str]) -> list[str]:
    """The folders below with a Compose file, the nearest first."""
    folders = {PurePosixPath(one).parent.as_posix() for one in files if PurePosixPath(one).name in COMPOSE}
    return sorted(folders - {"."}, key=lambda one: (one.count("/"), one))[:3]


def _walk(root: Path) -> Iterator[str]:
    for folder, names, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = [one for one in names if not one.startswith(".") and one not in _SKIPPED and depth < _DEEPEST]
        # A name that is not UTF-8 cannot be in a spec.
        yield from (
            (Path(folder) / one).relative_to(root).as_posix() for one in files if not _HALF.search(folder + one)
        )


def _is_dockerfile(path: str) -> bool:
    name = PurePosixPath(path).name
    wanted = any(fnmatchcase(name, pattern) for pattern in _DOCKERFILE)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in _NOT_DOCKERFILE)


def _dockerfile(root: Path, path: str, files: Sequence[str]) -> FoundDockerfile:
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    bases = {one.argument: one.ref for one in base_images(text, {}) if one.argument}
    args = {name: default for name, default in arguments(text).items() if name not in bases}
    name = _name(root, path)
    copied = [word for word in copied_words(text) if "$" not in word]
    context, sure = _context(root, path, name, copied, files)
    whole = any(one.rstrip("/") in (".", "") for one in copied)
    return FoundDockerfile(path, name, context, sure, bases, args, exposed_ports(text), copies_all=whole)


def _name(root: Path, path: str) -> str:
    """What the image is called: the Dockerfile's own name, or that of the nearest folder that says what is made."""
    file = PurePosixPath(path)
    own = re.sub(r"(^|\.)(Dockerfile|Containerfile)(\.|$)", ".", file.name, flags=re.IGNORECASE).strip(".")
    folders = [one.name for one in file.parents if one.name and one.name.lower() not in _WORK]
    said = own if own.lower() not in _WORK else ""
    return _plain(said or next(iter(folders), root.resolve().name))


def _plain(text: str) -> str:
    return dashed(text) or "app"


def _context(root: Path, path: str, name: str, copied: Sequence[str], files: Sequence[str]) -> tuple[str, bool]:
    """The folder that has all that is copied, and whether that is certain.

    A file named Dockerfile is looked for beside what it builds, unless its folder has nothing but Dockerfiles; any
    other one in the folder that is named like it.
    """
    file = PurePosixPath(path)
    own, *above = (one.as_posix() for one in file.parents)
    apart = (
        own != "."
        and bool(copied)
        and all(_is_dockerfile(one) or _lies_beside(one) for one in files if one.startswith(f"{own}/"))
    )
    beside = file.name in USUAL and not apart
    folders = {parent.as_posix() for one in files for parent in PurePosixPath(one).parents} - {".", own}
    named = sorted((one for one in folders if _plain(PurePosixPath(one).name) == name), key=len)
    candidates = [own, *above] if beside else [*named, *(above if apart else (own, *above)), own]
    wanted = [one.strip("/") for one in copied if one.rstrip("/") not in (".", "")]
    for candidate in candidates:
        if all(any((root / candidate).glob(one)) for one in wanted):
            return candidate, bool(wanted) or beside or not copied
    return own if file.name in USUAL else candidates[0], False


def _lies_beside(path: str) -> bool:
    return any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in _BESIDE)


def _variants(root: Path, one: FoundDockerfile) -> Iterator[FoundDockerfile]:
    """The images that the Dockerfile makes besides its own: by stage, and by an argument that names a folder."""
    text = (root / one.path).read_text(encoding="utf-8", errors="replace")
    stages = [words[2] for step in instructions(text) if step.word == "FROM" and len(words := step.words) > 2]
    for stage in stages if len(stages) > 1 else ():
        if stage.lower() not in _WORK:
            yield replace(one, name=_plain(stage), target=stage)
    seen = set()
    for prefix, argument in (found for step in instructions(text) for found in _BY_ARGUMENT.findall(step.rest)):
        folder = root / one.context / prefix
        if argument not in one.args or not folder.is_dir():
            continue
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith(".") and child.name not in seen:
                seen.add(child.name)
                yield replace(one, name=_plain(child.name), given={argument: child.name})


def _named(found: tuple[FoundDockerfile, ...]) -> tuple[FoundDockerfile, ...]:
    """Each with a name of its own: where two are alike, the folder above is part of it."""
    names = [one.name for one in found]
    made: list[FoundDockerfile] = []
    for one in found:
        name = one.name
        if names.count(name) > 1:
            name = _plain("-".join(PurePosixPath(one.path).parts[:-1][-2:]) or name)
        while name in {other.name for other in made}:
            name += "-2"
        made.append(replace(one, name=name))
    return tuple(made)


def _charts(root: Path, files: Sequence[str], broken: list[DeployError]) -> Iterator[FoundChart]:
    """The charts that are installed by themselves: no libraries, and no parts of others; `broken` gets the others."""
    folders = {PurePosixPath(file).parent.as_posix(): root / PurePosixPath(file).parent for file in files}
    parts = {place.resolve() for folder in folders.values() for _, place in charts.parts_of(folder)}
    for path, folder in folders.items():
        # The repository itself may be such a folder of another chart: then its charts are what is asked for.
        above = (root / one for one in PurePosixPath(path).parents if one.name)
        if folder.resolve() in parts or any(one.name == "charts" and (one.parent / "Chart.yaml").is_file()
                                            for one in above):  # fmt: skip
            continue
        try:
            info = charts.read_chart(folder)
            if info.type != "library":
                yield FoundChart(path, info.name, info.app_version, charts.own_values(folder), _defined(folder))
        except DeployError as error:
            broken.append(error)


def _defined(folder: Path) -> frozenset[str]:
    """The kinds that the chart's folder `crds` defines; what cannot be read there is helm's to refuse."""
    found: set[str] = set()
    for path in sorted((folder / "crds").rglob("*.y*ml")):
        with suppress(OSError, Malformed):
            definitions = (body for body in parse_manifest(read_text(path)) if isinstance(body, dict))
            found |= {str(dig(body, "spec", "names", "kind")) for body in definitions}
    return frozenset(found)


def _env_keys(path: Path, lookup: dotenv.Lookup | None = None) -> dict[str, str]:
    return {key: entry.value for key, entry in dotenv.read_env(path, path.name, (), lookup).items()}
