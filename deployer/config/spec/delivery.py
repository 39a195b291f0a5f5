"""What is delivered and proven: releases, URLs, CORS answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from deployer.config.types import Duration, Name, ObjectName, Part


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
