"""A plan and what it is made from, as frozen values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.plan import tags


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The digest of everything an image is built from, and the short digest of each file to report what changed."""

    digest: str
    manifest: Mapping[str, str]
    bases: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Images that the Dockerfile names itself → the images used instead; part of the digest already."""
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    """The size of each entry of the context, as it was listed for the digest; empty where it was not listed now."""
    on: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Base images as the Dockerfile names them → the images of the spec that they are."""


@dataclass(frozen=True, slots=True)
class ChartSource:
    """A chart with its dependencies in one folder, named by its digest."""

    digest: str
    folder: Path
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the release's values files say, later ones over earlier ones."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The chart's own values, where the spec maps one into a list of them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What planning needs to know beyond the spec; all of it was only read."""

    env: Mapping[str, str] = field(repr=False)
    salt: str = field(repr=False)
    images: Mapping[str, ImageSource]
    charts: Mapping[str, ChartSource]
    replacements: Mapping[str, str]
    used_tags: Mapping[str, Mapping[str, str]]
    addresses: Mapping[str, str]
    commit: tags.Commit | None
    registry: str = ""
    """What the references of images begin with that name no registry of their own."""
    pushed: bool = False
    """Whether images come from a registry, which gives each a digest."""
    pull_config: str = field(default='{"auths": {}}', repr=False)
    """What a pull Secret holds: Docker's configuration with the credentials for the registry."""
    origin: Callable[..., object] = field(default=lambda *location: "", compare=False)
    """Where a location of the spec is written."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """One image: its final reference and how it is built."""

    name: str
    repository: str
    tag: str
    context: Path
    dockerfile: Path
    args: Mapping[str, str]
    bases: tuple[str, ...]
    target: str | None
    labels: Mapping[str, str]
    max_size: str | None
    source: ImageSource
    tag_note: str = ""
    """Why the tag has a content digest where its policy would have a commit."""
    migrations: str | None = None
    shared: str = ""
    """The digest of all sources whose images have one tag in a chart; empty where the tag is its alone."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Secrets of the build: their ids, and the env keys that have the values."""
    platforms: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The digest that the tag stands for."""
        return self.shared or self.source.digest

    @property
    def ref(self) -> str:
        """Repository and tag."""
        return f"{self.repository}:{self.tag}"

    @property
    def unknown_digest(self) -> str:
        """What stands for the digest of its manifest until the registry has it."""
        return f"sha256:{hashlib.sha256(self.ref.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class SecretPlan:
    """One Secret: `copy` is the immutable object named by content, `stable` the documented name that follows it."""

    name: str
    namespace: str
    copy: str
    stable: str | None
    type: str
    labels: Mapping[str, str]
    checksum: str
    checksums: Mapping[str, str]
    data: Mapping[str, str] = field(repr=False)
    of_registry: bool = False
    """Whether it holds the credentials for the registry: they are no part of a revision."""

    @property
    def served(self) -> str:
        """The name that pods refer to."""
        return self.stable or self.copy


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """One release: staged chart, final values, and the digest of both."""

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any]
    inputs: str
    images: tuple[str, ...]
    secrets: tuple[str, ...]
    needs: tuple[str, ...]
    timeout: float
    server_side: bool | None = None
    """How Helm 4 is to apply it; None: by its own rule."""
    force_conflicts: bool = False
    buildable: bool = False
    """Whether it is known that Helm can build what it has stored of the release."""
    accepted: bool = False
    """Whether it is known that the API server takes every object of it."""


@dataclass(frozen=True, slots=True)
class UrlPlan:
    """One address to prove."""

    name: str
    namespace: str
    service: str | None
    ingress_host: str | None
    port: int | str | None
    path: str
    expect: int
    show: bool
    external: bool = False
    scheme: str | None = None
    contains: str | None = None
    matches: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CorsPlan:
    """One Service whose answers browsers at these origins, and at those of these URLs, may read."""

    name: str
    namespace: str
    service: str
    port: int | str | None
    path: str
    origins: tuple[str, ...]
    urls: tuple[str, ...]
    setting: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything `up` makes true."""

    application: str
    namespace: str
    images: tuple[ImagePlan, ...]
    secrets: tuple[SecretPlan, ...]
    releases: tuple[ReleasePlan, ...]
    urls: tuple[UrlPlan, ...]
    cors: tuple[CorsPlan, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that something of the plan lives in."""
        used = [secret.namespace for secret in self.secrets] + [release.namespace for release in self.releases]
        return tuple(dict.fromkeys([self.namespace, *used]))
