"""What releases are made from: images and Secrets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from deployer.config.types import EnvName, Name, Part, Repository, SecretKey, Size, Version


class Migrations(Part):
    """The changes of a database's schema that an image brings."""

    folder: str
    """Folder within the build context: each file or folder in it is one migration, in the order of their names."""
    back: str | None = None
    """Command, run in the service, that takes the schema back to `{revision}` (a migration's name up to the first
    `_`) or by `{steps}` migrations; shown when a rollback meets a newer schema, never run by itself."""


class Image(Part):
    """An image built into the cluster's daemon."""

    repository: Repository
    """Image name without tag."""
    version: Version = "0.1.0"
    """X.Y.Z part of the tag."""
    tag_policy: Literal["digest", "semver", "semver-commit"] = "digest"
    """How the tag is made; see the README."""
    context: str
    """Build context folder, relative to the spec."""
    dockerfile: str | None = None
    """Dockerfile, relative to the spec; default `Dockerfile` in the context."""
    target: str | None = None
    """Build stage to stop at."""
    args: dict[str, str] = {}
    """Build arguments."""
    bases: dict[EnvName, str] = {}
    """Build arguments that name base images; where no container registry is reachable a stand-in takes their place."""
    labels: dict[str, str] = {}
    """Further image labels."""
    max_size: Size | None = None
    """Largest size; default `rules.maxImageSize`."""
    migrations: Migrations | None = None
    """Where its migrations are."""
    when: Name | None = None
    """Switch that turns the image on."""


class SecretKeySource(Part):
    """Where one key of a Secret comes from."""

    kind: Literal["required", "generated", "optional"] = "required"
    """`required`: must be in the env file; `generated`: made once when absent; `optional`: may be empty."""
    source: Annotated[EnvName | None, Field(alias="from")] = None
    """Name in the env file, default the key itself."""
    default: str | None = None
    """Value when the env file gives none; `${KEY}` and `${KEY|url}` insert other env values."""
    length: int = Field(default=43, ge=16, le=256)
    """Characters of a generated value."""


class Secret(Part):
    """A Kubernetes Secret made from the env files; its values never leave it."""

    namespace: Name | None = None
    """Default: the spec's namespace."""
    naming: Literal["hashed", "stable"] = "hashed"
    """`hashed`: `<name>-<hash8>`, immutable; `stable`: that very name, with immutable copies as history."""
    type: str = "Opaque"
    """The Secret's type."""
    labels: dict[str, str] = {}
    """Further labels."""
    keys: dict[SecretKey, SecretKeySource] = Field(min_length=1)
    """Its keys."""
    when: Name | None = None
    """Switch that turns the Secret on."""
