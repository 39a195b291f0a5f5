"""A bundle: one file with everything that a first `up` downloads or builds, for machines without a network.

It is a plain tar, so that any tar can list it and take the wheels out of it. `manifest.json` comes first and has size
and SHA-256 of every other member; all but the wheels are compressed with zstd. Members are files, never links, and
their names say where they belong: `toolchain/…` and `charts/…` below the cache folder, `minikube/…` below Minikube's,
`images/…` in a Docker daemon. The checksums show damage; they do not show who made the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, get_args

from deployer import __version__
from deployer.core.errors import DeployError, Problem, input_error, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.files import path_component, write_within
from deployer.core.reading import Malformed, parse_json, shaped, text_if_any
from deployer.core.steps import Steps
from deployer.toolchain.files import bundled_folder, pins_key, work_folder
from deployer.toolchain.model import Toolchain, architecture, minikube_home, operating_system
from deployer.toolchain.pins import BUILDS, RUNC_FIT
from deployer.toolchain.source.go import built

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STAGE = "bundle"
FORMAT = 1
MANIFEST = "manifest.json"
MACHINE, CLUSTER = "images/machine.tar", "images/cluster.tar"
"""The images of the machine's daemon, which make the cluster, and those of the cluster's daemon."""

Part = Literal["toolchain", "images", "bases", "charts", "wheels"]
PARTS: tuple[Part, ...] = get_args(Part)

_OF_PART: Mapping[Part, tuple[str, ...]] = {
    "toolchain": ("toolchain/", "minikube/", MACHINE),
    "images": (CLUSTER,),
    "charts": ("charts/",),
    "wheels": ("wheels/",),
}

_ROOM = 2**20  # for the manifest, which is written when everything else is
_BLOCK = 512
_CHUNK = 2**20
_SHOWN = 2**27
_LEVEL = 3  # measured: as small as gzip -9 at ten times the speed of gzip -1
_STORED = "wheels"
# What a loaded file may become, by the parts of its name; a build's folder appears as a whole.
_WHOLE = ("built", "downloaded", "bundled")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the bundle: bytes and SHA-256 as they lie in it, and its bytes once unpacked."""

    name: str
    size: int
    sha256: str
    unpacked: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Programs:
    """How the machine that saved came to its toolchain; `labels` are those of its images, by name."""

    way: Literal["path", "download", "source"]
    key: str
    """The pins and recipes that it was made by."""
    versions: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle holds, for which machines, and who made it."""

    format: int
    tool: str
    platform: str
    application: str
    programs: Programs | None = None
    machine: Mapping[str, str] = field(default_factory=dict)
    """The images of `MACHINE`: name → id."""
    cluster: Mapping[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    """Those of the cluster's images that only builds need."""
    members: tuple[Member, ...] = ()

    def part(self, name: str) -> tuple[Member, ...]:
        """The members below this folder."""
        return tuple(one for one in self.members if one.name.startswith(f"{name}/"))


@dataclass(frozen=True, slots=True)
class Content:
    """A file to be put into a bundle; `size` is what is known of its bytes beforehand, 0 where nothing is."""

    name: str
    chunks: Callable[[], Iterable[bytes]]
    size: int = 0
    executable: bool = False

    @property
    def item(self) -> str:
        """What is shown as one thing: an archive of images, or all files of a kind."""
        return self.name if self.name in (MACHINE, CLUSTER) else self.name.partition("/")[0]


def platform() -> str:
    """This machine's system and architecture."""
    return f"{operating_system()}-{architecture()}"


def new_manifest(application: str) -> Manifest:
    """An empty one of this machine."""
    return Manifest(FORMAT, __version__, platform(), application)


