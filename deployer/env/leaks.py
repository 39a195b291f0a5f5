"""Which files of a build context are env files with secrets, and which are public settings that a build reads.

Vite, Next.js and Create React App read `.env.production`, `.env.development` and `.env.test` while they build, and
put what begins with their prefix into what browsers load (vite.dev/guide/env-and-mode, nextjs.org/docs, "Environment
Variables"). Such files, and examples, are no secret unless a value of one of our Secrets is in them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployer.core.errors import DeployError
from deployer.env.parser import has_password, names_secret, parse_env

_ENV_FILE = re.compile(r"(?:\.env(?:[._-].+)?|.+\.env)", re.IGNORECASE)
_EXAMPLE = re.compile(r"(?:.+[._-])?(?:example|sample|template|tmpl|tpl|dist|defaults?)(?:\.env)?", re.IGNORECASE)
_BUILD_SETTINGS = re.compile(r"\.env\.(?:production|development|test)")
_PUBLIC_KEY = re.compile(r"(?:NEXT_PUBLIC|NUXT_PUBLIC|REACT_APP|VITE|VUE_APP|GATSBY|EXPO_PUBLIC|PUBLIC)_\w+|NODE_ENV")
_SHORTEST = 8  # shorter values are words that any file contains
_RANDOM = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+/=-]{16,}")


@dataclass(frozen=True, slots=True)
class Leak:
    """A file of a build context whose secrets would be in the image, and how that is known."""

    path: str
    why: str


def is_env_file(path: str) -> bool:
    """Whether the file is named as env files are: `.env`, `.env.local`, `.env-prod`, `config/secrets.env`."""
    return _ENV_FILE.fullmatch(path.rpartition("/")[2]) is not None


def telling_values(values: Mapping[str, str], keys: Collection[str], example: Mapping[str, str]) -> dict[str, str]:
    """The values of these keys by which a copy of a secret is known: none that the example has, and no plain words."""
    return {
        key: value
        for key in keys
        if len(value := values.get(key, "").strip()) >= _SHORTEST
        and example.get(key, "").strip() != value
        and (names_secret(key) or has_password(value) or _RANDOM.fullmatch(value))
    }


def leaks(root: Path, paths: Iterable[str], env_files: Collection[Path], values: Mapping[str, str]) -> Iterator[Leak]:
    """The files below the root that no image may hold; `values` are those of `telling_values`."""
    real = {path.resolve() for path in env_files}
    for path in paths:
        if (root / path).resolve() in real:
            yield Leak(path, "it is an env file of the spec (env.files)")
        elif is_env_file(path) and (why := _why(root / path, values)):
            yield Leak(path, why)


def _why(file: Path, values: Mapping[str, str]) -> str:
    """Why the file holds secrets; empty where it does not."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # whoever sends the context says that it cannot be read
    for key, value in values.items():
        if value in text:
            return f"it holds the value of `{key}`"
    if _EXAMPLE.fullmatch(file.name) or _BUILD_SETTINGS.fullmatch(file.name) or _is_public(text):
        return ""
    return "its name is that of a file with secrets, and not all of its keys are public"


def _is_public(text: str) -> bool:
    try:
        return all(_PUBLIC_KEY.fullmatch(key) for key in parse_env(text, ""))
    except DeployError:
        return False
