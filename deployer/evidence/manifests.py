"""What a revision changed: a unified diff of two rendered manifests, object by object, secret values masked."""

from __future__ import annotations

import difflib
from contextlib import suppress

from deployer.core.objects import identified
from deployer.core.ports import Object
from deployer.core.reading import Malformed
from deployer.core.redact import MASK
from deployer.core.yaml import block_lines, parse_manifest
from deployer.evidence.gather import masked

_CONTEXT_LINES = 4


def manifest_diff(before: str, after: str, names: tuple[str, str]) -> str:
    """The objects that differ, as YAML in the unified form; empty where none does."""
    old, new = _by_name(before), _by_name(after)
    parts: list[str] = []
    for key in sorted({*old, *new}):
        lines = difflib.unified_diff(
            _lines(old.get(key)), _lines(new.get(key), old.get(key)),
            f"{names[0]}: {key}" if key in old else "/dev/null",
            f"{names[1]}: {key}" if key in new else "/dev/null",
            n=_CONTEXT_LINES, lineterm="",
        )  # fmt: skip
        parts += lines
    return "".join(f"{line}\n" for line in parts)


def _by_name(manifest: str) -> dict[str, Object]:
    found: dict[str, Object] = {}
    documents: list[Object] = []
    with suppress(Malformed):  # a damaged revision has no objects to compare
        documents = [identified(one) for one in parse_manifest(manifest)]
    for one in documents:
        metadata = one.get("metadata") or {}
        where = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
        found[f"{where}{str(one.get('kind', '?')).lower()}/{metadata.get('name', '?')}"] = one
    return found


def _lines(one: Object | None, before: Object | None = None) -> list[str]:
    if one is None:
        return []
    shown = masked(one)
    for name in ("data", "stringData"):
        data, was = one.get(name), (before or {}).get(name)
        if isinstance(data, dict) and isinstance(was, dict):  # a masked value that differs is still a difference
            shown[name] = {
                key: f"{MASK} (changed)" if said == MASK and key in was and was[key] != data[key] else said
                for key, said in shown[name].items()
            }
    return [line for _, line in block_lines(shown)]
