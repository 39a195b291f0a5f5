"""What an application is made of: images, Secrets, Helm releases, and the URLs and CORS answers that prove it."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from deployer.config.types import (
    BuildSecret,
    Duration,
    EnvName,
    HeaderName,
    Name,
    Namespace,
    ObjectName,
    Part,
    PathText,
    Platform,
    ReleaseName,
    Repository,
    SecretKey,
    Size,
    Version,
)


class Migrations(Part):
    """The changes of a database's schema that an image brings."""

    folder: PathText
    """Folder within the build context: each file or folder in it is one migration, in the order of their names."""
    back: str | None = None
    """Command, run in the service, that takes the schema back to `{revision}` (a migration's name up to the first
    `_`) or by `{steps}` migrations; shown when a rollback meets a newer schema, never run by itself."""


class Restart(Part):
    """What makes a program take the files that were copied to its container; exactly one of these."""

    exec: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Command that is run in the container, without a shell."""
    signal: Annotated[str, StringConstraints(pattern=r"^(SIG)?[A-Z]{2,6}[0-9]?$")] | None = None
    """Signal that the container's first process is sent, such as `HUP`."""

    @model_validator(mode="after")
    def _one_way(self) -> Restart:
        if (self.exec is None) == (self.signal is None):
            raise ValueError('give exactly one of "exec" and "signal"')
        return self


class Sync(Part):
    """Files that `dev` copies into the running container, where a build would only copy them into the image."""

    source: Annotated[PathText, Field(alias="from")]
    """Files within the build context, as in `.dockerignore`: a path, or a pattern with `*`, `?` and `**`."""
    to: Annotated[str, StringConstraints(pattern=r"^/")]
    """Folder in the container that stands for what comes before the pattern's first wildcard: with `src/**` and `/app`
    the file `src/a/b.py` becomes `/app/a/b.py`."""
    restart: Literal["none"] | Restart = "none"
    """`none` where the program sees changed files by itself; else a command in the container or a signal to it."""


class Image(Part):
    """An image built into the cluster's daemon."""

    repository: Repository
    """Image name without tag."""
    version: Version = "0.1.0"
    """X.Y.Z part of the tag."""
    tag_policy: Literal["digest", "semver", "semver-commit"] = "digest"
    """How the tag is made: of the content, or of the version (and the commit)."""
    context: PathText
    """Build context folder, relative to the spec."""
    dockerfile: PathText | None = None
    """Dockerfile, relative to the spec; default `Dockerfile` in the context."""
    target: str | None = None
    """Build stage to stop at."""
    args: dict[str, str] = {}
    """Build arguments."""
    secrets: dict[BuildSecret, EnvName] = {}
    """Secrets of the build: id of `RUN --mount=type=secret,id=…` → key in the env file; in no layer and no tag."""
    platforms: tuple[Platform, ...] = ()
    """Platforms to build for, such as `linux/amd64`; default that of the cluster's daemon."""
    bases: dict[EnvName, str] = {}
    """Build arguments that name base images; where no container registry is reachable a replacement image is used."""
    labels: dict[str, str] = {}
    """Further image labels."""
    max_size: Size | None = None
    """Largest size; default `rules.maxImageSize`."""
    sync: tuple[Sync, ...] = ()
    """What `dev` copies into running containers; a change of anything else is built."""
    migrations: Migrations | None = None
    """Where its migrations are."""
    when: Name | None = None
    """Switch that turns the image on."""

    @property
    def dockerfile_path(self) -> str:
        """Where its Dockerfile is, relative to the spec."""
        return self.dockerfile or posixpath.join(self.context, "Dockerfile")


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

    namespace: Namespace | None = None
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


BUILTIN = "builtin:component"
_REMOTE = re.compile(r"(?:oci|https?)://")


