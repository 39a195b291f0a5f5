"""What an application runs on and in: the cluster, the env files, the settings of builds, switches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from deployer.config.types import EnvName, Name, Part, Size


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
