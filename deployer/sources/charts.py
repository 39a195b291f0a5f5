"""Charts with their local parts put together: what Helm gets needs no `helm dependency build` for `file://`.

A staged chart is in a folder named by its content, so that it never changes while Helm reads it. Helm looks for a
dependency in `charts/` by its name (and applies aliases itself), so each is there once, whatever the file names.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deployer.config.load import is_within
from deployer.core.errors import DeployError, disk_error, input_error
from deployer.core.files import copy_within, path_component
from deployer.core.reading import Malformed, read_text
from deployer.core.values import overlaid
from deployer.core.yaml import Document, parse_texts, parse_values
from deployer.sources.build_context import Pattern, ignored, parse_dockerignore
from deployer.sources.digest import Digest, FileHashes, content_part, parts_digest
from deployer.sources.pins import Key, Pins, about, archive_files, unpacked_for_now

STAGE = "charts"
"""In which charts are fetched."""
PACK = "helm package FOLDER -d CHART/charts"
KEEP = 10  # staged folders of one chart
_STALE_SECONDS = 3600
_DIGEST_LENGTH = 16
_FIELDS = ("name", "version", "appVersion", "description", "type")
_LISTED = re.compile(r"^[\"']?dependencies\b", re.MULTILINE)
_USER = re.compile(r"^([a-z]+://)[^/@]*@")
_ALIASES = ("@", "alias:")
_GO: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False}
_EXACT = re.compile(r"=?\s*v?(\d+\.\d+\.\d+\S*)")
_LEFT_OUT = frozenset({".git", ".hg", ".svn", ".DS_Store", "Thumbs.db"})
_TEMPLATES = frozenset({".yaml", ".yml", ".tpl", ".txt", ".json"})
_KEPT = frozenset({"Chart.yaml", ".helmignore"})


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of a chart's `dependencies`, and where it is written."""

    name: str
    version: str
    repository: str
    alias: str
    where: str

    @property
    def local(self) -> bool:
        """Whether the chart lies in a folder."""
        return self.repository.startswith("file://")

    @property
    def key(self) -> Key:
        """What the lock file pins it by; a password that the repository's address may have is no part of it."""
        return _USER.sub(r"\1", self.repository).rstrip("/"), self.name, self.version


@dataclass(frozen=True, slots=True)
class ChartInfo:
    """What `Chart.yaml` says; every scalar as it is written (appVersion 1.10 is not 1.1)."""

    path: Path
    name: str
    version: str
    app_version: str
    description: str
    type: str
    dependencies: tuple[Dependency, ...]


