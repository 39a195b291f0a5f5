"""The toolchain of an earlier run, read from its stamp in a few milliseconds: no process is started.

The stamp holds size and time of every file it names. It says nothing about images in Docker: before a cluster is
started or repaired, `ensure_toolchain` is to be asked.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deployer.toolchain.files import fingerprint, read_json, recipe_digest, write_json
from deployer.toolchain.model import Reach, Setting, Toolchain

_FORMAT = 1
_PATHS = ("minikube", "helm", "kubectl", "docker")


def locate_toolchain(setting: Setting, cache_dir: Path) -> Toolchain | None:
    """What `ensure_toolchain` returned last, if pins, recipes and files are still the same."""
    found = read_stamp(setting, cache_dir)
    return None if found is None else found[0]


def read_stamp(setting: Setting, cache_dir: Path) -> tuple[Toolchain, Reach | None] | None:
    """The stamp's toolchain and what could be reached when it was written."""
    stamp = read_json(_stamp(setting, cache_dir))
    if stamp is None or stamp.get("key") != _key():
        return None
    try:
        files: dict[str, Any] = stamp["files"]
        if any(fingerprint(Path(path)) != known for path, known in files.items()):
            return None
        fields: dict[str, Any] = dict(stamp["toolchain"])
        for name in (*_PATHS, "bin", "kubernetes_binaries"):
            fields[name] = None if fields[name] is None else Path(fields[name])
        reach = stamp["reach"]
        return Toolchain(**fields), None if reach is None else Reach(**reach)
    except (KeyError, TypeError, AttributeError):
        return None


def write_stamp(setting: Setting, cache_dir: Path, toolchain: Toolchain, reach: Reach | None) -> None:
    """The toolchain is found again by `locate_toolchain`."""
    fields = asdict(toolchain)
    files = {str(path): fingerprint(path) for path in (getattr(toolchain, name) for name in _PATHS)}
    if toolchain.kubernetes_binaries is not None:
        files |= {str(path): fingerprint(path) for path in sorted(toolchain.kubernetes_binaries.iterdir())}
    # The links are looked at as what they lead to: a removed link is a missing file.
    files |= {str(path): fingerprint(path) for path in sorted(toolchain.bin.iterdir())}
    document = {
        "key": _key(),
        "toolchain": {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()},
        "files": files,
        "reach": None if reach is None else asdict(reach),
    }
    write_json(_stamp(setting, cache_dir), document)


def _stamp(setting: Setting, cache_dir: Path) -> Path:
    return cache_dir / "toolchain" / f"toolchain-{setting}.json"


def _key() -> list[Any]:
    """What makes an earlier answer worthless when it changes: the pins and the recipes."""
    return [_FORMAT, recipe_digest("."), hashlib.sha256((Path(__file__).parent / "pins.py").read_bytes()).hexdigest()]
