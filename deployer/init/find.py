"""What the files of a repository say: Dockerfiles and their contexts, charts and their values, keys of the env file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from deployer.init.model import FoundChart, FoundDockerfile, Repository, dashed
from deployer.sources import charts, dotenv
from deployer.sources.dockerfile import base_images, exposed_ports, global_args, instructions

_SKIPPED = frozenset({"node_modules", "vendor", "dist", "build", "target", "__pycache__", "venv", "site-packages"})
_DOCKERFILE = ("Dockerfile", "Containerfile", "Dockerfile.*", "*.Dockerfile", "*.dockerfile")
_NOT_DOCKERFILE = ("*.dockerignore", "*.md", "*.j2", "*.tmpl")
_EXAMPLES = (".env.example", ".env.sample", ".env.template", ".env.dist", "env.example", "example.env")
_DEEPEST = 6


def find(root: Path) -> Repository:
    """What is in the repository; hidden folders and those of other people's packages are left out."""
    files = sorted(_walk(root))
    found_charts = tuple(_charts(root, [file for file in files if PurePosixPath(file).name == "Chart.yaml"]))
    inside = tuple(f"{one.path}/" for one in found_charts)
    paths = [file for file in files if _is_dockerfile(file) and not file.startswith(inside)]
    dockerfiles = tuple(_dockerfile(root, path) for path in paths)
    example = next((name for name in _EXAMPLES if (root / name).is_file()), None)
    has_env = (root / ".env").is_file()
    keys = _env_keys(root / (example or ".env")) if example or has_env else {}
    return Repository(root, _named(dockerfiles), found_charts, keys, example, has_env)


def _walk(root: Path) -> Iterator[str]:
    for folder, names, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = [one for one in names if not one.startswith(".") and one not in _SKIPPED and depth < _DEEPEST]
        yield from ((Path(folder) / one).relative_to(root).as_posix() for one in files)


def _is_dockerfile(path: str) -> bool:
    name = PurePosixPath(path).name
    wanted = any(fnmatchcase(name, pattern) for pattern in _DOCKERFILE)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in _NOT_DOCKERFILE)


def _dockerfile(root: Path, path: str) -> FoundDockerfile:
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    bases = {one.argument: one.ref for one in base_images(text, {}) if one.argument}
    declared: dict[str, str] = {}
    for one in instructions(text):
        if one.word == "ARG":
            name, _, default = one.rest.partition("=")
            declared.setdefault(name.strip(), default.strip("\"'"))
    known = global_args(text)
    args = {name: known.get(name, default) for name, default in declared.items() if name not in bases}
    name = _name(path)
    context, sure = _context(root, path, name, _copied(text))
    return FoundDockerfile(path, name, context, sure, bases, args, exposed_ports(text))


def _name(path: str) -> str:
    """What the image is called: the Dockerfile's own name, or its folder's."""
    file = PurePosixPath(path)
    own = re.sub(r"(^|\.)(Dockerfile|Containerfile)(\.|$)", ".", file.name, flags=re.IGNORECASE).strip(".")
    return _plain(own or file.parent.name or "app")


def _plain(text: str) -> str:
    return dashed(text) or "app"


def _copied(text: str) -> list[str]:
    """The paths that it copies from its context."""
    found = []
    for one in instructions(text):
        words = [word for word in one.rest.split() if not word.startswith("--")]
        if one.word in ("COPY", "ADD") and "--from=" not in one.rest and not one.rest.startswith(("[", "<<")):
            found += [word.strip("\"'") for word in words[:-1] if "$" not in word and "://" not in word]
    return found


def _context(root: Path, path: str, name: str, copied: list[str]) -> tuple[str, bool]:
    """The folder that has all that is copied, and whether that is certain.

    A file named Dockerfile is looked for beside what it builds; any other one in the folder that is named like it.
    """
    file = PurePosixPath(path)
    beside = file.name in ("Dockerfile", "Containerfile")
    named = sorted((one for one in _folders(root) if _plain(PurePosixPath(one).name) == name), key=len)
    above = [one.as_posix() for one in file.parents]
    candidates = list(dict.fromkeys(above if beside else [*named, *above]))
    wanted = [one.strip("/") for one in copied if one.rstrip("/") not in (".", "")]
    for candidate in candidates:
        if all(any((root / candidate).glob(one)) for one in wanted):
            return candidate, bool(wanted) or beside
    return candidates[0], False


def _folders(root: Path) -> set[str]:
    return {parent.as_posix() for file in _walk(root) for parent in PurePosixPath(file).parents} - {"."}


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


def _charts(root: Path, files: list[str]) -> Iterator[FoundChart]:
    """The charts that are installed by themselves: no libraries, and no parts of others."""
    folders = {PurePosixPath(file).parent.as_posix(): root / PurePosixPath(file).parent for file in files}
    parts = {place.resolve() for folder in folders.values() for _, place in charts.parts_of(folder)}
    for path, folder in folders.items():
        if folder.resolve() in parts or any(one.name == "charts" and (one.parent / "Chart.yaml").is_file()
                                            for one in folder.parents):  # fmt: skip
            continue
        info = charts.read_chart(folder)
        if info.type != "library":
            yield FoundChart(path, info.name, info.app_version, charts.own_values(folder))


def _env_keys(path: Path) -> dict[str, str]:
    return {key: entry.value for key, entry in dotenv.read_env(path, path.name, ()).items()}
