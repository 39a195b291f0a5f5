"""Programs as their makers publish them: fetched once, checked by SHA-256, carried on after an interruption.

Tried against a local HTTP server in the tests, not against upstream's hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable
from http.client import HTTPException
from pathlib import Path

from deployer.core.errors import DeployError, machine_error
from deployer.core.events import Item, ItemState
from deployer.core.steps import Steps
from deployer.toolchain.files import work_folder
from deployer.toolchain.model import STAGE, architecture, operating_system
from deployer.toolchain.pins import DOWNLOAD_PLATFORMS, Download

PINS = Path(__file__).parent / "pins.json"
ATTEMPTS = 4
_CHUNK = 256 * 1024
_TIMEOUT = 30.0


def downloaded(cache_dir: Path, item: Download) -> Path:
    """Where the program is once it was fetched."""
    folder = f"{item.name}-{item.version}-{operating_system()}-{architecture()}"
    return cache_dir / "toolchain" / "downloaded" / folder / item.name


def ensure_downloaded(cache_dir: Path, item: Download) -> Steps[Path]:
    """The program is in the cache, whole and checked."""
    target = downloaded(cache_dir, item)
    if target.exists():
        return target
    platform = f"{operating_system()}-{architecture()}"
    if platform not in DOWNLOAD_PLATFORMS:
        raise machine_error(
            "TOOLCHAIN_PLATFORM",
            f"{item.name} is not published for {platform}",
            hints=("set `toolchain: path` and install it yourself",),
        )
    url = _fill(item.url, item, platform)
    part = target.parent.with_name(f"{target.parent.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    wanted = pinned(item, platform) or _published(item, platform)
    if not part.exists() or _sha256(part) != wanted:  # a run may have been killed after the last byte
        yield from _fetch(url, part, item.name)
    if _sha256(part) != wanted:
        part.unlink()
        yield Item(STAGE, item.name, ItemState.FAILED)
        raise machine_error(
            "TOOLCHAIN_CHECKSUM",
            f"checksum mismatch: the download of {item.name} {item.version} is not the published file",
            detail="the SHA-256 differs; the file was removed",
            where=url,
            hints=("run the command again", "if it happens again, a proxy may change files on the way"),
        )
    with work_folder(cache_dir, f"download-{item.name}") as folder:
        program = folder / item.name
        if item.member:
            _extract(part, _fill(item.member, item, platform), program)
        else:
            part.replace(program)
        program.chmod(0o755)
        folder.rename(target.parent)
    part.unlink(missing_ok=True)
    yield Item(STAGE, item.name, ItemState.DONE, item.version)
    return target


def pinned(item: Download, platform: str) -> str | None:
    """The SHA-256 that the committed pins have for this version on this platform."""
    known = json.loads(PINS.read_text(encoding="utf-8")).get(item.name, {})
    checksum: str | None = known.get("sha256", {}).get(platform) if known.get("version") == item.version else None
    return checksum


def published_pins(items: Iterable[Download]) -> dict[str, dict[str, object]]:
    """What `pins.json` holds: for each program its version and, by platform, the SHA-256 that upstream publishes."""
    return {
        item.name: {
            "version": item.version,
            "sha256": {one: _published(item, one) for one in sorted(DOWNLOAD_PLATFORMS)},
        }
        for item in items
    }


def _fill(template: str, item: Download, platform: str) -> str:
    system, _, processor = platform.partition("-")
    return template.format(version=item.version, os=system, arch=processor)


def _published(item: Download, platform: str) -> str:
    """The checksum in the file that upstream publishes beside the program."""
    name, url = item.name, _fill(item.url, item, platform) + item.checksum_suffix
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 (pinned https addresses)
            text = answer.read(1024).decode("ascii", "replace")
    except (OSError, HTTPException) as error:
        raise _failed(name, url, error) from error
    match = re.match(r"[0-9a-f]{64}\b", text)
    if match is None:
        raise machine_error(
            "TOOLCHAIN_DOWNLOAD", f"upstream's checksum of {name} cannot be read", where=url, hints=_hints()
        )
    return match[0]


def _fetch(url: str, part: Path, name: str) -> Steps[None]:
    """The whole answer is in `part`, on disk; what is there already is not fetched again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            yield from _attempt(url, part, name)
            return
        except urllib.error.HTTPError as error:
            error.close()
            # Other answers in the 400s do not become better by asking again.
            if error.code == 416:
                part.unlink(missing_ok=True)
            elif error.code < 500 or attempt == ATTEMPTS:
                raise _failed(name, url, error) from error
        except (OSError, HTTPException) as error:
            if attempt == ATTEMPTS:
                raise _failed(name, url, error) from error
        yield Item(STAGE, name, ItemState.RUNNING, "the transfer broke off; carrying on")
        time.sleep(0.2 * attempt)


def _attempt(url: str, part: Path, name: str) -> Generator[Item, None, None]:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
        if answer.status != 206:
            have = 0  # the server does not carry on: from the start
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        shown = -1
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                if total and have * 20 // total != shown:
                    shown = have * 20 // total
                    yield Item(STAGE, name, ItemState.RUNNING, "downloading", done=have, total=total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise ConnectionError(f"{have} of {total} bytes arrived")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _extract(archive: Path, member: str, target: Path) -> None:
    try:
        with tarfile.open(archive) as opened, target.open("wb") as file:
            source = opened.extractfile(member)
            while source is not None and (chunk := source.read(_CHUNK)):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except (KeyError, tarfile.TarError) as error:
        raise machine_error(
            "TOOLCHAIN_ARCHIVE",
            f"the archive does not contain {member}",
            detail=str(error),
            where=str(archive),
            hints=(f"rm {archive}, and run the command again",),
        ) from error


def _failed(name: str, url: str, error: Exception) -> DeployError:
    return machine_error(
        "TOOLCHAIN_DOWNLOAD", f"{name} could not be downloaded", detail=str(error), where=url, hints=_hints()
    )


def _hints() -> tuple[str, ...]:
    return ("run the command again: it carries on where it stopped", "todo-deploy doctor")
