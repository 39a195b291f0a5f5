"""Charts with their local parts put together: what Helm gets needs no `helm dependency build` for `file://`.

A staged chart lies in a folder named by its content, so that it never changes while Helm reads it. Helm looks for a
dependency in `charts/` by its name (and applies aliases itself), so each is there once, whatever the file names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.context import Pattern, ignored, parse_dockerignore
from deployer.digest import Digest, FileHashes, content_part, parts_digest
from deployer.errors import DeployError, input_error

KEEP = 10
_STALE_SECONDS = 3600
_DIGEST_LENGTH = 16
_EXACT = re.compile(r"=?\s*v?(\d+\.\d+\.\d+\S*)")
_LEFT_OUT = frozenset({".git", ".hg", ".svn", ".DS_Store", "Thumbs.db"})
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
class RemoteDependency:
    """A dependency that must be fetched into the folder `into` (`helm pull`); the version is the locked one if any."""

    name: str
    version: str
    repository: str
    into: Path


@dataclass(frozen=True, slots=True)
class StagedChart:
    """A chart that Helm can read from `path`, once what `remote` names is fetched."""

    path: Path
    digest: Digest
    remote: tuple[RemoteDependency, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The files of a staged chart by their path in it, and the dependencies that are not among them."""

    files: dict[str, Path]
    missing: tuple[tuple[str, Dependency, str], ...]


def read_chart(chart_dir: Path) -> ChartInfo:
    """What the chart says about itself; input error with file and line when it is no chart."""
    path = chart_dir / "Chart.yaml"
    document = _mapping(path)
    for key in ("apiVersion", "name", "version"):
        if not document.get(key, _EMPTY).text:
            raise input_error("chart-field", f"`{path}` has no `{key}`", where=f"{path}:1")
    dependencies = document.get("dependencies", _EMPTY)
    source = path
    if document["apiVersion"].text == "v1" and (chart_dir / "requirements.yaml").is_file():
        source = chart_dir / "requirements.yaml"
        dependencies = _mapping(source).get("dependencies", _EMPTY)
    texts = {key: document.get(key, _EMPTY).text for key in ("name", "version", "appVersion", "description", "type")}
    return ChartInfo(
        chart_dir,
        texts["name"],
        texts["version"],
        texts["appVersion"],
        texts["description"],
        texts["type"] or "application",
        tuple(_dependency(item, source) for item in dependencies.items),
    )


def chart_digest(chart_dir: Path, hashes: FileHashes | None = None) -> Digest:
    """The digest of the chart and of all its `file://` dependencies, as they would be staged; nothing is copied.

    Input error, with file and line, for a missing or misnamed dependency, a cycle, or a chart that cannot be read.
    """
    return _digest(_layout(chart_dir), hashes or FileHashes())


def stage_chart(chart_dir: Path, into: Path, hashes: FileHashes | None = None) -> StagedChart:
    """The chart and all its `file://` dependencies are in a folder of `into` named by their content.

    That folder appears whole or not at all and is used again for the same content; the newest ten of the chart stay.
    Input error as for `chart_digest`.
    """
    info = read_chart(chart_dir)
    layout = _layout(chart_dir)
    digest = _digest(layout, hashes or FileHashes())
    target = into / f"{info.name}-{digest.value[:_DIGEST_LENGTH]}"
    if target.is_dir():
        os.utime(target)  # the newest stay
    else:
        into.mkdir(parents=True, exist_ok=True)
        _copy(layout, into, target)
    _prune(into, info.name, target)
    remote = tuple(
        RemoteDependency(item.name, version, item.repository, target / parent / "charts")
        for parent, item, version in layout.missing
        if not _unpacked(target / parent / "charts", item.name)
    )
    return StagedChart(target, digest, remote)


