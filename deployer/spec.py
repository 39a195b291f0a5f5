"""The spec: what one application needs to run, typed and validated (`todo-deploy.yaml`).

Only shapes and rules that hold without looking at the machine live here. Reading files, profiles and positions is
`specfile`'s work; what the spec leads to is `plan`'s.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from deployer.rules.settings import Layout, Replicas, Waiver

# RFC 1123 label; Helm keeps release names within 53 characters.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=53)]
# Kubernetes object names are RFC 1123 subdomains.
ObjectName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253),
]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$", strict=True)]
Repository = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", max_length=200)]
Size = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(m|mb|Mi|M|g|gb|Gi|G|t|Ti)?$")]

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?$")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
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


class Part(BaseModel):
    """Every part of a spec is immutable, refuses unknown keys and never prints its input in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        coerce_numbers_to_str=False,
    )


class Cluster(Part):
    """The cluster that the application runs on; `up` ensures it."""

    name: Name = "todo-deploy"
    """Minikube profile, and the name of its kubeconfig context."""
    provider: Literal["minikube", "context"] = "minikube"
    """`minikube` is started and repaired by the tool; `context` names an existing cluster that is only used."""
    context: str | None = None
    """The kubeconfig context, with provider `context` only."""
    driver: str = "docker"
    """Minikube's driver."""
    cpus: int = Field(default=4, ge=1)
    """CPUs asked for; clamped to the host with a warning."""
    memory: Size = "8g"
    """Memory asked for; clamped to the host with a warning."""
    disk: Size = "20g"
    """Disk size, for drivers that have disks."""
    kubernetes_version: Annotated[str, StringConstraints(pattern=r"^v\d+\.\d+\.\d+$")] = "v1.34.4"
    """The Kubernetes version."""
    addons: tuple[str, ...] = ()
    """Cluster addons the application needs, by Minikube's names: `metallb`, `metrics-server`, `ingress`, …"""

    @model_validator(mode="after")
    def _context_belongs_to_its_provider(self) -> Cluster:
        if (self.provider == "context") != (self.context is not None):
            raise ValueError('"context" is given exactly when "provider" is "context"')
        return self


class Env(Part):
    """Where the secret values come from."""

    files: tuple[str, ...] = (".env",)
    """Env files, later ones win."""
    example: str | None = ".env.example"
    """The template from which `up` makes the first file when there is none."""


class Build(Part):
    """What holds for every build on this machine; a local overlay is the place for it."""

    ca: str | None = None
    """PEM file of a company's certificate authorities, relative to the spec: builds trust them."""


class Switch(Part):
    """Something that is on or off, decided before anything is touched."""

    when_unset: EnvName | None = None
    """On when the env files give no value for this key."""
    when_set: EnvName | None = None
    """On when the env files give a value for this key."""

    @model_validator(mode="after")
    def _one_condition(self) -> Switch:
        if (self.when_unset is None) == (self.when_set is None):
            raise ValueError('give exactly one of "whenUnset" and "whenSet"')
        return self


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


class Release(Part):
    """A Helm release."""

    chart: str
    """Chart folder, relative to the spec."""
    namespace: Name | None = None
    """Default: the spec's namespace."""
    values: dict[str, Any] = {}
    """Values over the chart's own; `${url:NAME}` inserts the address a URL of the spec is served at."""
    values_files: tuple[str, ...] = ()
    """Values files, relative to the spec, under `values`."""
    images: dict[Name, dict[str, str]] = {}
    """Image → {value path: template of {registry}, {repository}, {name}, {tag}, {ref}}."""
    secrets: dict[ObjectName, dict[str, str]] = {}
    """Secret → {value path: template of {name}, {checksum}, or exactly "{checksums}" for a map key → checksum}."""
    switches: dict[Name, tuple[str, ...]] = {}
    """Switch → value paths that are set to its state."""
    needs: tuple[Name, ...] = ()
    """Releases that must be available first."""
    timeout: Duration | None = None
    """How long its rollout may take; default `rollout.timeout`."""
    when: Name | None = None
    """Switch that turns the release on; one that was installed before it went off stays until `down`."""


class Url(Part):
    """An address that `up` proves by a request."""

    service: ObjectName | None = None
    """The Service (NodePort or LoadBalancer) that is asked."""
    ingress_host: str | None = None
    """The host name of an Ingress that is asked instead of a Service."""
    namespace: Name | None = None
    """Default: the spec's namespace."""
    port: int | str | None = None
    """Port name or number of the Service; default its first."""
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """The Service's fixed NodePort: `${url:NAME}` in values needs it before the Service exists."""
    path: Annotated[str, StringConstraints(pattern=r"^/")] = "/"
    """Path of the request."""
    expect: int = Field(default=200, ge=100, le=599)
    """Expected status."""
    show: bool = True
    """Whether a person would open it; others are only proven."""
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


class Cors(Part):
    """A Service whose answers browsers may read from other origins; `up` proves it for each of them."""

    service: ObjectName
    """The Service that is asked."""
    namespace: Name | None = None
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


