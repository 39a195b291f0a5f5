"""The tool and the packages that it needs, packed anew as wheels from how they are installed: nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from deployer.core.reading import Malformed, parse_json
from deployer.toolchain.bundle import Content

_TOOL = "todo-deploy"
_PACKAGE = Path(__file__).parents[1]
# What an installer adds; RECORD is written anew.
_LEFT_OUT = frozenset({"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"})
_CHARTS = ("component", "workload")
"""The charts that a wheel carries and a checkout has beside the package (pyproject.toml, force-include)."""


def wheels() -> Iterator[Content]:
    """A wheel of every package that the tool needs on this machine's Python, and of itself."""
    found = _closure()
    for dist in found.values():
        raw = (_packed(_files(dist)),)
        yield Content(f"wheels/{_file_name(dist)}", raw.__iter__, len(raw[0]))


def _closure() -> Mapping[str, Distribution]:
    """Those that are installed; a requirement that is not is one of another platform or Python."""
    found: dict[str, Distribution] = {}
    wanted = [_TOOL]
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue
        for text in found[name].requires or ():
            requirement, _, marker = text.partition(";")
            named = re.match(r"[A-Za-z0-9._-]+", requirement)
            if named is not None and "extra" not in marker:
                wanted.append(named[0])
    return found


def _files(dist: Distribution) -> dict[str, bytes]:
    """The wheel's files by their path in it, as the installer's record has them."""
    found = {}
    for file in dist.files or ():
        path = Path(str(dist.locate_file(file)))
        if not {"..", "__pycache__"} & set(file.parts) and file.name not in _LEFT_OUT and path.is_file():
            found[str(file)] = path.read_bytes()
    if not _is_editable(dist):
        return found
    own = {name: raw for name, raw in found.items() if ".dist-info/" in name}
    roots = {_PACKAGE.name: _PACKAGE}
    roots |= {f"{_PACKAGE.name}/charts/{name}": _PACKAGE.parent / "charts" / name for name in _CHARTS}
    for folder, root in roots.items():
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                own[f"{folder}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return own


def _is_editable(dist: Distribution) -> bool:
    try:
        document = parse_json(dist.read_text("direct_url.json") or "{}")
    except Malformed:
        return False
    return bool((document.get("dir_info") or {}).get("editable"))


def _file_name(dist: Distribution) -> str:
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", dist.read_text("WHEEL") or "", re.MULTILINE)
    columns = [".".join(dict.fromkeys(column)) for column in zip(*tags, strict=True)] or ["py3", "none", "any"]
    return "-".join((re.sub(r"[-_.]+", "_", dist.name), dist.version, *columns)) + ".whl"


def _packed(files: Mapping[str, bytes]) -> bytes:
    """The files and their record as a zip, by the Binary Distribution Format (packaging.python.org)."""
    place = next(name for name in files if name.endswith(".dist-info/METADATA")).rpartition("/")[0]
    lines = [f"{name},sha256={_digest(raw)},{len(raw)}" for name, raw in sorted(files.items())]
    record = "\n".join([*lines, f"{place}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in (*sorted(files.items()), (f"{place}/RECORD", record)):
            archive.writestr(zipfile.ZipInfo(name), raw, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _digest(raw: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
