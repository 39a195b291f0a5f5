"""What was found in a repository, what is to be asked, and the draft that follows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployer.core.errors import DeployError
from deployer.core.ports import Object


@dataclass(frozen=True, slots=True)
class FoundDockerfile:
    """A Dockerfile: where it is, the context it seems to be built in, and what it says of itself."""

    path: str
    name: str
    context: str
    sure: bool
    """Whether everything that it copies is in that context."""
    bases: Mapping[str, str] = field(default_factory=dict)
    """Arguments that name a base image alone → the image."""
    args: Mapping[str, str] = field(default_factory=dict)
    """Every other argument → its default; empty where there is none."""
    ports: tuple[int, ...] = ()
    target: str = ""
    """The stage that makes this image, where others make others."""
    given: Mapping[str, str] = field(default_factory=dict)
    """The build arguments that make this image, where others make others."""
    copies_all: bool = False
    """Whether it copies its whole context."""
    images: tuple[str, ...] = ()
    """The names that other tools' files give to the images it makes, without registry and tag."""


@dataclass(frozen=True, slots=True)
class FoundChart:
    """A chart that is no part of another one, with its values and those of its subcharts under their names."""

    path: str
    name: str
    app_version: str
    values: Mapping[str, Any]
    defines: frozenset[str] = frozenset()
    """The kinds that its folder `crds` defines."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A named volume or a file, and where a service has it."""

    volume: str
    path: str
    read_only: bool = False
    folder: str = ""
    """The mounted folder that the file is in; its path is relative to it."""
    text: str | None = None
    """The file's text where it has none in the repository."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port within the container."""

    number: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Service:
    """One service: how its image is made or called, where it listens, and what it is given."""

    name: str
    dockerfile: FoundDockerfile | None
    image: str = ""
    port: int | None = None
    published: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    """Variables whose values are the env file's → its key."""
    whole: bool = False
    """Whether it gets all of the env file."""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    volumes: tuple[Mount, ...] = ()
    files: tuple[Mount, ...] = ()
    """Text files of the repository, and where it has them."""
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    """Services that must have ended well before it starts."""
    health: str = ""
    """The path that its health check asks."""
    remarks: tuple[str, ...] = ()
    others: tuple[Port, ...] = ()
    """Its ports besides `port`."""
    web: int | None = None
    """The published port that a person opens."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """Its health check as a probe; empty where it has none."""
    hidden: tuple[Mount, ...] = ()
    """Secrets that it reads from files: the env file's key, and where it has it."""
    generated: frozenset[str] = frozenset()
    """Keys whose value nobody outside has to know."""
    build_secrets: Mapping[str, str] = field(default_factory=dict)
    """Id of a secret of its build → the env file's key."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Further values of the chart."""


@dataclass(frozen=True, slots=True)
class Repository:
    """What the files of a repository say."""

    root: Path
    dockerfiles: tuple[FoundDockerfile, ...]
    charts: tuple[FoundChart, ...]
    env_keys: Mapping[str, str] = field(repr=False)
    """Key → value in the env file's example, or in the env file where there is none."""
    env_example: str | None = None
    has_env: bool = False
    expands: bool = False
    """Whether values of the env file refer to others, which Compose fills in."""
    broken: tuple[DeployError, ...] = ()
    """Why folders with a Chart.yaml are no charts."""
    services: tuple[Service, ...] = ()
    """What it runs, where it has no chart."""


@dataclass(frozen=True, slots=True)
class Slot:
    """An image of a chart: which values make it, and whose pods use it.

    `values` maps a value path to the template that fills it; empty where the chart gives no way to change the image.
    """

    image: str
    values: Mapping[str, str]
    users: tuple[str, ...]
    ports: tuple[int, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Value paths that must have another text for the image to be found (a registry, a digest) → its template."""
    repository: str = ""
    """The name that templates give it whatever the values are; empty where a value is the name."""


@dataclass(frozen=True, slots=True)
class SecretNeed:
    """A Secret that pods refer to: its keys (True: required), all of them for `whole`.

    No chart makes it, or, with `made`, the chart makes it unless one of `paths` names another. With `more`, pods refer
    to it only where one of `paths` names it.
    """

    name: str
    keys: Mapping[str, bool]
    whole: bool
    paths: tuple[str, ...]
    """The values that name it; none where its name is written in a template."""
    made: bool = False
    more: bool = False


@dataclass(frozen=True, slots=True)
class Exposed:
    """A Service that can be reached from outside, or that a value makes so; or the host of an Ingress before one."""

    service: str
    port: str | int | None
    node_port: int | None
    probe: str
    """The path that its pods' probes ask; empty where none asks one."""
    type_path: str = ""
    """The value that makes it a NodePort; empty where it is exposed as it is."""
    host: str = ""
    """An Ingress's host, asked instead of the Service."""
    ingress_class: str = ""
    web: bool = True
    """Whether its pods seem to speak HTTP there."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a chart renders to, read; `problem` says why it was not rendered."""

    chart: FoundChart
    release: str
    slots: tuple[Slot, ...] = ()
    secrets: tuple[SecretNeed, ...] = ()
    exposed: tuple[Exposed, ...] = ()
    kinds: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    """The namespaces that templates name themselves."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the files do not say: a default is taken where nobody can be asked."""

    key: str
    text: str
    default: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """A spec as data, the comments on its values by place, remarks for its end, and lines for a .dockerignore."""

    document: Mapping[str, Any]
    comments: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    ignore: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Build context without a .dockerignore → the lines that keep secrets out of its images."""


Answers = Mapping[str, str]
"""Question's key → what was answered."""

Rendered = Sequence[Object]
"""The objects of one rendering."""


USUAL = ("Dockerfile", "Containerfile", "dockerfile")
"""The names of a file that builds the folder it is in."""


def dashed(text: str) -> str:
    """The text in the characters of names, in small letters with dashes between its words; it may be empty."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", text)
    return re.sub(r"[^a-z0-9]+", "-", apart.lower()).strip("-")
