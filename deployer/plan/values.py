"""Helm values: maps over maps, addresses of URLs in texts, templates at dotted paths."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from deployer.config.spec import path_keys
from deployer.core.errors import DeployError, ExitCode, Problem, input_error

_URL_REFERENCE = re.compile(r"\$\{url:([a-z0-9-]+)\}")


def overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `under` with `over` laid over it: maps merge, all else replaces, as Helm does it with values."""
    result = copy.deepcopy(dict(under))
    for key, value in over.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = overlaid(below, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def with_urls(value: Any, addresses: Mapping[str, str]) -> Any:
    """`${url:NAME}` replaced by the address the URL is served at."""
    if isinstance(value, dict):
        return {key: with_urls(item, addresses) for key, item in value.items()}
    if isinstance(value, list):
        return [with_urls(item, addresses) for item in value]
    if isinstance(value, str):
        return _URL_REFERENCE.sub(lambda match: _address(match[1], addresses), value)
    return value


def _address(url: str, addresses: Mapping[str, str]) -> str:
    if url not in addresses:
        known = ", ".join(sorted(addresses)) or "none"
        raise input_error(
            "URL_REFERENCE", f"a value needs the address of url `{url}`, which has no nodePort", detail=f"with: {known}"
        )
    return addresses[url]


def filled(template: str, known: Mapping[str, str], release: str, path: str) -> str:
    try:
        return template.format_map(known)
    except (KeyError, ValueError, IndexError, AttributeError):
        names = ", ".join(f"{{{name}}}" for name in known)
        raise input_error(
            "VALUE_TEMPLATE", f"releases.{release}: `{template}` for `{path}` is not a template of {names}"
        ) from None


def set_value(values: dict[str, Any], release: str, path: str, value: Any) -> None:
    """The value stands at a dotted path."""
    keys = path_keys(path)
    place = values
    for key in keys[:-1]:
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            problem = Problem("VALUE_PATH", f"releases.{release}: `{path}` runs through `{key}`, which is no map")
            raise DeployError(problem, ExitCode.INPUT)
    place[keys[-1]] = value