def _layout(chart_dir: Path, above: tuple[Path, ...] = ()) -> _Layout:
    real = chart_dir.resolve()
    info = read_chart(chart_dir)
    files = dict(_files(chart_dir))
    missing: list[tuple[str, Dependency, str]] = []
    placed: dict[str, Path] = {}
    locked = _locked(chart_dir)
    for item in info.dependencies:
        if _unpacked(chart_dir / "charts", item.name, folders_only=item.local):
            continue
        if not item.local:
            if not item.repository:
                raise _absent(item, "it has no repository, and is not in the folder `charts`")
            missing.append(("", item, locked.get(item.name, item.version)))
            continue
        source = _source(item, chart_dir)
        if source.resolve() in (*above, real):
            chain = " → ".join(path.name for path in (*above, real, source.resolve()))
            raise input_error(
                "chart-cycle", f"the chart `{item.name}` depends on itself", detail=chain, where=item.where
            )
        if item.name in placed:
            if placed[item.name].resolve() != source.resolve():
                detail = f"one is {placed[item.name]}, the other {source}"
                title = f"two charts are named `{item.name}`"
                raise input_error("chart-ambiguous", title, detail=detail, where=item.where)
            continue
        placed[item.name] = source
        _check_match(read_chart(source), item)
        # An archive of the same chart is what `helm dependency build` made of an earlier state of the folder.
        files = {path: file for path, file in files.items() if not _is_archive(path, item.name)}
        below = _layout(source, (*above, real))
        files |= {f"charts/{item.name}/{path}": file for path, file in below.files.items()}
        missing += [(f"charts/{item.name}/{at}".rstrip("/"), lost, version) for at, lost, version in below.missing]
    return _Layout(files, tuple(missing))


def _source(item: Dependency, chart_dir: Path) -> Path:
    source = Path(os.path.normpath(chart_dir / item.repository.removeprefix("file://")))
    if not (source / "Chart.yaml").is_file():
        what = "there is no Chart.yaml in it" if source.is_dir() else "there is no such folder"
        raise _absent(item, f"{item.repository} is {source}: {what}")
    return source


def _absent(item: Dependency, detail: str) -> DeployError:
    return input_error("chart-dependency", f"the chart `{item.name}` is not there", detail=detail, where=item.where)


def _check_match(found: ChartInfo, item: Dependency) -> None:
    exact = _EXACT.fullmatch(item.version)
    if found.name != item.name:
        title = f"the chart in `{found.path}` is named `{found.name}`, not `{item.name}`"
        raise input_error("chart-name", title, where=item.where, hints=("use `alias` for another name",))
    if exact is not None and exact[1] != found.version.removeprefix("v"):
        # Helm would leave such a dependency out without a word.
        title = f"the chart `{item.name}` has version {found.version}, not {item.version}"
        raise input_error("chart-version", title, where=item.where)


def _is_archive(path: str, name: str) -> bool:
    return re.fullmatch(rf"charts/{re.escape(name)}-v?\d[^/]*\.tgz", path) is not None


def _unpacked(charts: Path, name: str, *, folders_only: bool = False) -> bool:
    """Whether the dependency is in the folder: unpacked under its name, or (unless only folders count) as archive."""
    if folders_only or not charts.is_dir() or (charts / name / "Chart.yaml").is_file():
        return (charts / name / "Chart.yaml").is_file()
    return any(_is_archive(f"charts/{path.name}", name) for path in charts.iterdir())


def _files(chart_dir: Path) -> Iterator[tuple[str, Path]]:
    """The chart's files by relative path; links are followed, as Helm follows them, but never in a circle."""
    rules = _ignore_rules(chart_dir)
    pending: list[tuple[str, tuple[Path, ...]]] = [("", (chart_dir.resolve(),))]
    while pending:
        folder, above = pending.pop()
        for child in sorted((chart_dir / folder).iterdir()):
            path = f"{folder}/{child.name}" if folder else child.name
            if child.name in _LEFT_OUT or (path not in _KEPT and ignored(rules, path)[0]):
                continue
            if child.is_dir():
                real = child.resolve()
                if real in above:
                    raise input_error("chart-link", f"the link `{child}` leads to a folder that holds it")
                pending.append((path, (*above, real)))
            elif child.is_file():
                yield path, child
            elif child.is_symlink():
                raise input_error("chart-link", f"the link `{child}` leads nowhere")