def file_content(name: str, path: Path) -> Content:
    """The file, under that name in the bundle."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from iter(partial(file.read, _CHUNK), b"")

    found = path.stat()
    return Content(name, chunks, found.st_size, bool(found.st_mode & 0o100))


def write_bundle(target: Path, manifest: Manifest, contents: Iterable[Content]) -> Steps[Manifest]:
    """The bundle is at `target`, whole and its owner's alone, or what was there before; returns its manifest.

    Everything is written once: sizes and checksums are filled in when they are known. Raises OSError.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            file.write(_header(MANIFEST, _ROOM) + bytes(_ROOM))
            members = []
            for content in contents:
                members.append((yield from _written(file, content)))
            file.write(bytes(2 * _BLOCK))
            complete = replace(manifest, members=tuple(members))
            text = json.dumps(asdict(complete), indent=1).encode()
            if len(text) > _ROOM:
                raise input_error(
                    "BUNDLE_LARGE", f"the list of a bundle's {len(members)} files is too long", hints=_SMALLER
                )
            file.seek(_BLOCK)
            file.write(text.ljust(_ROOM))
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return complete


def _written(file: IO[bytes], content: Content) -> Steps[Member]:
    begun = file.tell()
    file.write(_header(content.name, 0))
    counted, shown, unpacked = _Counted(file), -1, 0
    packer = None if content.name.startswith(f"{_STORED}/") else zstd.ZstdCompressor(options=_OPTIONS)
    for chunk in content.chunks():
        unpacked += len(chunk)
        counted.write(packer.compress(chunk) if packer is not None else chunk)
        if unpacked // _SHOWN != shown:
            shown = unpacked // _SHOWN
            total = content.size or None
            done = min(unpacked, content.size) if total else None
            yield Item(STAGE, content.item, ItemState.RUNNING, megabytes(unpacked), done, total)
    if packer is not None:
        counted.write(packer.flush())
    file.write(bytes(-counted.size % _BLOCK))
    end = file.tell()
    file.seek(begun)
    file.write(_header(content.name, counted.size, executable=content.executable))
    file.seek(end)
    yield Item(STAGE, content.item, ItemState.DONE, f"{PurePosixPath(content.name).name}, {megabytes(counted.size)}")
    return Member(content.name, counted.size, counted.sha.hexdigest(), unpacked, content.executable)


_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: _LEVEL,
    zstd.CompressionParameter.nb_workers: 2,
    zstd.CompressionParameter.checksum_flag: 1,
}