class Release(Part):
    """A Helm release."""

    chart: PathText
    """Chart folder, relative to the spec; `oci://HOST/PATH/CHART`, `https://REPOSITORY/CHART` or the address of a
    `.tgz`, which is fetched once; or `builtin:component`, the tool's own chart for one component."""
    version: Annotated[str, StringConstraints(min_length=1)] | None = None
    """Version or range (`^1.2`) of a fetched chart, default the newest; what it leads to is pinned in the lock file."""
    digest: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    """What a fetched chart must be: the digest of its archive, or of its manifest in a registry."""
    namespace: Namespace | None = None
    """Default: the spec's namespace."""
    values: dict[str, Any] = {}
    """Values over the chart's own; `${url:NAME}` inserts the address a URL of the spec is served at."""
    values_files: tuple[PathText, ...] = ()
    """Values files, relative to the spec, under `values`."""
    images: dict[Name, dict[str, str]] = {}
    """Image → {value path: template of {registry}, {repository}, {name}, {tag}, {ref}, {digest}}; the digest is that in
    a registry, and empty without one. A path may go into a list: `services[0].image.tag`, or by the item's name
    `services[front].image.tag`. Images whose tag is one value get one tag."""
    secrets: dict[ObjectName, dict[str, str]] = {}
    """Secret → {value path: template of {name}, {checksum}, or exactly "{checksums}" for a map key → checksum}."""
    switches: dict[Name, tuple[str, ...]] = {}
    """Switch → value paths that are set to its state."""
    replace: tuple[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9.-]*/[a-z0-9][a-z0-9.:-]*$")], ...
    ] = ()
    """Objects (`job/seed`, `statefulset/db`) that are deleted and made anew where Kubernetes does not let them change;
    a Job that is done is in any case, and what holds data never is."""
    server_side: bool | None = None
    """How Helm 4 applies it: by server-side apply, or (false) by patches as Helm 3 does, which override what others
    have set. Default: Helm's own choice, on the server unless Helm 3 made the release."""
    needs: tuple[ReleaseName, ...] = ()
    """Releases that must be available first."""
    timeout: Duration | None = None
    """How long its rollout may take; default `rollout.timeout`."""
    when: Name | None = None
    """Switch that turns the release on; one that was installed before it went off stays until `down`."""

    @property
    def is_remote(self) -> bool:
        """Whether the chart is fetched."""
        return _REMOTE.match(self.chart) is not None

    @model_validator(mode="after")
    def _says_what_is_fetched(self) -> Release:
        address = urlsplit(self.chart if self.is_remote else "")
        if not self.is_remote:
            if self.version or self.digest:
                raise ValueError('"version" and "digest" are those of a chart that is fetched: oci://… or https://…')
        elif address.username is not None:
            raise ValueError('"chart" has no user or password in it: `helm registry login` or `helm repo add` has them')
        elif not address.hostname or not address.path.strip("/") or re.search(r"[:@\s]", address.path):
            raise ValueError('"chart" is HOST/PATH/CHART, and its version or digest are written beside it')
        return self


class Url(Part):
    """An address that `up` proves by a request."""

    service: ObjectName | None = None
    """The Service (NodePort or LoadBalancer) that is asked."""
    ingress_host: str | None = None
    """The host name of an Ingress that is asked instead of a Service."""
    namespace: Namespace | None = None
    """Default: the spec's namespace."""
    port: int | str | None = None
    """Port name or number of the Service; default its first."""
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """The Service's fixed NodePort: `${url:NAME}` in values needs it before the Service exists."""
    path: Annotated[str, StringConstraints(pattern=r"^/")] = "/"
    """Path of the request."""
    scheme: Literal["http", "https"] | None = None
    """Default: https where the Service's port is 443 or is named so; a certificate may be self-signed."""
    expect: int = Field(default=200, ge=100, le=599)
    """Expected status, where redirects within the host end."""
    contains: str | None = None
    """Text that the body of the answer must contain (in its first MiB)."""
    matches: str | None = None
    """Regular expression (Python's, `^` and `$` of a line) that must match somewhere in the body."""
    headers: dict[HeaderName, str] = {}
    """Headers of the answer → text that each must contain; letter case does not count, "" where any value will do."""
    show: bool = True
    """Whether it is shown to people; others are only checked."""
    external: bool = False
    """Whether only the address counts that a load balancer gave the Service; `up` waits for it."""
    when: Name | None = None
    """Switch that turns the URL on."""

    @model_validator(mode="after")
    def _one_target(self) -> Url:
        if (self.service is None) == (self.ingress_host is None):
            raise ValueError('give exactly one of "service" and "ingressHost"')
        if self.external and self.service is None:
            raise ValueError('"external" is about a Service')
        return self

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


class Cors(Part):
    """A Service whose answers browsers may read from other origins; `up` proves it for each of them."""

    service: ObjectName
    """The Service that is asked."""
    namespace: Namespace | None = None
    """Default: the spec's namespace."""
    port: int | str | None = None
    """Port name or number of the Service; default its first."""
    path: Annotated[str, StringConstraints(pattern=r"^/")] = "/"
    """Path of the request."""
    origins: tuple[Annotated[str, StringConstraints(pattern=r"^https?://[^/]+$")], ...] = ()
    """Origins that must be allowed, such as http://localhost:3000."""
    urls: tuple[Name, ...] = ()
    """URLs of the spec whose origins, as they are really served, must be allowed."""
    setting: str | None = None
    """Where the allowed origins are written, as a refusal is to name it."""