def _ignore_rules(chart_dir: Path) -> tuple[Pattern, ...]:
    # Only what Helm leaves out for certain: its `!` rules never bring a file back, they ignore others.
    file = chart_dir / ".helmignore"
    lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()] if file.is_file() else []
    names = [line if "/" in line.rstrip("/") else f"**/{line}" for line in lines]
    kept = ("" if line.startswith(("#", "!")) else name for line, name in zip(lines, names, strict=True))
    return parse_dockerignore("\n".join(kept), str(file))


def _digest(layout: _Layout, hashes: FileHashes) -> Digest:
    return parts_digest({path: content_part(file, hashes) for path, file in layout.files.items()})


def _copy(layout: _Layout, into: Path, target: Path) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=".staging-", dir=into))
    try:
        for path, file in layout.files.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, temporary / path)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else was faster: the same name is the same content
            temporary.rename(target)
    except OSError as error:
        raise input_error("chart-copy", f"cannot copy a chart into `{into}`", detail=error.strerror or "") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if not target.is_dir():
        raise input_error("chart-copy", f"cannot make `{target}`")


def _prune(into: Path, name: str, current: Path) -> None:
    ours = re.compile(rf"{re.escape(name)}-[0-9a-f]{{{_DIGEST_LENGTH}}}")
    with contextlib.suppress(OSError):
        aged = sorted(((path.stat().st_mtime, path) for path in into.iterdir()), reverse=True)
        staged = [path for _, path in aged if ours.fullmatch(path.name) and path != current]
        stale = [path for at, path in aged if path.name.startswith(".staging-") and at < time.time() - _STALE_SECONDS]
        for path in (*staged[KEEP - 1 :], *stale):
            shutil.rmtree(path, ignore_errors=True)


def _locked(chart_dir: Path) -> dict[str, str]:
    for name in ("Chart.lock", "requirements.lock"):
        if (chart_dir / name).is_file():
            with contextlib.suppress(DeployError):
                items = _mapping(chart_dir / name).get("dependencies", _EMPTY).items
                return {item.get("name").text: item.get("version").text for item in items}
    return {}


def _dependency(item: _Yaml, path: Path) -> Dependency:
    where = f"{path}:{item.line}"
    texts = [item.get(key).text for key in ("name", "version", "repository", "alias")]
    if not texts[0]:
        raise input_error("chart-dependency", "a dependency has no `name`", where=where)
    return Dependency(texts[0], texts[1], texts[2], texts[3], where)


@dataclass(frozen=True, slots=True)
class _Yaml:
    """A YAML node with its line: the text of a scalar, the items of a list, the fields of a map."""

    line: int
    text: str = ""
    items: tuple[_Yaml, ...] = ()
    fields: tuple[tuple[str, _Yaml], ...] = ()

    def get(self, key: str) -> _Yaml:
        return dict(self.fields).get(key, _EMPTY)


_EMPTY = _Yaml(0)


def _mapping(path: Path) -> dict[str, _Yaml]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        node = YAML(typ="safe", pure=True).compose(path.read_text("utf-8-sig"))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        title = f"there is no `{path}`" if missing else f"cannot read `{path}`"
        raise input_error("chart-missing", title, detail="" if missing else error.strerror or "") from None
    except (YAMLError, ValueError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        detail = str(getattr(error, "problem", None) or "not UTF-8 text")
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise input_error("chart-yaml", f"`{path}` is not YAML", detail=detail, where=where) from None
    parsed = _plain(node) if node is not None else _EMPTY
    if not parsed.fields:
        raise input_error("chart-yaml", f"`{path}` is not a map of keys to values", where=f"{path}:1")
    return dict(parsed.fields)


def _plain(node: Any) -> _Yaml:
    line = node.start_mark.line + 1
    if isinstance(node.value, str):
        return _Yaml(line, "" if str(node.tag).endswith(":null") else node.value)
    if node.value and isinstance(node.value[0], tuple):
        return _Yaml(line, fields=tuple((str(key.value), _plain(value)) for key, value in node.value))
    return _Yaml(line, items=tuple(map(_plain, node.value)))
