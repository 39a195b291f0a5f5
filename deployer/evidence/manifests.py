"""What a revision changed: a unified diff of two rendered manifests, object by object, secret values masked."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from deployer.core.objects import identified
from deployer.core.ports import Object
from deployer.core.reading import Malformed
from deployer.core.redact import MASK
from deployer.core.yaml import parse_manifest
from deployer.evidence.masks import masked

_CONTEXT_LINES = 4
_BARE = re.compile(r"[A-Za-z/_.][\w./:@+ -]*")
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})


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


def yaml_lines(value: Any, indent: str = "") -> Iterator[str]:
    """The value as YAML: for reading and comparing, one way to write each value."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", one, indent + "  ")
    elif isinstance(value, list) and value:
        for one in value:
            first, *rest = yaml_lines(one, indent + "  ")
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
    elif isinstance(value, str) and "\n" in value:
        yield f"{indent}|"
        yield from (f"{indent}  {line}" for line in value.splitlines())
    else:
        yield indent + _scalar(value)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield head
        yield from yaml_lines(value, indent)
    elif isinstance(value, str) and "\n" in value:
        yield f"{head} |"
        yield from (f"{indent}{line}" for line in value.splitlines())
    else:
        yield f"{head} {_scalar(value)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str) and (value == MASK or value.startswith(f"{MASK} ")):
        return value
    bare = isinstance(value, str) and _BARE.fullmatch(value) and value.lower() not in _WORDS
    if bare and ": " not in value and not value.endswith((" ", ":")):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)


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
                key: f"{MASK} (changed)" if told == MASK and key in was and was[key] != data[key] else told
                for key, told in shown[name].items()
            }
    return list(yaml_lines(shown))
