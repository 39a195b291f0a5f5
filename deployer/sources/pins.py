"""Charts that lie elsewhere, each pinned to one archive: the lock file beside the spec, and the archives in the cache.

The cache names an archive by its SHA-256 and is asked by that alone, so that nothing in it can go out of date.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from deployer.core.errors import DeployError, input_error
from deployer.core.files import write_private, write_within
from deployer.core.reading import Malformed, decode, read_text, shaped
from deployer.core.yaml import block_lines, parse_texts

ARCHIVES = "archives"
LARGEST, LARGEST_FILE = 100 * 2**20, 5 * 2**20
"""Bytes of an unpacked chart and of a file in it: the most that Helm loads (pkg/chart/loader/archive)."""
UPDATE = "todo-deploy charts update"
_FORMAT = "1"
_HEAD = f"# Written by todo-deploy, to be committed: the charts that are fetched. `{UPDATE}` renews it.\n"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Key = tuple[str, str, str]
"""Repository, name and version of a chart, as they are asked for."""


@dataclass(frozen=True, slots=True)
class Pin:
    """What a chart that is asked for as `requested` led to: a version, and its archive's digest (`sha256:…`)."""

    name: str
    repository: str
    requested: str
    version: str
    digest: str
    manifest: str = ""
    """The digest of its manifest, where a registry has it."""

    @property
    def key(self) -> Key:
        """What was asked for."""
        return self.repository, "" if self.repository.endswith(".tgz") else self.name, self.requested

    @property
    def file(self) -> str:
        """The archive's name in a folder `charts`."""
        return f"{self.name}-{self.version}.tgz"

    def archive(self, charts: Path) -> Path:
        """Where the cache has the archive."""
        return charts / ARCHIVES / f"{self.digest.removeprefix('sha256:')}.tgz"

    def is_cached(self, charts: Path) -> bool:
        """Whether the archive is in the cache, whole, and of the chart and version that the pin says."""
        path = self.archive(charts)
        with suppress(Malformed):
            return path.is_file() and digest_of(path) == self.digest and about(path) == (self.name, self.version)
        return False


Pins = Mapping[Key, Pin]


def lock_file(spec: Path) -> Path:
    """The lock file of a spec: `todo-deploy.lock` of `todo-deploy.yaml`."""
    return spec.with_suffix(".lock")


def digest_of(archive: Path) -> str:
    """The archive's SHA-256, as `sha256:…`."""
    with archive.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def read_lock(path: Path) -> dict[Key, Pin]:
    """What the lock file pins; none where it is not there. Input error with its line where it cannot be used."""
    try:
        document = parse_texts(read_text(path))
    except FileNotFoundError:
        return {}
    except Malformed as error:
        raise _unusable(path, str(error), error.line) from None
    value = document.value if isinstance(document.value, dict) else {}
    written = value.get("lockVersion")
    if written != _FORMAT:
        if isinstance(written, str) and written.isdecimal():
            raise input_error(
                "LOCK_NEWER", f"`{path.name}` was written by a newer todo-deploy (lockVersion {written})",
                where=f"{path.name}:{document.lines.get(('lockVersion',), 1)}",
                hints=("upgrade todo-deploy", f"or write it anew: rm {path.name}, then: {UPDATE}"),
            )  # fmt: skip
        raise _unusable(path, "it has no `lockVersion`", 1)
    found = {}
    listed = value.get("charts") or []
    for index, one in enumerate(listed if isinstance(listed, list) else []):
        line = document.lines.get(("charts", index), 1)
        try:
            pin = shaped(Pin, one)
        except Malformed as error:
            raise _unusable(path, str(error), line) from None
        if not _DIGEST.fullmatch(pin.digest) or "/" in pin.name + pin.version:
            raise _unusable(path, "`digest` is not sha256: and 64 hexadecimal digits", line)
        found[pin.key] = pin
    return found


def write_lock(path: Path, pins: Pins) -> bool:
    """The lock file has these pins and no others, whether that changed it; without any none is made. Raises OSError."""
    listed = [{key: one for key, one in asdict(pins[at]).items() if one or key == "requested"} for at in sorted(pins)]
    text = _HEAD + "\n".join(line for _, line in block_lines({"lockVersion": 1, "charts": listed})) + "\n"
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    if text == before or (before is None and not pins):
        return False
    write_private(path, text, 0o644)
    return True


def about(archive: Path) -> tuple[str, str]:
    """Name and version of a packed chart. Raises Malformed, and OSError."""
    content = next((content for path, content in archive_files(archive) if path == "Chart.yaml"), None)
    if content is None:
        raise Malformed("it has no Chart.yaml")
    found = parse_texts(decode(content)).value
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in ("name", "version")):
        raise Malformed("its Chart.yaml has no name or version")
    return found["name"], found["version"]


def archive_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a packed chart, by their path in it. Raises Malformed for what Helm does not load, and OSError."""
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for one in opened:
                if not one.isfile():
                    continue
                path = PurePosixPath(one.name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or len(path.parts) < 2:
                    raise Malformed(f"its file {one.name!r} lies outside the chart's folder")
                total += one.size
                if total > LARGEST or one.size > LARGEST_FILE:
                    most = "a file of more than 5 MiB" if one.size > LARGEST_FILE else "more than 100 MiB"
                    raise Malformed(f"unpacked it has {most}, which Helm does not load")
                stream = opened.extractfile(one)
                yield "/".join(path.parts[1:]), stream.read() if stream is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Malformed(f"it is no gzipped tar archive: {error}") from None


def unpacked(archive: Path, into: Path) -> Path:
    """The chart's folder in `into`, named like the archive: there as a whole, or made."""
    target = into / archive.stem
    if not target.is_dir():
        into.mkdir(parents=True, exist_ok=True)
        with unpacked_for_now(archive, into.parent) as folder:  # what a killed run leaves there is removed
            try:
                folder.rename(target)
            except OSError:  # another process was faster
                if not target.is_dir():
                    raise
    return target


@contextmanager
def unpacked_for_now(archive: Path, beside: Path | None = None) -> Iterator[Path]:
    """The chart's folder, for as long as it is looked at."""
    place = Path(tempfile.mkdtemp(prefix=".staging-", dir=beside))
    try:
        for path, content in archive_files(archive):
            if path != ".helmignore":  # it was heeded when the chart was packed
                write_within(place, path, content)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unusable(path: Path, why: str, line: int) -> DeployError:
    hints = (f"git checkout {path.name}", f"or write it anew: rm {path.name}, then: {UPDATE}")
    return input_error(
        "LOCK_INVALID", f"cannot use `{path.name}`", detail=why, where=f"{path.name}:{line or 1}", hints=hints
    )
