"""A Compose file with the files that it includes, extends and is overridden by, merged as Compose merges them.

Paths in what is read are relative to the repository's root, whichever file they are in
(docs.docker.com/reference/compose-file: include, merge, services, profiles).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from deployer.core.errors import input_error
from deployer.core.reading import Malformed, read_text
from deployer.core.yaml import RESET, Document, Replaced, parse_compose
from deployer.sources import dotenv

COMPOSE = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
_OVERRIDES = tuple(f"{name}.override.{ending}" for name in ("compose", "docker-compose") for ending in ("yml", "yaml"))
# How Compose merges what is no mapping (docs.docker.com/reference/compose-file/merge).
_PAIRS = ("additional_contexts", "args", "environment")
_REPLACED = ("command", "entrypoint", "test")
_PARTS = ("services", "configs", "secrets", "volumes")


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a service mounts: its source as written (empty: the container's own), where, and how."""

    source: str
    target: str
    read_only: bool = False
    kind: str = "bind"


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """The services that are started, the configs and secrets that they name, and what was left out."""

    name: str
    services: Mapping[str, Mapping[str, Any]]
    configs: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def filled(text: Any, known: Mapping[str, str]) -> str:
    """The text with the env file's values, for what is fixed before anything runs."""
    try:
        return dotenv.substituted(str(text), known.get)
    except ValueError:
        return str(text)


def listed(value: Any) -> list[Any]:
    """The items of what may be one alone."""
    return list(value) if isinstance(value, list) else [] if value is None or value == "" else [value]


def pairs(value: Any) -> Mapping[str, Any]:
    """A mapping, also where it is written as a list of `NAME=VALUE`; a name without a value has None."""
    if isinstance(value, dict):
        return {str(name): one for name, one in value.items()}
    return {name: text if sign else None for name, sign, text in (str(one).partition("=") for one in listed(value))}


def load(root: Path, known: Mapping[str, str]) -> ComposeFile | None:
    """The Compose file of the folder, by what the env file is `known` to have; None where there is none.

    Input error where Compose cannot read it either: no YAML, or a file or service that it refers to is not there.
    """
    first = next((root / name for name in COMPOSE if (root / name).is_file()), None)
    files = [root / name for name in known.get("COMPOSE_FILE", "").split(known.get("COMPOSE_PATH_SEPARATOR") or ":")]
    remarks = []
    if not all(one.is_file() for one in files):
        if first is None:
            return None
        over = next((root / name for name in _OVERRIDES if (root / name).is_file()), None)
        files = [first] if over is None else [first, over]
        if over is not None:
            remarks.append(f"{over.name}: its settings count over those of {first.name}, as for Compose")
    loader = _Loader(root, known, remarks)
    made: Mapping[str, Any] = {}
    for file in files:
        made = _over(made, loader.read(file))
    services = {str(name): body for name, body in (made.get("services") or {}).items() if isinstance(body, dict)}
    active = {one.strip() for one in known.get("COMPOSE_PROFILES", "").split(",")} - {""}
    started = {name: body for name, body in services.items() if _is_active(body, active)}
    remarks += [f"{name}: left out, for it is in a Compose profile" for name in services if name not in started]
    return ComposeFile(
        files[0].name, started, made.get("configs") or {}, made.get("secrets") or {}, tuple(remarks)
    )  # fmt: skip


def _is_active(body: Mapping[str, Any], active: set[str]) -> bool:
    profiles = set(map(str, listed(body.get("profiles"))))
    return not profiles or "*" in active or bool(profiles & active)


@dataclass(frozen=True, slots=True)
class _Loader:
    """Reads Compose files with what they refer to; `remarks` gets what lies elsewhere."""

    root: Path
    known: Mapping[str, str]
    remarks: list[str]
    texts: dict[Path, Document] = field(default_factory=dict)

    def read(self, file: Path, seen: Sequence[Path] = (), folder: Path | None = None) -> Mapping[str, Any]:
        """The file's services, configs, secrets and volumes, those of what it includes with them; its paths are those
        of its own folder, or of `folder`."""
        document = self._document(file)
        made: Mapping[str, Any] = {}
        for at, one in enumerate(listed(document.value.get("include"))):
            entry = one if isinstance(one, dict) else {"path": one}
            for path in listed(entry.get("path")):
                written = filled(path, self.known)
                if "://" in written or written.startswith("git@"):
                    self.remarks.append(f"{written}: left out, for it is not on this machine")
                    continue
                other = file.parent / written
                if not other.is_file() or other in seen:
                    self._refuse(file, ("include", at), f"includes `{written}`, which is not there")
                place = entry.get("project_directory")
                made = _over(made, self.read(other, (*seen, file), file.parent / place if place else None))
        services = {name: self._extended(file, name, ()) for name in self._services(file)}
        own = {part: document.value.get(part) or {} for part in _PARTS[1:]}
        return _merged(made, _moved({"services": services, **own}, self._relative(folder or file.parent)))

    def _relative(self, folder: Path, of: Path | None = None) -> str:
        """The folder from the root, or from another folder whose paths are so already."""
        start = self.root if of is None else of
        return posixpath.relpath(folder.as_posix(), start.as_posix())

    def _services(self, file: Path) -> Mapping[str, Any]:
        found = self._document(file).value.get("services")
        return {name: one for name, one in found.items() if isinstance(one, dict)} if isinstance(found, dict) else {}

    def _extended(self, file: Path, name: str, seen: Sequence[tuple[Path, str]]) -> Mapping[str, Any]:
        """The service over the one that it extends; its paths are relative to its file."""
        body: Mapping[str, Any] = self._services(file)[name]
        extends = body.get("extends")
        if not extends:
            return body
        by = extends if isinstance(extends, dict) else {"service": extends}
        written, wanted = filled(by.get("file") or "", self.known), str(by.get("service") or "")
        other = file.parent / written if written else file
        at = ("services", name, "extends")
        if not other.is_file():
            self._refuse(file, at, f"{name} extends a service of `{written}`, which is not there")
        if wanted not in self._services(other) or (other, wanted) in seen:
            self._refuse(file, at, f"{name} extends the service `{wanted}`, which `{other.name}` does not have")
        base = self._extended(other, wanted, (*seen, (file, name)))
        own = {key: value for key, value in body.items() if key != "extends"}
        return _merged(_service_moved(base, self._relative(other.parent, file.parent)), own)

    def _document(self, file: Path) -> Document:
        if file not in self.texts:
            try:
                document = parse_compose(read_text(file))
            except Malformed as error:
                self._fail(file, error.line or 1, str(error))
            self.texts[file] = document if isinstance(document.value, dict) else Document({}, {})
        return self.texts[file]

    def _refuse(self, file: Path, at: tuple[str | int, ...], why: str) -> NoReturn:
        self._fail(file, self._document(file).lines.get(at, 1), why)

    def _fail(self, file: Path, line: int, why: str) -> NoReturn:
        shown = posixpath.relpath(file.as_posix(), self.root.as_posix())
        raise input_error(
            "COMPOSE_YAML", f"cannot read `{shown}`", detail=why, where=f"{shown}:{line}",
            hints=(f"docker compose -f {shown} config",),
        ) from None  # fmt: skip