class _Counted:
    """Writes, and keeps size and checksum of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.sha = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha.update(data)
        self.size += len(data)


def _header(name: str, size: int, *, executable: bool = False) -> bytes:
    # One that is longer than a block for a long name is so whatever the size.
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o755 if executable else 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 10**6:.0f} MB" if size >= 10**6 else f"{size / 10**3:.0f} kB"


class Bundle:
    """An opened bundle whose manifest is that of this format and whose members are all there, not yet verified."""

    def __init__(self, path: Path, tar: tarfile.TarFile, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._tar = tar

    def verify(self) -> Steps[None]:
        """Every member has its checksum; input error BUNDLE_BROKEN otherwise."""
        total = sum(one.size for one in self.manifest.members)
        done, shown = 0, -1
        for member in self.manifest.members:
            sha = hashlib.sha256()
            for chunk in self.packed(member):
                sha.update(chunk)
                done += len(chunk)
                if done * 10 // total != shown:
                    shown = done * 10 // total
                    yield Item(STAGE, "checksums", ItemState.RUNNING, "", done, total)
            if sha.hexdigest() != member.sha256:
                raise _broken(self.path, f"{member.name} has another SHA-256 than the manifest says")
        yield Item(STAGE, "checksums", ItemState.DONE, f"{len(self.manifest.members)} files, {megabytes(total)}")

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The member's unpacked content; BUNDLE_BROKEN where that is not what the manifest says."""
        size = 0
        try:
            for chunk in self._unpacked(member):
                size += len(chunk)
                if size > member.unpacked:
                    break
                yield chunk
        except (zstd.ZstdError, EOFError) as error:
            raise _broken(self.path, f"{member.name}: {error}") from None
        if size != member.unpacked:
            raise _broken(self.path, f"{member.name} does not have the {member.unpacked} bytes that it should")

    def only(self, parts: Collection[Part]) -> Bundle:
        """The bundle as if it had these parts alone."""
        unwanted = {one for part, names in _OF_PART.items() if part not in parts for one in names}
        if "bases" in parts:
            unwanted -= {CLUSTER}
        left = tuple(one for one in self.manifest.members if not any(one.name.startswith(name) for name in unwanted))
        programs = self.manifest.programs if "toolchain" in parts else None
        return Bundle(self.path, self._tar, replace(self.manifest, members=left, programs=programs))

    def member(self, name: str) -> Member | None:
        """The member of that name, where there is one."""
        return next((one for one in self.manifest.members if one.name == name), None)

    def _unpacked(self, member: Member) -> Iterator[bytes]:
        if member.name.startswith(f"{_STORED}/"):
            yield from self.packed(member)
            return
        with self._open(member) as packed, zstd.ZstdFile(packed) as file:
            yield from iter(partial(file.read, _CHUNK), b"")

    def packed(self, member: Member) -> Iterator[bytes]:
        """The member's bytes as they lie in the bundle."""
        with self._open(member) as file:
            yield from iter(partial(file.read, _CHUNK), b"")

    def _open(self, member: Member) -> IO[bytes]:
        opened = self._tar.extractfile(member.name)
        assert opened is not None
        return opened


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """The bundle; input error where the file is none, is broken, or is not for this tool or machine."""
    try:
        tar = tarfile.open(path, "r:")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise input_error("BUNDLE_UNREADABLE", f"cannot read {path}", detail=error.strerror or "",
                          hints=(f"ls -l {path}",)) from None  # fmt: skip
    except tarfile.TarError:
        raise _foreign(path) from None
    with tar:
        try:
            first = tar.next()
            opened = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            if opened is None:
                raise _foreign(path)
            manifest = _manifest(path, opened.read(_ROOM))
            there = {one.name: one for one in tar}
        except (tarfile.TarError, OSError) as error:
            raise _broken(path, str(error)) from None
        for member in manifest.members:
            found = there.get(member.name)
            if found is None or not found.isreg() or found.size != member.size:
                raise _broken(path, f"{member.name} is not in it as the manifest says; it may have been cut off")
        yield Bundle(path, tar, manifest)


def _manifest(path: Path, raw: bytes) -> Manifest:
    try:
        document: Any = parse_json(raw)
        known = document.get("format") if isinstance(document, dict) else None
        if isinstance(known, int) and known > FORMAT:
            raise input_error(
                "BUNDLE_NEWER",
                f"{path.name} was made by a newer todo-deploy ({document.get('tool', '')})",
                detail=f"it has format {known}; this version ({__version__}) reads {FORMAT}",
                where=str(path),
                hints=(_INSTALL.format(path=path), "or save the bundle with this version"),
            )
        manifest = shaped(Manifest, document)
    except Malformed as error:
        raise _broken(path, f"{MANIFEST}: {error}") from None
    path_component(manifest.application, "an application", str(path))
    for member in manifest.members:
        if not _is_placed(member.name):
            raise _broken(path, f"no file may have the name {member.name!r}")
    if manifest.platform != platform():
        raise input_error(
            "BUNDLE_PLATFORM",
            f"{path.name} is for {manifest.platform}, and this machine is {platform()}",
            where=str(path),
            hints=(f"todo-deploy bundle save, on a machine that is {platform()}",),
        )
    return manifest


def _is_placed(name: str) -> bool:
    """Whether the name is one of those that are put somewhere, and leads nowhere else."""
    parts = PurePosixPath(name).parts
    if "/".join(parts) != name or "\\" in name or not all(part.strip(". ") and ":" not in part for part in parts):
        return False
    if name in (MACHINE, CLUSTER):
        return True
    if len(parts) == 4 and parts[0] == "toolchain":
        return parts[1] in _WHOLE
    return (len(parts) >= 3 and parts[:2] in (("minikube", "cache"), ("charts", "archives"))) or (
        len(parts) == 2 and parts[0] == _STORED
    )