@dataclass(frozen=True, slots=True)
class StagedChart:
    """A chart for Helm, whole unless there are `remote` dependencies (with their locked version) that it lacks."""

    path: Path
    digest: Digest
    remote: tuple[Dependency, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The files of a staged chart by their path in it, and the dependencies that are not among them."""

    files: dict[str, Path]
    missing: tuple[tuple[Dependency, str], ...]


def read_chart(chart_dir: Path) -> ChartInfo:
    """The contents of `Chart.yaml`; input error with file and line where it is not a chart."""
    path = chart_dir / "Chart.yaml"
    document = _read(path).value
    for key in ("name", "version"):  # without an `apiVersion` Helm takes it for v1
        if not _text(document, key):
            hints = (f"add `{key}`: https://helm.sh/docs/topics/charts/#the-chartyaml-file",)
            raise input_error("CHART_FIELD", f"`{path}` has no `{key}`", where=f"{path}:1", hints=hints)
    name, version, app, text, kind = (_text(document, key) for key in _FIELDS)
    path_component(name, "a chart", f"{path}:1")
    return ChartInfo(chart_dir, name, version, app, text, kind or "application", _dependencies(_listing(chart_dir)))


def stage_chart(
    chart_dir: Path,
    into: Path,
    hashes: FileHashes | None = None,
    within: Sequence[Path] = (),
    pins: Pins = MappingProxyType({}),
) -> StagedChart:
    """The chart with its dependencies of `file://` and of `pins` is in a folder of `into` named by their content.

    That folder appears whole or not at all and is used again for the same content; the newest ten of the chart stay.
    Input error, with file and line, for a missing or misnamed dependency, a cycle, a chart that cannot be read, and
    a link or dependency that leads out of the chart's folder to none of the folders `within` (links resolved).
    """
    info = read_chart(chart_dir)
    layout = _layout(chart_dir, (chart_dir.resolve(), *within))
    fetched = {f"{folder}/{pins[item.key].file}": pins[item.key] for item, folder in layout.missing if item.key in pins}
    there = {path: pin.archive(into) for path, pin in fetched.items() if pin.archive(into).is_file()}
    layout = replace(layout, files=layout.files | there)
    digest = _digest(layout, hashes or FileHashes())
    target = into / f"{info.name}-{digest.value[:_DIGEST_LENGTH]}"
    if target.is_dir():
        os.utime(target)  # the newest stay
    else:
        into.mkdir(parents=True, exist_ok=True)
        _copy(layout, digest, target)
    _prune(into, info.name, target)
    remote = tuple(item for item, folder in layout.missing if not _present(target / folder, item.name))
    return StagedChart(target, digest, remote)


def missing_parts(chart_dir: Path, within: Sequence[Path] = ()) -> tuple[Dependency, ...]:
    """The dependencies, of the chart and of its parts, that are only in a repository, with their locked versions.

    Input error as of `stage_chart`, and where `Chart.lock` is not of these dependencies.
    """
    return tuple(dict.fromkeys(item for item, _ in _layout(chart_dir, (chart_dir.resolve(), *within)).missing))


def own_values(folder: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The chart's values over those of its parts, as Helm lays them; a chart below itself is left out."""
    chain = (*above, folder.resolve())
    of_parts = {name: own_values(place, chain) for name, place in parts_of(folder) if place.resolve() not in chain}
    for name, archive in packed_parts(folder):
        with contextlib.suppress(Malformed), unpacked_for_now(archive) as place:  # helm says what is wrong with it
            of_parts[name] = own_values(place)
    path = folder / "values.yaml"
    if not path.is_file():
        return of_parts
    try:
        values = parse_values(read_text(path))
    except Malformed as error:
        raise _unreadable(path, error) from None
    return overlaid(of_parts, values if isinstance(values, dict) else {})


def parts_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """The chart's parts: each one's name among the values, and its folder; none where its files cannot be read."""
    listed = _listed(folder)
    for item in listed or ():
        places = [folder / "charts" / item.name]
        places += [_folder(item, folder)] if item.local else []
        place = next((one for one in places if (one / "Chart.yaml").is_file()), None)
        if place is not None:
            yield item.alias or item.name, place
    for path in sorted((folder / "charts").glob("[!_.]*/Chart.yaml")) if listed is not None else ():
        if path.parent.name not in {item.name for item in listed or ()}:
            yield path.parent.name, path.parent


def packed_parts(folder: Path) -> Iterator[tuple[str, Path]]:
    """As `parts_of`, the dependencies that are there as archives alone; of several versions the first that fits."""
    archives = sorted((folder / "charts").glob("*.tgz"))
    apart = {name for name, _ in parts_of(folder)}
    for item in _listed(folder) or () if archives else ():
        fitting = [one for one in archives if _is_archive(f"charts/{one.name}", item.name)]
        exact = [one for one in fitting if one.name == f"{item.name}-{item.version}.tgz"]
        if fitting and (item.alias or item.name) not in apart:
            yield item.alias or item.name, (exact or fitting)[0]


def _listed(folder: Path) -> tuple[Dependency, ...] | None:
    try:
        return read_chart(folder).dependencies
    except DeployError:  # reported with its line when the chart itself is read
        return None


def chart_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """The templates of a staged chart and of the charts in it, packed ones as well: path in the chart, and text."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix in _TEMPLATES and "templates" in name.parts and path.is_file():
            yield str(name), path.read_text(encoding="utf-8", errors="replace")
        elif path.suffix in (".tgz", ".gz") and path.is_file():
            with contextlib.suppress(OSError, Malformed):  # helm says what is wrong with it
                for inside, content in archive_files(path):
                    if "templates" in inside.split("/"):
                        yield f"{name}:{inside}", content.decode("utf-8", "replace")


def files_outside(chart_dir: Path, repository: Path, within: Sequence[Path]) -> tuple[Path, ...]:
    """The files of the chart's links and dependencies that are neither in its folder nor in the repository."""
    files = _layout(chart_dir, (chart_dir.resolve(), *within)).files.values()
    return tuple(sorted({one.resolve() for one in files if not is_within(one, (chart_dir.resolve(), repository))}))


def _layout(chart_dir: Path, within: Sequence[Path], above: tuple[Path, ...] = ()) -> _Layout:
    info = read_chart(chart_dir)
    charts = chart_dir / "charts"
    # What is unpacked in `charts` stays, with its own dependencies put into it.
    parts = {path.parent.name: path.parent for path in sorted(charts.glob("[!_.]*/Chart.yaml"))}
    names = {read_chart(path).name for path in parts.values()}
    missing: list[tuple[Dependency, str]] = []
    placed: dict[str, Path] = {}
    for index, item in enumerate(info.dependencies):
        if item.name in names:
            continue  # helm takes any version that is there, and goes by the name in its Chart.yaml
        if item.local and not (_present(charts, item.name) and _is_elsewhere(item, chart_dir)):
            parts[item.name] = placed[item.name] = _placed(item, chart_dir, placed.get(item.name), within)
        elif not _present(charts, item.name):
            if not item.repository:
                raise _absent(item, "it has no repository, and is not in the folder `charts`")
            missing.append((_locked(info, index), "charts"))
    files = dict(_files(chart_dir, frozenset(f"charts/{name}" for name in parts), within))
    real = (*above, chart_dir.resolve())
    for name, source in parts.items():
        _check_within(source, within, str(source))
        if source.resolve() in real:
            chain = " → ".join(path.name for path in (*real, source.resolve()))
            where = next((item.where for item in info.dependencies if item.name == name), str(source))
            hints = ("remove one of these dependencies",)
            raise input_error(
                "CHART_CYCLE", f"the chart `{name}` depends on itself", detail=chain, where=where, hints=hints
            )
        # An archive of the same chart is what `helm dependency build` made of an earlier state of the folder.
        files = {path: file for path, file in files.items() if not _is_archive(path, name)}
        below = _layout(source, within, real)
        files |= {f"charts/{name}/{path}": file for path, file in below.files.items()}
        missing += [(item, f"charts/{name}/{parent}") for item, parent in below.missing]
    return _Layout(files, tuple(missing))


def _locked(info: ChartInfo, index: int) -> Dependency:
    """The dependency as the chart's lock file has it, if there is one; input error where that is out of sync."""
    item = info.dependencies[index]
    listing = Path(item.where.rpartition(":")[0])
    lock = listing.with_suffix(".lock")
    if not lock.is_file():
        return item
    listed, document = _read(listing).value["dependencies"], _read(lock)
    locked, digest = document.value.get("dependencies") or [], _text(document.value, "digest")
    if len(listed) == len(locked):
        # Helm signs what an alias leads to, which is what it writes into the lock file.
        known = [
            {**one, "repository": _text(other, "repository")} if _text(one, "repository").startswith(_ALIASES) else one
            for one, other in zip(listed, locked, strict=True)
        ]
        of_helm_2 = json.dumps({"dependencies": [_as_helm(one) for one in listed]}, **_GO)
        ours = json.dumps([[_as_helm(one) for one in known], [_as_helm(one) for one in locked]], **_GO)
        texts = [ours, of_helm_2] if listing.name == "requirements.yaml" else [ours]
        if digest in {f"sha256:{hashlib.sha256(_escaped(text).encode()).hexdigest()}" for text in texts}:
            return replace(item, version=_text(locked[index], "version"), repository=_text(locked[index], "repository"))
    raise input_error(
        "CHART_LOCK",
        f"`{lock.name}` is out of sync with the dependencies in {listing.name}",
        detail="Helm takes the versions of a lock file only where it is of these very dependencies",
        where=f"{lock}:{document.lines.get(('digest',), 1)}",
        hints=(f"helm dependency update {listing.parent}, and commit {lock.name}",),
    )


def _as_helm(fields: dict[str, Any]) -> dict[str, Any]:
    """A dependency as Helm signs it: the fields of `Dependency` in their order (pkg/chart/dependency.go)."""
    found: dict[str, Any] = {"name": _text(fields, "name"), "version": _text(fields, "version")}
    found["repository"] = _text(fields, "repository")
    found |= {"condition": _text(fields, "condition"), "tags": fields.get("tags")}
    found["enabled"] = _text(fields, "enabled") == "true"
    values = fields.get("import-values") or []
    found["import-values"] = [dict(sorted(one.items())) if isinstance(one, dict) else one for one in values]
    found["alias"] = _text(fields, "alias")
    return {key: value for key, value in found.items() if value or key in ("name", "repository")}


def _escaped(text: str) -> str:
    """The JSON as Go writes it."""
    return re.sub("[<>&\u2028\u2029]", lambda match: f"\\u{ord(match[0]):04x}", text)


def _check_within(path: Path, within: Sequence[Path], where: str) -> None:
    if not is_within(path, within):
        raise input_error(
            "PATH_OUTSIDE",
            f"the chart leads out of the repository, to {path.resolve()}",
            detail="a link or dependency of a chart could read any of your files",
            where=where,
            hints=("if it is meant, allow the folder in the spec: `allowOutside: […]`", "todo-deploy validate"),
        )


def _is_elsewhere(item: Dependency, chart_dir: Path) -> bool:
    """Whether the folder of a `file://` dependency is not there, or has another chart by now."""
    with contextlib.suppress(DeployError):
        found = read_chart(_folder(item, chart_dir))
        exact = _EXACT.fullmatch(item.version)
        return found.name != item.name or (exact is not None and exact[1] != found.version.removeprefix("v"))
    return True


def _folder(item: Dependency, chart_dir: Path) -> Path:
    return Path(os.path.normpath(chart_dir / item.repository.removeprefix("file://")))


def _placed(item: Dependency, chart_dir: Path, before: Path | None, within: Sequence[Path]) -> Path:
    """The folder of a `file://` dependency; an alias may name a chart once more, but always the same one."""
    source = _folder(item, chart_dir)
    _check_within(source, within, item.where)
    if not (source / "Chart.yaml").is_file():
        raise _absent(item, f"{item.repository} is {source}, and there is no Chart.yaml")
    if before is not None and before.resolve() != source.resolve():
        detail = f"one is {before}, the other {source}"
        hints = ("remove one of them, or use `alias`",)
        raise input_error(
            "CHART_AMBIGUOUS", f"two charts have the name `{item.name}`", detail=detail, where=item.where, hints=hints
        )
    found = read_chart(source)
    _check_name(found, item)
    if (exact := _EXACT.fullmatch(item.version)) and exact[1] != found.version.removeprefix("v"):
        title = f"the chart `{item.name}` has version {found.version}, not {item.version}"
        hints = ("give the dependency the chart's version in Chart.yaml",)
        raise input_error("CHART_DEPENDENCY_VERSION", title, where=item.where, hints=hints)
    return source


def not_fetched(item: Dependency) -> DeployError:
    """Why a chart cannot be rendered: this dependency, or the chart itself, was not fetched yet."""
    chart, _, _ = item.where.rpartition("/")
    title = f"the chart `{item.name}` {item.version} was not fetched yet from {item.key[0]}"
    hints = ("todo-deploy validate, or up: it is fetched then", f"or put it into {chart}/charts: {PACK}")
    return input_error("CHART_DEPENDENCY", title, where=item.where, hints=hints)


def _absent(item: Dependency, detail: str) -> DeployError:
    hints = ("helm dependency update CHART", "or correct its name, version and repository in Chart.yaml")
    title = f"the dependency `{item.name}` is missing"
    return input_error("CHART_DEPENDENCY", title, detail=detail, where=item.where, hints=hints)


def _check_name(found: ChartInfo, item: Dependency) -> None:
    if found.name != item.name:
        title = f"the chart in `{found.path}` is named `{found.name}`, not `{item.name}`"
        raise input_error("CHART_NAME", title, where=item.where, hints=("use `alias` for another name",))


def _is_archive(path: str, name: str) -> bool:
    return re.fullmatch(rf"charts/{re.escape(name)}-v?\d[^/]*\.tgz", path) is not None


def _present(charts: Path, name: str) -> bool:
    """Whether the chart is there, in a folder or packed; helm goes by the name within, not by that of the file."""
    archives = sorted(charts.glob("*.tgz"))
    if (charts / name / "Chart.yaml").is_file() or any(_is_archive(f"charts/{one.name}", name) for one in archives):
        return True
    return any(_packed_name(one) == name for one in archives)


def _packed_name(archive: Path) -> str:
    with contextlib.suppress(Malformed, OSError):  # helm says what is wrong with it
        return about(archive)[0]
    return ""


def _files(chart_dir: Path, apart: frozenset[str], within: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """The chart's files by relative path; links are followed, as Helm follows them, never in a circle."""
    rules = _ignore_rules(chart_dir)
    pending: list[tuple[str, tuple[Path, ...]]] = [("", (chart_dir.resolve(),))]
    while pending:
        folder, above = pending.pop()
        for child in sorted((chart_dir / folder).iterdir()):
            path = f"{folder}/{child.name}" if folder else child.name
            if child.name in _LEFT_OUT or path in apart or (path not in _KEPT and ignored(rules, path)[0]):
                continue
            if child.is_symlink():
                _check_within(child, within, str(child))
            if child.is_dir():
                real = child.resolve()
                if real in above:
                    raise input_error(
                        "CHART_LINK",
                        f"the symbolic link `{child}` leads to a folder that contains it",
                        hints=(f"rm {child}",),
                    )
                pending.append((path, (*above, real)))
            elif child.is_file():
                yield path, child
            elif child.is_symlink():
                raise input_error(
                    "CHART_LINK", f"the target of the symbolic link `{child}` does not exist", hints=(f"rm {child}",)
                )


def _ignore_rules(chart_dir: Path) -> tuple[Pattern, ...]:
    # Only what Helm leaves out for certain: its `!` rules never bring a file back, they ignore others.
    file = chart_dir / ".helmignore"
    lines = [line.strip() for line in _lines(file)] if file.is_file() else []
    names = [line if "/" in line.rstrip("/") else f"**/{line}" for line in lines]
    kept = ("" if not line or line.startswith(("#", "!")) else name for line, name in zip(lines, names, strict=True))
    return parse_dockerignore("\n".join(kept), str(file))


def _lines(file: Path) -> list[str]:
    try:
        return read_text(file).splitlines()
    except Malformed as error:
        raise _unreadable(file, error) from None


def _unreadable(path: Path, error: Malformed) -> DeployError:
    title, hints = f"cannot read `{path}`", (f"helm lint {path.parent}",)
    return input_error("CHART_YAML", title, detail=str(error), where=error.at(str(path)), hints=hints)


def _digest(layout: _Layout, hashes: FileHashes) -> Digest:
    return parts_digest({path: content_part(file, hashes) for path, file in layout.files.items()})


def _copy(layout: _Layout, digest: Digest, target: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".staging-", dir=target.parent))
    try:
        for path, file in layout.files.items():
            copy_within(temporary, path, file)
        copied = _Layout({path: temporary / path for path in layout.files}, ())
        if _digest(copied, FileHashes()).value != digest.value:
            raise OSError("a file was changed while it was being copied")
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # there already: another process was faster
            detail, hints = error.strerror or str(error), ("todo-deploy up",)
            refused = input_error("CHART_COPY", f"cannot copy a chart to `{target}`", detail=detail, hints=hints)
            raise disk_error(error) or refused from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prune(into: Path, name: str, current: Path) -> None:
    ours = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{_DIGEST_LENGTH}}}")
    with contextlib.suppress(OSError):
        aged = sorted(((path.stat().st_mtime, path) for path in into.iterdir()), reverse=True)
        staged = [path for _, path in aged if ours.fullmatch(path.name) and path != current]
        stale = [path for at, path in aged if path.name.startswith(".staging-") and at < time.time() - _STALE_SECONDS]
        for path in (*staged[KEEP - 1 :], *stale):
            shutil.rmtree(path, ignore_errors=True)