class ServiceRollout(Part):
    """What one service has of its own in being watched and judged."""

    timeout: Duration | None = None
    """Deadline of its rollout."""
    fail_fast: Literal["strict", "balanced", "patient"] | None = None
    """How soon a bad sign of it ends the wait."""


class Rollout(Part):
    """How a rollout is watched and judged."""

    timeout: Duration = "300s"
    """Deadline of a release's rollout."""
    hold: Duration = "5s"
    """How long everything must stay Available before it counts as stable."""
    fail_fast: Literal["strict", "balanced", "patient"] = "balanced"
    """How soon a bad sign ends the wait."""
    on_failure: Literal["rollback", "keep"] = "rollback"
    """What follows a failed rollout when a revision was verified before."""
    services: dict[ObjectName, ServiceRollout] = {}
    """Workloads, by name, that are judged otherwise."""


class Rules(Part):
    """Limits that are checked before anything is built."""

    max_image_size: Size = "500m"
    """Largest image."""
    scan: Literal["off", "report", "block"] = "off"
    """Vulnerability scan by trivy or grype, whichever is on PATH; `block`: no image with a critical one is deployed."""
    max_context_size: Size = "200m"
    """Largest build context; above it nothing is sent to the daemon."""
    min_free_disk: Size = "2g"
    """Free disk that must remain where Docker keeps its data."""
    capacity: Literal["warn", "strict"] = "warn"
    """Whether limits above `maxLimitShare` are a warning or an error."""
    max_limit_share: int = Field(default=70, ge=1, le=1000)
    """Per cent of the cluster, less 1 CPU and 2 GiB for the system, that all limits together may have."""
    replicas: Replicas = Replicas()
    """Bounds of pod counts that are written down."""
    tag_policy: Literal["digest", "semver", "semver-commit"] | None = None
    """The tag policy that every image must have."""
    layout: Layout = Layout()
    """Where objects are and what they are called."""
    waive: tuple[Waiver, ...] = ()
    """Rules that are known to be broken, each with the reason."""


class Spec(Part):
    """One application: its cluster, images, secrets, releases and URLs."""

    api_version: Literal["todo-deploy/v1"]
    """The format of this file."""
    application: Name
    """The application's name; with the cluster's name it identifies the deployment."""
    toolchain: Literal["auto", "path", "download", "source"] = "auto"
    """Where docker, minikube, helm, kubectl and the node image come from."""
    forward: Literal["auto", "always", "never"] = "auto"
    """Whether this machine serves the URLs itself: `auto` does where the node's address does not answer."""
    namespace: Name = "default"
    """Namespace of everything that names none."""
    cluster: Cluster = Cluster()
    """The cluster."""
    env: Env = Env()
    """The env files."""
    switches: dict[Name, Switch] = {}
    """Named conditions."""
    build: Build = Build()
    """Settings of all builds."""
    images: dict[Name, Image] = {}
    """Images to build."""
    secrets: dict[ObjectName, Secret] = {}
    """Secrets to make."""
    releases: dict[Name, Release] = Field(min_length=1)
    """Helm releases, installed in this order unless they may run side by side."""
    urls: dict[Name, Url] = {}
    """URLs to prove."""
    cors: dict[Name, Cors] = {}
    """Services whose CORS answers are to be proven."""
    rollout: Rollout = Rollout()
    """How rollouts are judged."""
    rules: Rules = Rules()
    """Limits."""

    @model_validator(mode="after")
    def _names_resolve(self) -> Spec:
        """Every switch, image, secret and release that is named exists, and no releases need each other."""
        unknown: list[str] = []
        uses = [("images", name, image.when) for name, image in self.images.items()]
        uses += [("secrets", name, secret.when) for name, secret in self.secrets.items()]
        uses += [("releases", name, release.when) for name, release in self.releases.items()]
        uses += [("urls", name, url.when) for name, url in self.urls.items()]
        unknown += [f"{kind}.{name}.when: no switch `{switch}`" for kind, name, switch in uses
                    if switch is not None and switch not in self.switches]  # fmt: skip
        unknown += [f"cors.{name}.urls: no url `{url}`" for name, one in self.cors.items() for url in one.urls
                    if url not in self.urls]  # fmt: skip
        for name, release in self.releases.items():
            where = f"releases.{name}"
            unknown += [f"{where}.images: no image `{image}`" for image in release.images if image not in self.images]
            unknown += [f"{where}.secrets: no secret `{secret}`" for secret in release.secrets
                        if secret not in self.secrets]  # fmt: skip
            unknown += [f"{where}.switches: no switch `{switch}`" for switch in release.switches
                        if switch not in self.switches]  # fmt: skip
            unknown += [f"{where}.needs: no release `{need}`" for need in release.needs if need not in self.releases]
        if unknown:
            raise ValueError("; ".join(unknown))
        left = {name: set(release.needs) for name, release in self.releases.items()}
        while free := [name for name, needs in left.items() if not needs & left.keys()]:
            for name in free:
                del left[name]
        if left:
            raise ValueError("these releases need each other: " + ", ".join(left))
        return self