def unpack(bundle: Bundle, cache_dir: Path, minikube: Path) -> Steps[int]:
    """The toolchain's files and the charts' dependencies are in their folders; returns how many were not yet.

    To be used under the toolchain's lock. A folder of programs appears whole, every other file too.
    """
    new = 0
    folders: dict[str, list[Member]] = {}
    for member in bundle.manifest.part("toolchain"):
        folders.setdefault(str(PurePosixPath(member.name).parent), []).append(member)
    for name, members in folders.items():
        target = cache_dir / name
        if target.is_dir():
            continue
        new += len(members)
        yield Item(STAGE, "files", ItemState.RUNNING, f"unpacking {target.name}")
        with work_folder(cache_dir, f"bundle-{target.name}") as folder:
            for member in members:
                _write(bundle, member, folder, PurePosixPath(member.name).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
    for member in (*bundle.manifest.part("minikube"), *bundle.manifest.part("charts")):
        first, _, rest = member.name.partition("/")
        root, path = (minikube, rest) if first == "minikube" else (cache_dir, member.name)
        if not (root / path).is_file() or (root / path).stat().st_size != member.unpacked:
            new += 1
            _write(bundle, member, root, path)
    yield Item(STAGE, "files", ItemState.DONE if new else ItemState.UNCHANGED, f"{new} unpacked")
    return new


def _write(bundle: Bundle, member: Member, root: Path, path: str) -> None:
    def write(stream: IO[bytes]) -> None:
        for chunk in bundle.chunks(member):
            stream.write(chunk)

    write_within(root, path, write, 0o755 if member.executable else 0o644)


def needed_bytes(manifest: Manifest) -> int:
    """What loading the bundle writes into the cache folder at most."""
    kept = sum(one.size for one in manifest.members if one.name == CLUSTER)
    return kept + sum(one.unpacked for one in manifest.members if not one.name.startswith(("images/", "wheels/")))


def refuse_full(folder: Path, needed: int) -> None:
    """The folder's disk has so many bytes free; machine error DISK_FULL otherwise."""
    there = next(one for one in (folder, *folder.parents) if one.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise machine_error(
            "DISK_FULL",
            f"the disk of {folder} has {megabytes(free)} free, and the bundle needs {megabytes(needed)}",
            where=str(folder),
            hints=("df -h", *_SMALLER),
        )


_SMALLER = ("leave a part out: --without images, bases, toolchain, charts or wheels",)
_INSTALL = "tar -xf {path} wheels && pip install --no-index --find-links wheels --upgrade todo-deploy"


def other_pins(path: Path, manifest: Manifest) -> Problem:
    """Why this version of the tool cannot use the bundle's toolchain."""
    return Problem(
        "BUNDLE_TOOL",
        f"the toolchain of {path.name} is that of another version of todo-deploy ({manifest.tool})",
        detail=f"this is {__version__}, which pins or builds other programs",
        where=str(path),
        hints=(_INSTALL.format(path=path), "or load the rest: --without toolchain"),
    )


def _broken(path: Path, detail: str) -> DeployError:
    return input_error(
        "BUNDLE_BROKEN",
        f"{path.name} is damaged or not complete; nothing of it is used",
        detail=detail,
        where=str(path),
        hints=("copy it once more, or: todo-deploy bundle save FILE",),
    )


def _foreign(path: Path) -> DeployError:
    return input_error(
        "BUNDLE_FOREIGN", f"{path.name} is not a bundle of todo-deploy", where=str(path),
        hints=("todo-deploy bundle save FILE makes one",),
    )  # fmt: skip


DAMAGED = (OSError, EOFError, zstd.ZstdError, DeployError)
"""What reading an archive raises that is not what was once written, and what Docker says of it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The images of a loaded bundle that wait in the cache for a cluster; `archive` is in Docker's format, packed."""

    archive: Path
    images: Mapping[str, str]
    bases: tuple[str, ...]

    def chunks(self) -> Iterator[bytes]:
        """The archive, unpacked. Raises one of `DAMAGED`."""
        with zstd.open(self.archive, "rb") as file:
            yield from iter(partial(file.read, _CHUNK), b"")


def keep_images(bundle: Bundle, cache_dir: Path) -> Steps[bool]:
    """The images of the cluster wait in the cache, in place of those of an earlier bundle; returns whether new."""
    member, manifest = bundle.member(CLUSTER), bundle.manifest
    if member is None:
        return False
    name, folder = f"{manifest.application}-{member.sha256[:12]}", _kept_folder(cache_dir)
    document = {"archive": f"{name}.tar.zst", "images": dict(manifest.cluster), "bases": list(manifest.bases)}
    text = json.dumps(document)
    listed = folder / f"{manifest.application}.json"
    archive = folder / f"{name}.tar.zst"
    if archive.is_file() and archive.stat().st_size == member.size and text_if_any(listed) == text:
        return False
    yield Item(STAGE, "cluster's images", ItemState.RUNNING, f"keeping {len(manifest.cluster)} for the next up")

    def write(stream: IO[bytes]) -> None:
        for chunk in bundle.packed(member):
            stream.write(chunk)

    write_within(folder, archive.name, write)
    write_within(folder, listed.name, text)
    for stale in folder.glob(f"{manifest.application}-????????????.tar.zst"):
        if stale != archive:
            stale.unlink()
    yield Item(STAGE, "cluster's images", ItemState.DONE, f"{len(manifest.cluster)} kept for the next up")
    return True


def kept_images(application: str, cache_dir: Path) -> Kept | None:
    """The images that a bundle of the application left in the cache; None where there are none."""
    folder = _kept_folder(cache_dir)
    with suppress(OSError, Malformed):
        found = shaped(_Listed, parse_json((folder / f"{application}.json").read_bytes()))
        if (folder / found.archive).is_file():
            return Kept(folder / found.archive, found.images, found.bases)
    return None


@dataclass(frozen=True, slots=True)
class _Listed:
    archive: str
    images: Mapping[str, str]
    bases: tuple[str, ...] = ()


def _kept_folder(cache_dir: Path) -> Path:
    return cache_dir / "bundles"


def toolchain_files(
    toolchain: Toolchain, cache_dir: Path, env: Mapping[str, str], kubernetes: str
) -> Iterator[Content]:
    """The toolchain's programs, and what Minikube keeps of a cluster of that version so that it need not fetch it."""
    if toolchain.way == "source":
        for build in (*BUILDS, RUNC_FIT):
            folder = built(cache_dir, build)
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                yield file_content(f"toolchain/built/{folder.name}/{path.name}", path)
    made = cache_dir / "toolchain" / "built"
    for name in ("minikube", "helm", "kubectl"):
        if getattr(toolchain, name).is_relative_to(made):
            continue
        program: Path = getattr(toolchain, name).resolve()
        with program.open("rb") as file:
            if file.read(2) == b"#!" or not program.name.startswith(name):
                raise machine_error(
                    "BUNDLE_PROGRAM", f"{name} is started by {program}, which works on this machine alone",
                    hints=("todo-deploy up --toolchain download", "todo-deploy bundle save FILE --toolchain download"),
                )  # fmt: skip
        yield file_content(f"{bundled_folder(pins_key())}/{name}", program)
    if toolchain.way == "source":
        return
    home = minikube_home(env)
    for path in sorted((home / "cache").rglob("*")):
        name = path.relative_to(home / "cache").as_posix()
        versioned = name.startswith(("linux/", "preloaded-tarball/")) and kubernetes in name
        if path.is_file() and (versioned or name.startswith(("kic/", "images/"))):
            yield file_content(f"minikube/cache/{name}", path)