def _moved(made: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    """The parts of a file with their paths from another folder, of which theirs is `folder`."""
    if folder == ".":
        return made
    services = {name: _service_moved(body, folder) for name, body in (made.get("services") or {}).items()}
    files = {part: {name: _file_moved(one, folder) for name, one in (made.get(part) or {}).items()}
             for part in ("configs", "secrets")}  # fmt: skip
    return {**made, "services": services, **files}


def _file_moved(one: Any, folder: str) -> Any:
    return {**one, "file": _beneath(folder, one["file"])} if isinstance(one, dict) and one.get("file") else one


def _beneath(folder: str, path: Any) -> str:
    text = str(path)
    return text if text.startswith(("/", "~", "$")) or "://" in text else f"./{posixpath.normpath(f'{folder}/{text}')}"


def _service_moved(body: Mapping[str, Any], folder: str) -> Mapping[str, Any]:
    """The service with its paths from another folder, of which theirs is `folder`."""
    if folder == "." or not isinstance(body, dict):
        return body
    made = dict(body)
    if isinstance(made.get("build"), str):
        made["build"] = {"context": made["build"]}
    if isinstance(made.get("build"), dict):
        made["build"] = {**made["build"], "context": _beneath(folder, made["build"].get("context") or ".")}
    if made.get("env_file"):
        made["env_file"] = [{**one, "path": _beneath(folder, one.get("path"))} if isinstance(one, dict)
                            else _beneath(folder, one) for one in listed(made["env_file"])]  # fmt: skip
    if isinstance(made.get("volumes"), list):
        made["volumes"] = type(made["volumes"])(_mount_moved(one, folder) for one in made["volumes"])
    return made


def _mount_moved(one: Any, folder: str) -> Any:
    if isinstance(one, dict):
        is_path = one.get("type") == "bind" and str(one.get("source") or "").startswith(".")
        return {**one, "source": _beneath(folder, one["source"])} if is_path else one
    source, colon, rest = str(one).partition(":")
    return f"{_beneath(folder, source)}{colon}{rest}" if source.startswith(".") else one


def mounts(body: Mapping[str, Any], known: Mapping[str, str]) -> Iterator[Mounted]:
    """What the service mounts, in its order."""
    for one in listed(body.get("volumes")):
        if isinstance(one, dict):
            source, target = filled(one.get("source") or "", known), filled(one.get("target") or "", known)
            yield Mounted(source, target, one.get("read_only") is True, str(one.get("type") or "volume"))
            continue
        written = filled(one, known)
        source, target, *options = [*written.split(":"), ""][:3] if ":" in written else ["", one]
        kind = "bind" if source.startswith((".", "/", "~")) else "volume"
        yield Mounted(source, str(target), "ro" in ",".join(options).split(","), kind)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    made: Mapping[str, Any] = _over(base, over)
    return made


def _over(base: Any, over: Any, key: str = "") -> Any:
    """The value with that of another file over it."""
    if over is RESET:
        return None
    if isinstance(over, Replaced) or base is None:
        return _plain(over)
    if key in _PAIRS:
        return {**pairs(base), **{name: one for name, one in pairs(over).items() if one is not RESET}}
    if key == "build":
        base, over = ({"context": one} if isinstance(one, str) else one for one in (base, over))
    elif key == "depends_on":
        base, over = ({name: {} for name in one} if isinstance(one, list) else one for one in (base, over))
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{name: _over(base.get(name), one, name) for name, one in over.items()}}
    if isinstance(over, list | str) and isinstance(base, list | str) and key in ("dns", "env_file", "tmpfs"):
        base, over = listed(base), listed(over)
    if isinstance(base, list) and isinstance(over, list) and key not in _REPLACED:
        paths = {mount.target for mount in mounts({key: over}, {})}
        kept = [one for one in base if not any(mount.target in paths for mount in mounts({key: [one]}, {}))]
        return [*kept, *(one for one in over if one not in kept)]
    return base if over is None else over


def _plain(value: Any) -> Any:
    """The value without what Compose's tags leave."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not RESET}
    return [_plain(one) for one in value] if isinstance(value, list) else value