def _listing(chart_dir: Path) -> Path:
    """The file whose dependencies Helm takes: whatever the `apiVersion`, the old one where it lists any."""
    old = chart_dir / "requirements.yaml"
    with contextlib.suppress(OSError, Malformed):
        if _LISTED.search(read_text(old)):
            return old
    return chart_dir / "Chart.yaml"


def _dependencies(path: Path) -> tuple[Dependency, ...]:
    """The `dependencies` of a chart's file or of its lock file."""
    document = _read(path)
    listed = document.value.get("dependencies", [])
    found = []
    for index, item in enumerate(listed if isinstance(listed, list) else []):
        fields = item if isinstance(item, dict) else {}
        where = f"{path}:{document.lines.get(('dependencies', index), 1)}"
        name, version, repository, alias = (_text(fields, key) for key in ("name", "version", "repository", "alias"))
        if not name:
            raise input_error("CHART_DEPENDENCY", "a dependency has no `name`", where=where, hints=("add its `name`",))
        for one in filter(None, (name, alias)):
            path_component(one, "a dependency", where)
        found.append(Dependency(name, version, repository, alias, where))
    return tuple(found)


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "")
    return value if isinstance(value, str) else ""


def _read(path: Path) -> Document:
    """The file's map, every scalar as its text; input error with its line where it is none."""
    try:
        document = parse_texts(read_text(path))
    except FileNotFoundError:
        raise input_error(
            "CHART_MISSING",
            f"there is no `{path}`",
            where=str(path),
            hints=("correct the chart's path in the spec", "helm create NAME"),
        ) from None
    except OSError as error:
        detail = error.strerror or ""
        hints = (f"ls -l {path}",)
        raise input_error("CHART_YAML", f"cannot read `{path}`", detail=detail, where=str(path), hints=hints) from None
    except Malformed as error:
        raise _unreadable(path, error) from None
    if not isinstance(document.value, dict):
        raise input_error(
            "CHART_YAML",
            f"`{path}` is not a mapping of keys to values",
            where=f"{path}:1",
            hints=(f"helm lint {path.parent}",),
        )
    return document
