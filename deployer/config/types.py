"""Names, sizes and durations as a spec writes them, and what all its parts have in common."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

# RFC 1123 labels and subdomains.
_LABEL, _SUBDOMAIN = (
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
)
_VERSION = r"^\d+\.\d+\.\d+$"
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
_SIZE = r"^\d+(\.\d+)?(m|mb|Mi|M|g|gb|Gi|G|t|Ti)?$"
_PLATFORM = r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$"
_PORT, _PATH = r"([a-z0-9]+([.-][a-z0-9]+)*:[0-9]+/)?", r"[a-z0-9]+(([._/]|__|-+)[a-z0-9]+)*"
_REPOSITORY = f"^{_PORT}{_PATH}$"
FORMS = {
    _LABEL: "small letters, digits and `-` between them, such as my-app",
    _SUBDOMAIN: "small letters, digits, and `-` or `.` between them, such as my-app",
    _VERSION: "three numbers, such as 1.10.0",
    _ENV_NAME: "letters, digits and `_`, no digit first, such as API_KEY",
    _SIZE: "a size such as 512Mi or 8g",
    _PLATFORM: "a platform such as linux/amd64",
    _REPOSITORY: "the name of an image in small letters, without tag, such as team/my-app",
}
"""What the patterns ask for, in words."""
Name = Annotated[str, StringConstraints(pattern=_LABEL, max_length=53)]
Namespace = Annotated[str, StringConstraints(pattern=_LABEL, max_length=63)]
# Helm keeps the names of releases, which may have dots, within 53 characters.
ReleaseName = Annotated[str, StringConstraints(pattern=_SUBDOMAIN, max_length=53)]
ObjectName = Annotated[str, StringConstraints(pattern=_SUBDOMAIN, max_length=253)]
EnvName = Annotated[str, StringConstraints(pattern=_ENV_NAME)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
BuildSecret = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$", max_length=100)]
Platform = Annotated[str, StringConstraints(pattern=_PLATFORM)]
Version = Annotated[str, StringConstraints(pattern=_VERSION, strict=True)]
Repository = Annotated[str, StringConstraints(pattern=_REPOSITORY, max_length=200)]
# A registry as image references begin with it: only a host with a dot, a port or the name `localhost` is one.
RegistryAddress = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(localhost|[a-z0-9]+([.-][a-z0-9]+)*(\.[a-z0-9]+|:[0-9]+)|localhost:[0-9]+)(/{_PATH})?$",
        max_length=180,
    ),
]
Size = Annotated[str, StringConstraints(pattern=_SIZE)]
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?$")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
# PATH_MAX and NAME_MAX of Linux, less the folder before it and an ending such as `.dockerignore`.
_LONGEST_PATH, _LONGEST_NAME = 2048, 240
_SIZE_UNITS = {"m": 2**20, "g": 2**30, "t": 2**40}


def seconds(duration: str) -> float:
    """The duration ("90s", "5m", "250ms", "10") in seconds; ValueError for anything else."""
    match = _DURATION.match(duration)
    if match is None:
        raise ValueError(f'"{duration}" is not a duration such as 30s, 5m or 250ms')
    return float(match[1]) * _DURATION_UNITS[match[2]]


def mebibytes(size: str) -> int:
    """The size ("8g", "512Mi", "20GB"; a bare number is MiB, as Minikube reads it) in MiB."""
    digits = re.match(r"^\d+(\.\d+)?", size)
    assert digits is not None
    unit = size[digits.end() :][:1].lower() or "m"
    return int(float(digits[0]) * _SIZE_UNITS[unit] / 2**20)


def _duration(value: str) -> str:
    seconds(value)
    return value


Duration = Annotated[str, AfterValidator(_duration)]


def _path(value: str) -> str:
    raw = os.fsencode(value)
    if b"\0" in raw or len(raw) > _LONGEST_PATH or any(len(part) > _LONGEST_NAME for part in raw.split(b"/")):
        raise ValueError(f"no path of at most {_LONGEST_PATH} bytes with names of at most {_LONGEST_NAME}")
    return value


PathText = Annotated[str, AfterValidator(_path)]
"""A path that every file system takes, also with the spec's folder before it."""


class Part(BaseModel):
    """Every part of a spec is immutable, refuses unknown keys and never prints its input in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,  # the whole is built once, when a spec is read
        hide_input_in_errors=True,
        coerce_numbers_to_str=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, written: Any) -> Any:
        """What is written; a mapping or list without anything in it, whose lines may all be comments, is not there, and
        a part within a mapping without anything in it has its defaults."""
        if not isinstance(written, dict):
            return written
        fields = {field.alias: field for field in cls.model_fields.values() if field.alias} | cls.model_fields
        found = {}
        for key, value in written.items():
            field = fields.get(key)
            if value is None and field is not None and isinstance(field.default, dict | tuple | Part):
                continue
            of = (get_args(field.annotation) or (None,))[-1] if field is not None else None
            if isinstance(value, dict) and isinstance(of, type) and issubclass(of, Part):
                value = {name: {} if one is None else one for name, one in value.items()}
            found[key] = value
        return found
