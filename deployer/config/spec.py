"""The spec: what one application needs to run, typed and validated (`todo-deploy.yaml`).

Only shapes and rules that hold without looking at the machine are here. `config.load` reads files, profiles and
positions; `plan` says what the spec leads to.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from deployer.config.releases import Cors, Image, Release, Secret, SecretKeySource, Url
from deployer.config.rules import FailFast, Rollout, Rules, ServiceRollout
from deployer.config.types import (
    EnvName,
    Name,
    Namespace,
    ObjectName,
    Part,
    PathText,
    RegistryAddress,
    ReleaseName,
    Size,
    mebibytes,
    seconds,
)

__all__ = [
    "Build",
    "Cluster",
    "Cors",
    "Env",
    "FailFast",
    "Image",
    "Name",
    "ObjectName",
    "Part",
    "Registry",
    "Release",
    "Rollout",
    "Rules",
    "Secret",
    "SecretKeySource",
    "ServiceRollout",
    "Spec",
    "Switch",
    "Url",
    "mebibytes",
    "seconds",
]


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
    """Memory asked for, of each node; clamped to the host with a warning."""
    nodes: int = Field(default=1, ge=1, le=16)
    """How many nodes a Minikube profile has. A cluster made with one node keeps that one: its network is for one."""
    disk: Size = "20g"
    """Disk size, for drivers that have disks."""
    kubernetes_version: Annotated[str, StringConstraints(pattern=r"^v\d+\.\d+\.\d+$")] = "v1.37.2"
    """The Kubernetes version."""
    addons: tuple[Name, ...] = ()
    """Cluster addons the application needs, by Minikube's names: `metallb`, `metrics-server`, `ingress`, …"""

    @property
    def context_name(self) -> str:
        """The cluster's context in the kubeconfig."""
        return self.context or self.name

    @model_validator(mode="after")
    def _context_belongs_to_its_provider(self) -> Cluster:
        if (self.provider == "context") != (self.context is not None):
            raise ValueError('"context" is given exactly when "provider" is "context"')
        if self.provider == "context" and self.nodes != 1:
            raise ValueError('"nodes" is for provider "minikube": an existing cluster has the nodes that it has')
        return self


class Env(Part):
    """Where the secret values come from."""

    files: tuple[PathText, ...] = Field(default=(".env",), min_length=1)
    """Env files, later ones win."""
    example: PathText | None = ".env.example"
    """The template from which `up` makes the first file when there is none."""
    expand: bool = False
    """Whether `$NAME` and `${NAME…}` are filled in as Docker Compose does: in the env files, and from them and the
    environment in `args` and `values` of this file, where `$$` then is a `$`."""


class Build(Part):
    """What holds for every build on this machine; a local overlay is the place for it."""

    ca: PathText | None = None
    """PEM file with a company's CA certificates, relative to the spec: builds trust them, and who fetches charts."""
    plain_http: tuple[str, ...] = ()
    """Registries of charts (`HOST:PORT`) that are asked without TLS; those of this machine are where they have none."""


class Registry(Part):
    """The container registry that images are pushed to, and that the cluster's nodes pull them from."""

    address: RegistryAddress | None = None
    """Host, port and prefix, as image references begin with them: `registry.example.com:5000/team`. Default: what the
    cluster says of itself in `kube-public/local-registry-hosting` (KEP-1755)."""
    push: RegistryAddress | None = None
    """The same registry as the Docker daemon that builds reaches it; default `address`."""
    pull_secret: ObjectName | None = None
    """The name of a Secret (`kubernetes.io/dockerconfigjson`) that is made in the namespace of every release, with what
    Docker's configuration or its credential helper has for the registry; charts name it in `imagePullSecrets`."""


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
    namespace: Namespace = "default"
    """Namespace of everything that names none."""
    cluster: Cluster = Cluster()
    """The cluster."""
    env: Env = Env()
    """The env files."""
    switches: dict[Name, Switch] = {}
    """Named conditions."""
    build: Build = Build()
    """Settings of all builds."""
    delivery: Literal["auto", "daemon", "registry", "load"] = "auto"
    """How images reach the cluster's nodes: built in the node's own Docker `daemon`, pushed to a `registry`, or built
    in this machine's Docker and loaded (`load`) into every node; `auto` chooses by what is there."""
    registry: Registry = Registry()
    """The registry of the delivery `registry`."""
    images: dict[Name, Image] = {}
    """Images to build."""
    secrets: dict[ObjectName, Secret] = {}
    """Secrets to make."""
    releases: dict[ReleaseName, Release] = Field(min_length=1)
    """Helm releases, installed in this order unless they may run side by side."""
    urls: dict[Name, Url] = {}
    """URLs to prove."""
    cors: dict[Name, Cors] = {}
    """Services whose CORS answers are to be proven."""
    rollout: Rollout = Rollout()
    """How rollouts are judged."""
    rules: Rules = Rules()
    """Limits."""
    allow_outside: tuple[PathText, ...] = ()
    """Files and folders outside the repository, relative to the spec, that its paths and the links of its charts may
    lead to; `validate` lists those that do."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace that it names, the application's first."""
        named = (one.namespace for part in (self.secrets, self.releases, self.urls) for one in part.values())
        return tuple(dict.fromkeys((self.namespace, *filter(None, named))))

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
