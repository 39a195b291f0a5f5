"""Replacement images for application base images that cannot be pulled where no container registry is reachable.

Debian has the same majors (Python 3.11, Node.js 18, nginx, PostgreSQL 15), so each is a small Dockerfile on the
Debian base; Node.js 24, which Debian does not have, is a wheel of the package index. All tags of a family share one
replacement image: `python:3.11-slim` and `python:3.11-alpine` are the same program. Its name holds the digest of its
recipe, so that a changed recipe is another image.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from deployer.core.errors import Problem
from deployer.core.events import Warned
from deployer.core.image_ref import parse_ref
from deployer.core.reading import text_if_any
from deployer.core.steps import Steps
from deployer.toolchain.files import RECIPES, locked, recipe_digest
from deployer.toolchain.model import Toolchain
from deployer.toolchain.source.debian import base_digest, base_ref, ensure_base
from deployer.toolchain.source.images import OURS, BuildHost, Recipe, are_current, ensure_image

_FOLDER = RECIPES / "standins"


@dataclass(frozen=True, slots=True)
class Family:
    """Upstream names that one replacement image serves; `asks` are the settings of this machine it takes."""

    name: str
    pattern: str
    dockerfile: str
    files: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
_NPM = "NPM_CONFIG_REGISTRY"
_REST = r"(\.\d+)*(-[\w.-]+)?"
FAMILIES: tuple[Family, ...] = (
    Family("python:3.11", rf"python:3\.11{_REST}", "python.Dockerfile", asks=_PIP),
    Family("node:24", rf"node:24{_REST}", "node.Dockerfile", ("node.lock",), asks=(*_PIP, _NPM)),
    Family("node:18", rf"node:18{_REST}", "node-18.Dockerfile", asks=(_NPM,)),
    Family("nginx:1.22", r"nginx(:[\w.-]+)?", "nginx.Dockerfile", ("nginx.conf", "nginx-default.conf")),
    Family("postgres:15", rf"postgres:15{_REST}", "postgres.Dockerfile", ("postgres-entrypoint",)),
)


def replacement_of(upstream: str) -> str | None:
    """The name of the image that replaces `upstream`, or None where there is none. Starts nothing."""
    family = _family(upstream)
    return None if family is None else _ref(family)


def ensure_replacements(
    upstreams: Iterable[str], toolchain: Toolchain, cache_dir: Path, env: Mapping[str, str]
) -> Steps[Mapping[str, str]]:
    """The replacement images of these upstream names are in the host's Docker; returns upstream → replacement.

    Empty where images can be pulled: the Dockerfiles' own defaults hold there.
    """
    if not toolchain.offline_images:
        return {}
    replaced = {name: ref for name in upstreams if (ref := replacement_of(name)) is not None}
    if replaced:
        host = BuildHost(toolchain.docker, cache_dir, env, tuple(replaced))
        # Where all are there, nobody waits for what another run makes.
        if not are_current(host, (recipe for recipe, _ in _recipes(host))):
            yield from locked(cache_dir, make_replacements(host))
    return replaced


def make_replacements(host: BuildHost) -> Steps[None]:
    """As `ensure_replacements`, for one who holds the toolchain's lock and needs images that cannot be pulled."""
    recipes = list(_recipes(host))
    if recipes:
        yield from ensure_base(host)
    for recipe, left_out in recipes:
        for name in left_out:
            yield Warned(_credentials_left_out(name))
        yield from ensure_image(host, recipe)


def _recipes(host: BuildHost) -> Iterator[tuple[Recipe, list[str]]]:
    """The replacement images of the host's bases, each with the settings that hold credentials and are left out."""
    settings = machine_settings(host.env)
    for family in dict.fromkeys(family for name in host.bases if (family := _family(name)) is not None):
        given = {name: value for name in family.asks if (value := settings.get(name, ""))}
        left_out = [name for name, value in given.items() if _holds_credentials(value)]
        recipe = Recipe(
            _ref(family),
            _FOLDER / family.dockerfile,
            files={name: _FOLDER / name for name in family.files},
            arguments={"BASE": base_ref(), **{name: given[name] for name in given if name not in left_out}},
            parent=base_digest(host.env),
        )
        yield recipe, left_out


@cache
def _family(upstream: str) -> Family | None:
    ref = parse_ref(upstream)
    name = f"{ref.short}:{ref.tag}" if ref.tag else ref.short
    return next((family for family in FAMILIES if re.fullmatch(family.pattern, name)), None)


@cache
def _ref(family: Family) -> str:
    files = [f"standins/{name}" for name in (family.dockerfile, *family.files)]
    return f"{OURS}/{family.name}-{recipe_digest('debian', *files)[:8]}"


def machine_settings(env: Mapping[str, str]) -> dict[str, str]:
    """Where pip and npm fetch packages on this machine, when that is not the default."""
    home = Path(env.get("HOME") or "/")
    found: dict[str, str] = {}
    for path in (Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"):
        found |= pip_settings(text_if_any(path))
    for path in (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), home / ".npmrc"):
        found |= npm_settings(text_if_any(path))
    for name in _PIP:
        if env.get(name):
            found[name] = env[name]
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if env.get(name):
            found[_NPM] = env[name]
    return found


def pip_settings(text: str) -> dict[str, str]:
    """The package index in a pip.conf."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    values = {
        f"PIP_{name.upper().replace('-', '_')}": " ".join(parser.get("global", name, fallback="").split())
        for name in ("index-url", "extra-index-url", "trusted-host")
    }
    return {name: value for name, value in values.items() if value}


def npm_settings(text: str) -> dict[str, str]:
    """The package registry in an .npmrc."""
    match = re.search(r"^\s*registry\s*=\s*[\"']?(\S+?)[\"']?\s*$", text, re.MULTILINE)
    return {_NPM: match[1]} if match else {}


def _holds_credentials(value: str) -> bool:
    # A ${VARIABLE} in an .npmrc stands for a credential too.
    return any(urlsplit(word).password or "@" in urlsplit(word).netloc or "${" in word for word in value.split())


def _credentials_left_out(name: str) -> Problem:
    return Problem(
        "TOOLCHAIN_CREDENTIALS",
        f"{name} holds credentials and is not written into base images",
        detail="builds that fetch packages use the public index instead",
        hints=("give the credentials to the build that needs them",),
    )
